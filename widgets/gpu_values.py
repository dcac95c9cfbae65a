"""Every value of a host's GPUs, a line a value and a column a GPU; and the processes on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.style import Style

from backends.snapshot import GpuDetail, GpuView, HostView
from themes.palette import Palette
from widgets.bars import bar
from widgets.columns import Cell, Column, cells_row, titles_row
from widgets.figures import NOTHING, is_late, number, share, size
from widgets.fleet_map import ink_of
from widgets.graph import graph_rows
from widgets.row import Row

LABEL = 12
LEAST = 8  # cells of a column, a blank before it
BESIDE = 8  # GPUs at most
WITH_BAR = 18
GIB = 1 << 30

PROCESS_COLUMNS = (
    Column("GPU", 3, "right"),
    Column("PID", 8, "right"),
    Column("memory", 9, "right"),
    Column("user", 10, rank=1),
    Column("job", 14, rank=2, grow=1),
    Column("command", 20, grow=3),
)
Value = Callable[[GpuView, GpuDetail], object]


@dataclass(frozen=True, slots=True)
class Line:
    """One value: how it is called with its unit, where it comes from, whether it is a breach or late when it is not zero."""

    label: str
    value: Value
    is_bad: bool = False
    is_late: bool = False


def _percent(value: float | None) -> str | None:
    return None if value is None else share(value, 0).removesuffix(" %")


def _gib(value: int | None) -> str | None:
    return None if value is None else f"{value / GIB:.1f}"


def _gb(value: float | None) -> str | None:
    return None if value is None else number(value / 1e9)


def _truth(value: bool | None) -> str | None:
    return None if value is None else "yes" if value else "no"


def _remapped(detail: GpuDetail) -> str | None:
    if detail.remap_failed:
        return "failed"
    return "pending" if detail.remap_pending else None if detail.remapped_rows is None else str(detail.remapped_rows)


def _pcie(detail: GpuDetail) -> str | None:
    if detail.pcie_generation is None or detail.pcie_width is None:
        return None
    return f"{detail.pcie_generation} x{detail.pcie_width}"


def _slowed(detail: GpuDetail) -> str | None:
    """A source that gives no clock does not say what holds it either."""
    return ", ".join(detail.throttled) or (None if detail.clock_mhz is None else "no")


def _mig(detail: GpuDetail) -> str | None:
    return str(len(detail.mig)) if detail.mig_mode else _truth(detail.mig_mode)


LINES = (
    Line("util %", lambda g, d: g.utilization),
    Line("memory %", lambda g, d: g.memory_used / g.memory_total if g.memory_used is not None and g.memory_total else None),
    Line("used GiB", lambda g, d: _gib(g.memory_used)),
    Line("total GiB", lambda g, d: _gib(g.memory_total)),
    Line("bus busy %", lambda g, d: _percent(d.memory_utilization)),
    Line("encoder %", lambda g, d: _percent(d.encoder)),
    Line("power W", lambda g, d: None if g.power_w is None else f"{g.power_w:.0f}"),
    Line("cap W", lambda g, d: None if g.power_limit_w is None else f"{g.power_limit_w:.0f}"),
    Line("core °C", lambda g, d: None if g.temperature_c is None else f"{g.temperature_c:.0f}"),
    Line("HBM °C", lambda g, d: None if d.memory_temperature_c is None else f"{d.memory_temperature_c:.0f}"),
    Line("clock MHz", lambda g, d: d.clock_mhz),
    Line("highest MHz", lambda g, d: d.clock_max_mhz),
    Line("memory MHz", lambda g, d: d.memory_clock_mhz),
    Line("pstate", lambda g, d: None if d.pstate is None else f"P{d.pstate}"),
    Line("slowed by", lambda g, d: _slowed(d), is_late=True),
    Line("ECC", lambda g, d: _truth(d.ecc)),
    Line("corrected", lambda g, d: d.ecc_corrected),
    Line("uncorrected", lambda g, d: d.ecc_uncorrected, is_bad=True),
    Line("retired", lambda g, d: d.retired_pages),
    Line("remapped", lambda g, d: _remapped(d)),
    Line("last Xid", lambda g, d: d.xid, is_late=True),
    Line("PCIe", lambda g, d: _pcie(d)),
    Line("  out GB/s", lambda g, d: _gb(d.pcie_sent)),
    Line("  in GB/s", lambda g, d: _gb(d.pcie_received)),
    Line("NVLink out", lambda g, d: _gb(d.nvlink_sent)),
    Line("NVLink in", lambda g, d: _gb(d.nvlink_received)),
    Line("fan %", lambda g, d: _percent(d.fan)),
    Line("persistence", lambda g, d: _truth(d.persistence)),
    Line("mode", lambda g, d: d.compute_mode),
    Line("MIG", lambda g, d: _mig(d)),
)
NO_DETAIL = GpuDetail()


def value_rows(host: HostView, palette: Palette, width: int) -> list[Row]:
    """The table; more GPUs than stand beside each other go below."""
    beside = max(1, min(BESIDE, (width - LABEL) // LEAST))
    rows: list[Row] = []
    for start in range(0, len(host.gpus), beside):
        rows += [Row(palette)] if rows else []
        rows += _group(host.gpus[start : start + beside], host, palette, width)
    return rows


def _group(gpus: Sequence[GpuView], host: HostView, palette: Palette, width: int) -> list[Row]:
    cell = min(26, (width - LABEL) // max(len(gpus), 1))
    head = Row(palette).add("GPU", palette.muted, LABEL)
    trend = Row(palette).add("last minute", palette.muted, LABEL)
    for gpu in gpus:
        sign = f"{palette.glyphs.breach} " if gpu.alarm else ""
        head.add(f"{sign}{gpu.index}", palette.breach if gpu.alarm else palette.strong, cell, "right")
        [graph] = graph_rows(gpu.history, palette, cell - 1, 1, ink_of(host, palette), low=0.0, high=1.0)
        trend.gap().join(graph)
    rows = [head, trend]
    for line in LINES:
        row = Row(palette).add(line.label, palette.muted, LABEL)
        for gpu in gpus:
            row.join(_value(line, gpu, host, palette, cell))
        rows.append(row)
    return rows


def _value(line: Line, gpu: GpuView, host: HostView, palette: Palette, cell: int) -> Row:
    value = line.value(gpu, gpu.detail or NO_DETAIL)
    style = palette.stale if is_late(host.age, host.period) else palette.text
    row = Row(palette).gap()
    if isinstance(value, float):
        if cell >= WITH_BAR:
            row.join(bar(palette, value, cell - 6, ink_of(host, palette)))
        return row.add(_percent(value) or NOTHING, style, cell - row.used, "right")
    text = NOTHING if value is None else f"{value:,}" if isinstance(value, int) else str(value)
    return row.add(text, _style(line, text, palette, style), cell - 1, "right")


def _style(line: Line, text: str, palette: Palette, otherwise: Style) -> Style:
    if text in (NOTHING, "0", "no"):
        return palette.muted if text == NOTHING else otherwise
    if line.is_bad or text == "failed":
        return palette.breach
    return palette.held if line.is_late or text == "pending" else otherwise


def process_rows(host: HostView, palette: Palette, width: int) -> list[Row]:
    """Who uses the GPUs, as far as the device tells."""
    lists = [(gpu, gpu.detail.processes) for gpu in host.gpus if gpu.detail is not None and gpu.detail.processes is not None]
    if not lists:
        return [Row(palette).add("the source does not tell of processes", palette.muted)]
    rows = [
        cells_row(
            PROCESS_COLUMNS,
            {
                "GPU": Cell(str(gpu.index), palette.muted),
                "PID": Cell(str(process.pid)),
                "memory": Cell(size(process.memory)),
                "user": Cell(process.user or NOTHING),
                "job": Cell(process.job or NOTHING, palette.accent if process.job else palette.muted),
                "command": Cell(process.command or NOTHING),
            },
            palette,
            width,
        )
        for gpu, processes in lists
        for process in processes
    ]
    return [titles_row(PROCESS_COLUMNS, palette, width), *rows] if rows else [Row(palette).add("none", palette.muted)]


def mig_rows(host: HostView, palette: Palette) -> list[Row]:
    """MIG devices, where there are some."""
    rows = []
    for gpu in host.gpus:
        for one in gpu.detail.mig if gpu.detail is not None else ():
            row = (
                Row(palette)
                .add(str(gpu.index), palette.muted, 3, "right")
                .gap(2)
                .add(one.name or NOTHING, palette.text, 22)
                .gap()
            )
            used = (
                ""
                if one.memory_used is None or one.memory_total is None
                else f"{size(one.memory_used)} of {size(one.memory_total)}"
            )
            rows.append(row.add(used or size(one.memory_total), palette.text, 22).gap().add(one.uuid, palette.muted))
    return rows
