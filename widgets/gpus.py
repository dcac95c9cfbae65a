"""The GPUs of both sides, beside each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from textual.strip import Strip

from backends.snapshot import SIDES, GpuView, HostView, Level, SideName, Snapshot, mean_of
from themes.meaning import level_of_host
from themes.palette import Palette
from widgets.bars import bar, heat, sparkline
from widgets.figures import brief, counted, is_late, power, share
from widgets.fitting import shown_first
from widgets.panel import Panel, nothing_yet
from widgets.row import Row

LABEL = 7


@dataclass(frozen=True, slots=True)
class SideFigures:
    """What one side's GPUs do together. None is not known."""

    gpus: int
    utilization: float | None
    memory: float | None
    power_w: float | None
    power_limit_w: float | None
    temperature_c: float | None  # the hottest
    history: tuple[float | None, ...]
    healths: tuple[tuple[str, int], ...]  # of its hosts, the worst first
    age: float | None  # of the oldest host that is late
    alarms: int


def side_figures(hosts: Sequence[HostView], side: SideName) -> SideFigures:
    """Means and sums over the GPUs of a side's hosts that can be seen."""
    mine = [h for h in hosts if h.side == side]
    sums = [h.together() for h in mine]
    with_gpus = [s for s in sums if s.count]
    used, total = _sum([s.memory_used for s in with_gpus]), _sum([s.memory_total for s in with_gpus])
    counted = Counter(h.health for h in mine)
    order = sorted(counted, key=lambda h: -[*Level].index(level_of_host(h)))
    ages = [h.age for h in mine if h.age is not None and is_late(h.age, h.period)]
    return SideFigures(
        gpus=sum(s.count for s in sums),
        utilization=mean_of(u for s in sums for u in s.utilizations),
        memory=used / total if used is not None and total else None,
        power_w=_sum([s.power_w for s in with_gpus]),
        power_limit_w=_sum([s.power_limit_w for s in with_gpus]),
        temperature_c=max((s.temperature_c for s in sums if s.temperature_c is not None), default=None),
        history=mean_history([s.history for s in sums]),
        healths=tuple((h, counted[h]) for h in order),
        age=max(ages, default=None),
        alarms=sum(len(s.alarms) for s in sums),
    )


def _sum(values: Sequence[float | None]) -> float | None:
    """A sum over all, or nothing: a sum over some would look like less."""
    return None if not values or any(v is None for v in values) else float(sum(v for v in values if v is not None))


def mean_history(histories: Sequence[tuple[float | None, ...]]) -> tuple[float | None, ...]:
    """Of several, sample by sample from the newest back; what none has is missing."""
    length = max((len(h) for h in histories), default=0)
    padded = [(None,) * (length - len(h)) + h for h in histories]
    return tuple(_mean(column) for column in zip(*padded, strict=True))


def _mean(column: Sequence[float | None]) -> float | None:
    try:
        return sum(column) / len(column)  # type: ignore[arg-type]
    except TypeError:  # one is not known
        return mean_of(column)


def gpu_rows(hosts: Sequence[HostView], palette: Palette, width: int, height: int) -> list[Strip]:
    """Utilisation, memory, power, hosts of both sides; with more room temperature, history, and each host's GPUs as heat."""
    if not hosts:
        return nothing_yet("no hosts in this plan", palette, width, height)
    sides = [(side, side_figures(hosts, side)) for side in SIDES]
    column = max(10, (width - LABEL + 1) // 2)
    lines = [
        _bars("util", [(s, f.utilization, f) for s, f in sides], palette, width, column),
        _bars("memory", [(s, f.memory, f) for s, f in sides], palette, width, column),
        _cells("power", [power(f.power_w, f.power_limit_w) for _, f in sides], sides, palette, width, column),
    ]
    last = [_hosts_line(sides, palette, width, column)]
    if height >= 5:
        lines.append(_cells("temp", [_degrees(f.temperature_c) for _, f in sides], sides, palette, width, column))
    if height >= 6:
        lines.append(_history(sides, palette, width, column))
    room = height - len(lines) - len(last)
    return [*lines, *last, *heat_rows(hosts, palette, width, room, column)] if height >= 4 else [*lines, *last][:height]


def _degrees(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} °C"


Sides = Sequence[tuple[SideName, SideFigures]]


def _bars(
    label: str, values: Sequence[tuple[SideName, float | None, SideFigures]], palette: Palette, width: int, column: int
) -> Strip:
    row = Row(palette).add(label, palette.muted, LABEL)
    cells = max(3, column - 8)
    for i, (side, value, figures) in enumerate(values):
        row.to(LABEL + i * column)
        style = palette.stale if figures.age is not None else palette.side(side)
        row.join(bar(palette, value, cells, style))
        row.add(share(value, 0), palette.stale if figures.age is not None else palette.strong, 6, "right")
    return row.strip(width)


def _cells(label: str, texts: Sequence[str], sides: Sides, palette: Palette, width: int, column: int) -> Strip:
    row = Row(palette).add(label, palette.muted, LABEL)
    for i, (text, (_, figures)) in enumerate(zip(texts, sides, strict=True)):
        row.to(LABEL + i * column).add(text, palette.stale if figures.age is not None else palette.text, column - 2)
    return row.strip(width)


def _history(sides: Sides, palette: Palette, width: int, column: int) -> Strip:
    row = Row(palette).add("trend", palette.muted, LABEL)
    for i, (side, figures) in enumerate(sides):
        row.to(LABEL + i * column)
        style = palette.stale if figures.age is not None else palette.side(side)
        row.join(sparkline(palette, figures.history, column - 2, style, top=1.0))
    return row.strip(width)


def _hosts_line(sides: Sides, palette: Palette, width: int, column: int) -> Strip:
    row = Row(palette).add("hosts", palette.muted, LABEL)
    for i, (_, figures) in enumerate(sides):
        row.to(LABEL + i * column).join(health_row(figures, palette, column - 1))
    return row.strip(width)


def health_row(figures: SideFigures, palette: Palette, width: int) -> Row:
    """`✗ 1 silent 41s  ✗ 2 alarms  126 live`: as many words as fit, what is wrong first."""
    words: list[Row] = []
    for health, number in figures.healths:
        level = level_of_host(health)
        if level is Level.GOOD:
            continue
        says = f"{palette.glyphs.of(level)} {number} {health}"
        is_old = not words and level in (Level.HELD, Level.BREACH) and figures.age is not None
        with_age = f"{says} {brief(figures.age)}" if is_old else says  # the age of the worst
        words.append(Row(palette).add(with_age if len(with_age) <= width else says, palette.of(level)))
    if figures.alarms:
        words.append(Row(palette).add(f"{palette.glyphs.breach} {counted(figures.alarms, 'alarm')}", palette.breach))
    words += [Row(palette).add(f"{number} {health}") for health, number in figures.healths if level_of_host(health) is Level.GOOD]
    row = Row(palette)
    for word in words or [Row(palette).add("none", palette.muted)]:
        row.also(word, width, 2 if row.used else 0)
    return row


def heat_rows(hosts: Sequence[HostView], palette: Palette, width: int, height: int, column: int) -> list[Strip]:
    """Every GPU: a line each where there is room, else a line a host, else several hosts a line; a blank line before."""
    if height < 2:
        return []
    each = [[h for h in hosts if h.side == side] for side in SIDES]
    left, right = LABEL + column - 2, width - LABEL - column
    blocks = [_block(mine, palette, room, height - 1) for mine, room in zip(each, (left, right), strict=True)]
    lines = [Strip([])]
    for i in range(max(len(b) for b in blocks)):
        row = Row(palette)
        for start, block in zip((0, LABEL + column), blocks, strict=True):
            row.to(start).join(block[i] if i < len(block) else Row(palette))
        lines.append(row.strip(width))
    return lines


def _block(hosts: Sequence[HostView], palette: Palette, width: int, height: int) -> list[Row]:
    """One side in so many lines and cells."""
    if sum(h.together().count or 1 for h in hosts) <= height and width >= 24 and not any(h.sums for h in hosts):
        names = min(max((len(h.name) for h in hosts), default=0), 12)
        return [row for h in hosts for row in _gpu_lines(h, palette, width, names)]
    if len(hosts) <= height:
        names = min(max((len(h.name) for h in hosts), default=0), max(4, width - 12))
        return [host_heat(h, palette, names) for h in hosts]
    rows = [Row(palette)]
    for host in shown_first(hosts, height * max(1, (width + 1) // 9), lambda h: level_of_host(h.health)):
        if rows[-1].used + 9 > width + 1:
            rows.append(Row(palette))
        rows[-1].join(_cells_of(host, palette)).gap()
    return rows[:height]


def _gpu_lines(host: HostView, palette: Palette, width: int, names: int) -> list[Row]:
    if not host.gpus:
        return [host_heat(host, palette, names).add(host.health, palette.muted)]
    return [gpu_line(gpu, host, palette, width, names, first=i == 0) for i, gpu in enumerate(host.gpus)]


def gpu_line(gpu: GpuView, host: HostView, palette: Palette, width: int, names: int, *, first: bool) -> Row:
    """`lam-b1 0 ▇▇▇▆▇▇▇▅▇▇  94 %`: its history as far as there is room."""
    level = level_of_host(host.health)
    late = is_late(host.age, host.period)
    style = palette.stale if late else palette.side(host.side)
    row = Row(palette).add(host.name if first else "", palette.muted if level is Level.GOOD else palette.of(level), names)
    row.gap().add(str(gpu.index), palette.muted, 2, "right").gap()
    room = width - row.used - 7
    if gpu.alarm:
        return row.add(f"{palette.glyphs.breach} {gpu.alarm}", palette.breach, room + 7)
    row.join(sparkline(palette, gpu.history, min(room, 120), style, top=1.0))
    return row.add(share(gpu.utilization, 0), palette.stale if late else palette.text, 7, "right")


def _cells_of(host: HostView, palette: Palette) -> Row:
    """Eight cells a host; a host that is not seen shows its sign instead."""
    level = level_of_host(host.health)
    if level is not Level.GOOD or not host.together().count:
        return Row(palette).add(palette.glyphs.of(level) * 8, palette.of(level))
    return heat_cells(host, palette).to(CELLS)


CELLS = 8


def heat_cells(host: HostView, palette: Palette, steps: str = "") -> Row:
    """A host's GPUs in eight cells at most: of more, neighbours share a cell, which shows their mean, or the sign of an alarm.
    `steps`: signs from idle to busy, where not all are wanted."""
    late = is_late(host.age, host.period)
    style = palette.stale if late else palette.side(host.side)
    sums = host.together()
    alarmed = {index for index, _ in sums.alarms}
    each = -(-sums.count // CELLS) or 1
    if each == 1 and not alarmed:
        return Row(palette).add("".join([heat(palette, use, steps) for use in sums.utilizations]), style)
    row, run = Row(palette), ""
    for i in range(0, len(sums.utilizations), each):
        if alarmed and alarmed & {*range(i, i + each)}:
            row.add(run, style).add(palette.glyphs.breach, palette.breach)
            run = ""
        else:
            run += heat(palette, sums.utilizations[i] if each == 1 else mean_of(sums.utilizations[i : i + each]), steps)
    return row.add(run, style)


def host_heat(host: HostView, palette: Palette, names: int) -> Row:
    """`lam-b1 ▇▇▆▇▇▅▇▇`."""
    level = level_of_host(host.health)
    row = Row(palette)
    row.add(palette.glyphs.of(level), palette.of(level)).gap()
    row.add(host.name, palette.muted if level is Level.GOOD else palette.of(level), names).gap()
    return row.join(heat_cells(host, palette))


class GpusPanel(Panel):
    """Both providers' GPUs."""

    OPENS = "gpus"
    TITLE = "GPUs"

    def draw(self, snapshot: Snapshot, palette: Palette, width: int, height: int) -> list[Strip]:
        return gpu_rows(snapshot.hosts, palette, width, height)

    def heading(self, snapshot: Snapshot | None) -> str:
        if snapshot is None or not snapshot.hosts:
            return self.TITLE
        numbers = [f"{sum(h.together().count for h in snapshot.hosts if h.side == side)} {side}" for side in SIDES]
        return f"GPUs: {', '.join(numbers)}"
