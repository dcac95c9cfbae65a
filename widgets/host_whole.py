"""One host whole: its alarms with their cure, its past, the machine, every value of every GPU, the processes on them."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.reactive import reactive
from textual.strip import Strip

from backends.snapshot import HostPast, HostView, Snapshot
from themes.meaning import level_of_host
from themes.palette import Palette
from widgets.columns import beside
from widgets.figures import NOTHING, age, duration, is_late, number, power, share
from widgets.fleet_map import degrees, ink_of
from widgets.gpu_values import mig_rows, process_rows, value_rows
from widgets.graph import Samples, graph_rows
from widgets.host_machine import machine_rows
from widgets.hosts_table import gpu_words
from widgets.panel import Panel, nothing_yet
from widgets.row import Row, wrapped

LABEL = 9
FIGURE = 8
WIDE = 140  # from here past and machine stand beside each other


def host_lines(host: HostView, at: datetime, palette: Palette, width: int) -> list[Strip]:
    """All of it, however many lines that are."""
    lines = [*head_lines(host, palette, width)]
    if width >= WIDE:
        half = (width - 3) // 2
        left = [title_row("the past", palette, half), *past_rows(host, palette, half, 3)]
        rest = width - 3 - half
        right = [title_row("machine", palette, rest), *machine_rows(host, at, palette, rest)]
        right += [title_row("processes", palette, rest), *process_rows(host, palette, rest)]
        rows = beside(left, right, palette, width, at=half)
    else:
        rows = [title_row("the past", palette, width), *past_rows(host, palette, width, 1)]
        rows += [title_row("machine", palette, width), *machine_rows(host, at, palette, width)]
    rows += [title_row(gpu_words(host) if host.together().count else "GPUs", palette, width)]
    rows += value_rows(host, palette, width) if host.gpus else [Row(palette).add(_no_gpus(host), palette.muted)]
    if migs := mig_rows(host, palette):
        rows += [title_row("MIG devices", palette, width), *migs]
    if width < WIDE:
        rows += [title_row("processes", palette, width), *process_rows(host, palette, width)]
    return [*lines, *(row.strip(width) for row in rows)]


def _no_gpus(host: HostView) -> str:
    return "asking the engine" if host.sums is not None else "no GPU is seen"


def title_row(text: str, palette: Palette, width: int) -> Row:
    """`── machine ─────`."""
    rule = palette.glyphs.rule
    row = Row(palette).add(rule * 2, palette.track).gap().add(text, palette.strong).gap()
    return row.add(rule * row.room(width), palette.track).cut(width)


def head_lines(host: HostView, palette: Palette, width: int) -> list[Strip]:
    """Can it be seen, by what; then all that is wrong, each with its cure."""
    level = level_of_host(host.health)
    row = Row(palette).add(f"{palette.glyphs.of(level)} {host.health}", palette.of(level)).gap(2)
    row.add(age(host.age), palette.held if is_late(host.age, host.period) else palette.muted)
    for word in (host.side, host.address, host.source, f"driver {host.driver or NOTHING}", f"CUDA {host.cuda or NOTHING}"):
        row.also(Row(palette).add(word, palette.side(host.side) if word == host.side else palette.muted), width)
    lines = [row.strip(width)]
    if host.error:
        lines += wrapped(f"{palette.glyphs.of(level)} {host.error}", width, 4, palette, palette.of(level))
    for index, alarm in host.together().alarms:
        lines += wrapped(f"{palette.glyphs.breach} GPU {index}: {alarm}", width, 4, palette, palette.breach)
    for alarm in host.alarms:
        lines += wrapped(f"{palette.glyphs.held} {alarm}", width, 4, palette, palette.held)
    return lines


def past_rows(host: HostView, palette: Palette, width: int, height: int) -> list[Row]:
    """The last hour of utilisation, memory, power, heat and processors, each in so many lines; what was not heard is a gap."""
    past = host.past
    if past is None or not past.utilization:
        return [Row(palette).add("nothing heard yet" if past is not None else "asking the engine", palette.muted)]
    rows: list[Row] = []
    for label, samples, top, shown in _measures(host, past):
        known = [sample for sample in samples if sample is not None]
        high = top if top is not None else max(known, default=0.0)
        graph = graph_rows(
            samples,
            palette,
            max(1, width - LABEL - FIGURE - 1),
            height,
            ink_of(host, palette),
            low=0.0,
            high=high,
            count=past.count,
        )
        for i, line in enumerate(graph):
            row = Row(palette)
            if i == 0:
                row.add(label, palette.muted, LABEL).add(shown, palette.text, FIGURE, "right")
            elif i == 1:
                row.add(_range_words(label, known), palette.muted, LABEL + FIGURE, "right")
            rows.append(row.to(LABEL + FIGURE + 1).join(line))
    span = duration(len(past.utilization) * past.every)
    rows.append(Row(palette).to(LABEL + FIGURE + 1).add(f"the last {span}, now on the right", palette.muted))
    return rows


def _measures(host: HostView, past: HostPast) -> list[tuple[str, Samples, float | None, str]]:
    """Name, samples, the top of the scale where it is known, the last figure."""
    limit = host.together().power_limit_w
    return [
        ("util", past.utilization, 1.0, share(past.utilization[-1], 0)),
        ("memory", past.memory, 1.0, share(past.memory[-1], 0)),
        ("power", past.power_w, limit, power(past.power_w[-1], None)),
        ("hottest", past.temperature_c, 100.0, degrees(past.temperature_c[-1])),
        ("CPU", past.cpu, 1.0, share(past.cpu[-1], 0)),
    ]


def _range_words(label: str, known: list[float]) -> str:
    if not known:
        return NOTHING
    low, high = min(known), max(known)
    if label in ("util", "memory", "CPU"):
        return f"{low * 100:.0f} to {high * 100:.0f} %"
    return f"{low:.0f} to {high:.0f} °C" if label == "hottest" else f"{number(low / 1000)} to {number(high / 1000)} kW"


class HostPanel(Panel):
    """A host's own screen. It is scrolled where it is longer than the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "scroll_lines(-1)", "up", show=False),
        Binding("down,j", "scroll_lines(1)", "down", show=False),
        Binding("pageup", "scroll_pages(-1)", "page up", show=False),
        Binding("pagedown,space", "scroll_pages(1)", "page down", show=False),
        Binding("home,g", "scroll_lines(-1000000)", "first", show=False),
        Binding("end", "scroll_lines(1000000)", "last", show=False),
    ]

    host: reactive[HostView | None] = reactive(None, repaint=False)
    """What is drawn: the host as the engine told it last."""

    def __init__(
        self, *, id: str | None = None, classes: str | None = None, name: str | None = None, disabled: bool = False
    ) -> None:
        super().__init__(id=id, classes=classes, name=name, disabled=disabled)
        self._top = 0
        self._length = 0

    def draw(self, snapshot: Snapshot, palette: Palette, width: int, height: int) -> list[Strip]:
        if self.host is None:
            return nothing_yet("the plan has no such host any more", palette, width, height)
        lines = host_lines(self.host, snapshot.at, palette, width)
        self._length = len(lines)
        self._top = max(0, min(self._top, len(lines) - height))
        return lines[self._top : self._top + height]

    def heading(self, snapshot: Snapshot | None) -> str:
        return "host" if self.host is None else f"{self.host.side}: {self.host.name}"

    def footing(self, snapshot: Snapshot) -> str:
        self.lines()
        height = self.size.height
        if self._length <= height:
            return ""
        return f"lines {self._top + 1} to {min(self._length, self._top + height)} of {self._length}"

    def redraw(self) -> None:
        super().redraw()
        if self.is_mounted and self.size:
            self._label()  # it counts the lines that were drawn

    def watch_host(self) -> None:
        self.redraw()

    def action_scroll_lines(self, step: int) -> None:
        self._top = max(0, min(self._top + step, self._length - self.size.height))
        self.redraw()

    def action_scroll_pages(self, step: int) -> None:
        self.action_scroll_lines(step * max(1, self.size.height - 1))
