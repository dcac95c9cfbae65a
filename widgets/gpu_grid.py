"""All GPUs as a heat map, a line a host, and each GPU of the host under the cursor."""

from __future__ import annotations

from textual.strip import Strip

from backends.snapshot import SIDES, GpuSums, GpuView, HostView, Snapshot
from themes.meaning import level_of_host
from themes.palette import Palette
from widgets.bars import bar, sparkline
from widgets.columns import Cell, Column, cells_row, head_row, laid_out
from widgets.figures import age, is_late, power, share, size_of
from widgets.gpus import SideFigures, heat_cells, side_figures
from widgets.hosts_table import host_entries
from widgets.listing import ORDER_OF_PLAN, Entry, ListPanel
from widgets.row import Row

COLUMNS = (
    Column("host", 12, grow=2),
    Column("side", 6),
    Column("GPUs", 8, grow=0),
    Column("util", 6, "right"),
    Column("memory", 6, "right"),
    Column("power", 14, "right", rank=1),
    Column("hottest", 7, "right", rank=2),
    Column("health", 13, rank=0),
    Column("trend", 16, rank=3, grow=4),
    Column("seen", 10, "right", rank=4),
)


def host_gpus_row(host: HostView, palette: Palette, width: int) -> Row:
    """A host with its GPUs as cells of the heat map."""
    figures = side_figures([host], host.side)
    level = level_of_host(host.health)
    late = is_late(host.age, host.period)
    style = palette.stale if late else palette.text
    cells = {
        "host": Cell(host.name, palette.strong),
        "side": Cell(host.side, palette.side(host.side)),
        "GPUs": Cell(row=heat_cells(host, palette)),
        "util": Cell(share(figures.utilization, 0), style),
        "memory": Cell(share(figures.memory, 0), style),
        "power": Cell(power(figures.power_w, figures.power_limit_w), style),
        "hottest": Cell("-" if figures.temperature_c is None else f"{figures.temperature_c:.0f} °C", style),
        "health": Cell(f"{palette.glyphs.of(level)} {host.health}", palette.of(level)),
        "trend": Cell(row=_trend(figures, host, palette, late, laid_out(COLUMNS, width).get("trend", 0))),
        "seen": Cell(age(host.age), palette.held if late else palette.muted),
    }
    return cells_row(COLUMNS, cells, palette, width)


def _trend(figures: SideFigures, host: HostView, palette: Palette, late: bool, width: int) -> Row:
    style = palette.stale if late else palette.side(host.side)
    return sparkline(palette, figures.history, width, style, top=1.0)


def gpu_row(gpu: GpuView, host: HostView, palette: Palette, width: int) -> Row:
    """`0 H100-SXM5-80GB ▇▇▇▇▇▇▇▅  94 %  56.8 of 80.0 GiB  637 of 700 W  61 °C  ▆▇▇▆▇`."""
    late = is_late(host.age, host.period)
    style = palette.stale if late else palette.side(host.side)
    plainly = palette.stale if late else palette.text
    row = Row(palette).add(str(gpu.index), palette.muted, 2, "right").gap()
    names = 18 if width >= 100 else 0
    row.add(gpu.name, palette.muted, names).gap(1 if names else 0)
    row.join(bar(palette, gpu.utilization, 10, style)).add(share(gpu.utilization, 0), plainly, 6, "right").gap(2)
    row.add(size_of(gpu.memory_used, gpu.memory_total), plainly, 17, "right").gap(2)
    row.add(power(gpu.power_w, gpu.power_limit_w), plainly, 13, "right").gap(2)
    row.add("-" if gpu.temperature_c is None else f"{gpu.temperature_c:.0f} °C", plainly, 6, "right").gap(2)
    if gpu.alarm:
        return row.add(f"{palette.glyphs.breach} {gpu.alarm}", palette.breach)
    cells = min(width - row.used, 120, len(gpu.history))
    return row.join(sparkline(palette, gpu.history, cells, style, top=1.0)) if cells >= 4 else row


def use_row(index: int, host: HostView, sums: GpuSums, palette: Palette) -> Row:
    """A GPU of a host whose GPUs come together: what it does, and what is wrong with it."""
    use = sums.utilizations[index] if index < len(sums.utilizations) else None
    late = is_late(host.age, host.period)
    row = Row(palette).add(str(index), palette.muted, 2, "right").gap()
    row.join(bar(palette, use, 10, palette.stale if late else palette.side(host.side)))
    row.add(share(use, 0), palette.stale if late else palette.text, 6, "right").gap(2)
    alarm = next((text for number, text in sums.alarms if number == index), None)
    return row.add(f"{palette.glyphs.breach} {alarm}", palette.breach) if alarm else row


def side_line(snapshot: Snapshot, palette: Palette, width: int) -> list[Strip]:
    """A line a side: what its GPUs do together."""
    lines = []
    for side in SIDES:
        figures = side_figures(snapshot.hosts, side)
        view = snapshot.sides.get(side)
        where = " ".join(part for part in ((view.provider, view.region or "") if view else ()) if part)
        row = Row(palette).add(side, palette.side(side) + palette.strong, 7).add(where, palette.muted, 18).gap()
        row.add(f"{figures.gpus} GPUs", palette.text, 9).gap()
        row.join(bar(palette, figures.utilization, 10, palette.side(side)))
        row.add(share(figures.utilization, 0), palette.strong, 6, "right").gap(2)
        row.add(power(figures.power_w, figures.power_limit_w), palette.text, 15, "right").gap(2)
        lines.append(row.strip(width))
    return lines


class GpuGrid(ListPanel[HostView]):
    """GPUs of both sides."""

    TITLE = "GPUs"
    NONE = "no hosts in this plan"
    SORTS = (ORDER_OF_PLAN, "name", "side", "health", "busy")
    DETAIL = 10

    def entries(self, snapshot: Snapshot) -> list[Entry[HostView]]:
        return host_entries(snapshot)

    def head(self, snapshot: Snapshot, palette: Palette, width: int, height: int) -> list[Strip]:
        blank = [Strip([])] if height > 16 else []
        return [*side_line(snapshot, palette, width), *blank, head_row(COLUMNS, palette, width)]

    def entry_row(self, entry: Entry[HostView], palette: Palette, width: int) -> Row:
        return host_gpus_row(entry.thing, palette, width)

    def detail(self, entry: Entry[HostView], palette: Palette, width: int, height: int) -> list[Strip]:
        host = entry.thing
        if host.sums is not None:
            return [use_row(index, host, host.sums, palette).strip(width) for index in range(min(height, host.sums.count))]
        return [gpu_row(gpu, host, palette, width).strip(width) for gpu in host.gpus[:height]]
