"""Hosts of one side as a block of lines, in the roomiest form in which all fit: a line a GPU, a line a host, several hosts a line,
or a cell a host."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from rich.style import Style

from backends.snapshot import GpuView, HostView, Level, mean_of
from themes.meaning import level_of_host
from themes.palette import Palette
from widgets.bars import bar, heat, sparkline
from widgets.columns import Cell, Column, cells_row, laid_out, titles_row
from widgets.figures import brief, is_late, power, share, size_of
from widgets.fitting import WEIGHT
from widgets.gpus import CELLS, heat_cells, side_figures
from widgets.row import Row

LABEL = 8  # before a line of cells
LONGEST_NAME, SHORTEST_NAME = 12, 6
_TILE = 2 + 1 + CELLS  # a sign, and the GPUs after the name
_USE = 6

HOST_COLUMNS = (
    Column("host", 8, grow=2),
    Column("GPUs", CELLS),
    Column("util", 5, "right"),
    Column("memory", 6, "right", rank=1),
    Column("hottest", 7, "right", rank=2),
    Column("power", 14, "right", rank=3),
    Column("trend", 12, rank=4, grow=4),
)
GPU_COLUMNS = (
    Column("GPU", 3, "right"),
    Column("use", 8, grow=1),
    Column("util", 5, "right"),
    Column("temp", 5, "right", rank=1),
    Column("memory", 17, "right", rank=3),
    Column("power", 12, "right", rank=2),
    Column("trend", 12, rank=4, grow=3),
)


class Form(StrEnum):
    """What a line holds."""

    GPUS = "GPUs"
    HOSTS = "hosts"
    TILES = "tiles"
    CELLS = "cells"


@dataclass(frozen=True, slots=True)
class Layout:
    """One form for both sides, so that the eye compares. `across`: hosts on a line; `name`, `tile`: cells."""

    form: Form
    across: int = 1
    name: int = 0
    tile: int = 0
    has_use: bool = False

    def rows(self, hosts: int) -> int:
        """The lines that so many hosts take; of `Form.GPUS` those of the hosts alone."""
        return -(-hosts // self.across)


def layout_of(sides: Sequence[Sequence[HostView]], width: int, height: int) -> Layout:
    """The roomiest form in which the larger side fits into so many cells and lines; else a cell a host, to be scrolled."""
    if all(sum(gpu_lines(host) for host in hosts) <= height for hosts in sides):
        return Layout(Form.GPUS)
    most = max(len(hosts) for hosts in sides)
    if most <= height - 1:
        return Layout(Form.HOSTS)
    longest = max((len(host.name) for hosts in sides for host in hosts), default=0)
    for name, use in ((LONGEST_NAME, _USE), (8, _USE), (8, 0), (SHORTEST_NAME, 0)):
        name = min(name, longest)
        across = max(1, (width + 2) // (_TILE + name + use + 2))
        if -(-most // across) <= height:
            return Layout(Form.TILES, across, name, (width + 2) // across - 2, bool(use))
    return Layout(Form.CELLS, max(1, (width - LABEL) // (CELLS + 1)) * CELLS)


def gpu_lines(host: HostView) -> int:
    """A host's lines where each of its GPUs has one."""
    return 1 + max(1, host.together().count)


def level_of(host: HostView) -> Level:
    """The worst of a host: its link, its GPUs' alarms, its own."""
    level = level_of_host(host.health)
    if host.alarms and WEIGHT[level] < WEIGHT[Level.HELD]:
        level = Level.HELD
    return Level.BREACH if host.together().alarms and WEIGHT[level] < WEIGHT[Level.BREACH] else level


def ink_of(host: HostView, palette: Palette) -> Style:
    """The colour of a side; dimmed where the host is late."""
    return palette.stale if is_late(host.age, host.period) else palette.side(host.side)


def trouble_words(host: HostView) -> str:
    """What is wrong with a host, the worst of it: `silent 41s`, `GPU 3: lost …`; empty where nothing is."""
    if level_of_host(host.health) is not Level.GOOD:
        return f"{host.health} {brief(host.age)}" if host.age is not None else f"{host.health} {host.error or ''}".strip()
    for index, alarm in host.together().alarms:
        return f"GPU {index}: {alarm}"
    return next(iter(host.alarms), "")


def block_rows(
    hosts: Sequence[HostView], layout: Layout, palette: Palette, width: int, lines: range, cursor: int | None = None
) -> list[Row]:
    """These lines of a side, under the names of the columns where there are some. `cursor` is the place of the host under the cursor in `hosts`."""
    if layout.form is Form.GPUS:
        rows = [row for i, host in enumerate(hosts) for row in _gpus_of(host, palette, width, here=i == cursor)]
        return rows[lines.start : lines.stop]
    shown = [hosts[i * layout.across : (i + 1) * layout.across] for i in lines if i * layout.across < len(hosts)]
    places = [None if cursor is None else cursor - i * layout.across for i in lines]
    if layout.form is Form.HOSTS:
        return [titles_row(HOST_COLUMNS, palette, width)] + [
            host_gpus_row(one[0], palette, width, here=place == 0) for one, place in zip(shown, places, strict=False)
        ]
    draw = _tiles if layout.form is Form.TILES else _cells
    return [draw(group, layout, palette, place) for group, place in zip(shown, places, strict=False)]


def _name(host: HostView, palette: Palette, width: int, *, here: bool) -> Row:
    """Sign and name; a long name loses its beginning, which many have in common."""
    level = level_of(host)
    row = Row(palette).add(
        palette.glyphs.step if here else palette.glyphs.of(level), palette.accent if here else palette.of(level)
    )
    name = host.name if len(host.name) <= width else palette.glyphs.ellipsis + host.name[1 - width :]
    return row.gap().add(
        name, palette.strong + palette.cursor if here else palette.text if level is Level.GOOD else palette.of(level), width
    )


def host_gpus_row(host: HostView, palette: Palette, width: int, *, here: bool = False) -> Row:
    """A host on a line of its own: `✓ lam-b1  ▇▇▇▇▇▇▅▇  94 %  71 %  65 °C  5.1 of 5.6 kW  ▆▇▇▇▆▇`."""
    figures = side_figures([host], host.side)
    widths = laid_out(HOST_COLUMNS, width)
    style = palette.stale if is_late(host.age, host.period) else palette.text
    trouble = trouble_words(host)
    cells = {
        "host": Cell(row=_name(host, palette, widths["host"] - 2, here=here)),
        "GPUs": Cell(row=cells_of(host, palette)),
        "util": Cell(share(figures.utilization, 0), style),
        "memory": Cell(share(figures.memory, 0), style),
        "power": Cell(power(figures.power_w, figures.power_limit_w), style),
        "hottest": Cell(degrees(figures.temperature_c), style),
        "trend": Cell(row=sparkline(palette, figures.history, widths.get("trend", 0), ink_of(host, palette), top=1.0)),
    }
    if not trouble or "trend" in widths:
        cells["trend"] = Cell(trouble, palette.of(level_of(host))) if trouble else cells["trend"]
        return cells_row(HOST_COLUMNS, cells, palette, width)
    row = Row(palette).join(_name(host, palette, widths["host"] - 2, here=here)).gap(2).join(cells_of(host, palette))
    return row.to(widths["host"] + 2 + CELLS).gap(2).add(trouble, palette.of(level_of(host)), max(0, width - row.used))


def degrees(value: float | None) -> str:
    """`61 °C`."""
    return "-" if value is None else f"{value:.0f} °C"


def cells_of(host: HostView, palette: Palette, steps: str = "") -> Row:
    """Eight cells a host; a host that is not seen shows its sign instead."""
    level = level_of_host(host.health)
    if level not in (Level.GOOD, Level.HELD) or not host.together().count:
        return Row(palette).add(palette.glyphs.of(level) * CELLS, palette.of(level))
    return heat_cells(host, palette, steps).to(CELLS)


def _gpus_of(host: HostView, palette: Palette, width: int, *, here: bool) -> list[Row]:
    """A host's name, and each of its GPUs on a line."""
    sums, level = host.together(), level_of(host)
    head = _name(host, palette, min(len(host.name), max(4, width - 12)), here=here).gap(2)
    trouble = trouble_words(host)
    if not sums.count and host.error and trouble.endswith(host.error):  # it stands below
        trouble = host.health
    words = trouble or " ".join(
        part for part in (f"{sums.count} × {sums.name or 'unnamed'}", host.driver and f"driver {host.driver}") if part
    )
    head.add(words, palette.of(level) if trouble else palette.muted, max(0, width - head.used))
    if not sums.count:
        return [head, Row(palette).gap(2).add(host.error or "no GPU is seen", palette.muted, width - 2)]
    gpus = host.gpus if host.sums is None else _gpus_of_sums(host)
    return [head, *(gpu_row(gpu, host, palette, width) for gpu in gpus)]


def _gpus_of_sums(host: HostView) -> list[GpuView]:
    """As much of each GPU as its host's sums hold."""
    sums = host.together()
    alarms = dict(sums.alarms)
    return [GpuView(index=i, utilization=use, alarm=alarms.get(i)) for i, use in enumerate(sums.utilizations)]


def gpu_row(gpu: GpuView, host: HostView, palette: Palette, width: int) -> Row:
    """`  0  ▇▇▇▇▇▇▇▅   94 %  61 °C  56.8 of 80.0 GiB  637 of 700 W  ▆▇▇▆▇`. Of GPUs told together no more is known than the use."""
    columns = GPU_COLUMNS if host.sums is None else GPU_COLUMNS[:3]
    widths = laid_out(columns, width)
    style = palette.stale if is_late(host.age, host.period) else palette.text
    if gpu.alarm:
        row = Row(palette).add(str(gpu.index), palette.muted, widths["GPU"], "right").gap(2)
        return row.add(f"{palette.glyphs.breach} {gpu.alarm}", palette.breach, max(0, width - row.used))
    cells = {
        "GPU": Cell(str(gpu.index), palette.muted),
        "use": Cell(row=bar(palette, gpu.utilization, widths["use"], ink_of(host, palette))),
        "util": Cell(share(gpu.utilization, 0), style),
        "temp": Cell(degrees(gpu.temperature_c), style),
        "memory": Cell(size_of(gpu.memory_used, gpu.memory_total), style),
        "power": Cell(power(gpu.power_w, gpu.power_limit_w), style),
        "trend": Cell(row=sparkline(palette, gpu.history, widths.get("trend", 0), ink_of(host, palette), top=1.0)),
    }
    return cells_row(columns, cells, palette, width)


def _tiles(hosts: Sequence[HostView], layout: Layout, palette: Palette, cursor: int | None) -> Row:
    """Four steps of heat, and the figure in the same ink: a fleet moves every second, and each change of ink costs the line 20 bytes."""
    row, steps = Row(palette), palette.glyphs.heat[::2]
    for i, host in enumerate(hosts):
        row.to(i * (layout.tile + 2)).join(_name(host, palette, layout.name, here=i == cursor)).gap()
        sums, is_good = host.together(), level_of_host(host.health) is Level.GOOD
        if is_good and sums.count == CELLS and not sums.alarms:  # nearly all of a fleet: in one piece with its figure
            words = "".join([heat(palette, use, steps) for use in sums.utilizations])
            if layout.has_use:
                words += share(mean_of(sums.utilizations), 0).rjust(_USE)
            row.add(words, ink_of(host, palette))
            continue
        row.join(cells_of(host, palette, steps))
        if layout.has_use:
            level = level_of_host(host.health)
            words = share(mean_of(sums.utilizations), 0) if is_good else brief(host.age)
            row.add(words, ink_of(host, palette) if is_good else palette.of(level), _USE, "right")
    return row


def _cells(hosts: Sequence[HostView], layout: Layout, palette: Palette, cursor: int | None) -> Row:
    """A cell a host, eight by eight; the name is that of the first."""
    first = hosts[0].name
    row = Row(palette).add(
        first if len(first) < LABEL else palette.glyphs.ellipsis + first[2 - LABEL :], palette.muted, LABEL - 1
    )
    for i, host in enumerate(hosts):
        row.gap(1 if i % CELLS == 0 else 0)
        level, use = level_of(host), mean_of(host.together().utilizations)
        sign = heat(palette, use) if level is Level.GOOD else palette.glyphs.of(level)
        style = ink_of(host, palette) if level is Level.GOOD else palette.of(level)
        row.add(sign, style + Style(reverse=True) if i == cursor else style)
    return row


def trouble_rows(hosts: Sequence[HostView], palette: Palette, width: int, height: int) -> list[Row]:
    """Hosts in trouble by name, the worst first: where a host is one cell its name is not seen."""
    troubled = sorted((host for host in hosts if trouble_words(host)), key=lambda host: -WEIGHT[level_of(host)])
    rows = []
    for host in troubled[:height]:
        level = level_of(host)
        row = Row(palette).add(palette.glyphs.of(level), palette.of(level)).gap()
        row.add(host.name, palette.of(level), min(len(host.name), LONGEST_NAME)).gap()
        rows.append(row.add(trouble_words(host), palette.of(level), max(0, width - row.used)))
    if len(troubled) > height > 0:
        rows[-1] = Row(palette).add(f"{len(troubled) - height + 1} more: s sorts by health", palette.muted)
    return rows
