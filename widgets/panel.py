"""What every panel is: a view of the snapshot that draws whole lines and sends only those cells that changed.

A panel's lines are worked out by a plain function once a snapshot; compared with those that are drawn; and only the span of a
line that differs is refreshed, so that a slow link gets little. No panel has a timer
but the map of a large fleet, whose lines take turns: time comes from `snapshot.at`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import ClassVar

from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.app import RenderResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.filter import ANSIToTruecolor, LineFilter
from textual.geometry import Region, Size
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from backends.snapshot import Snapshot
from themes.palette import Palette, is_true_colour, palette_in
from widgets.figures import duration
from widgets.row import clean, fit, restyle, wrapped

MOST_INKS = 512
WAITING = "waiting for the engine"


class Panel(Widget, can_focus=True):
    """A part of the snapshot, drawn. Five looks: normal, nothing yet, stale (with its age), narrow, failed."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    Panel { height: 1fr; width: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter", "open_panel", "open", show=False)]
    OPENS: ClassVar[str] = ""
    """The name of the screen that this panel opens to; empty where there is none."""
    TITLE: ClassVar[str] = ""

    snapshot: reactive[Snapshot | None] = reactive(None, repaint=False)
    """What is drawn."""
    stale: reactive[float | None] = reactive(None, repaint=False)
    """Seconds since the last snapshot, once that is too long: all is dimmed and the age stands in the border."""
    failed: reactive[str | None] = reactive(None, repaint=False)
    """Why nothing can be drawn at all."""

    class Opened(Message):
        """The operator wants the screen of this panel."""

        def __init__(self, panel: Panel, screen: str) -> None:
            super().__init__()
            self.panel = panel
            self.screen = screen

        @property
        def control(self) -> Panel:
            return self.panel

    def __init__(
        self, *, id: str | None = None, classes: str | None = None, name: str | None = None, disabled: bool = False
    ) -> None:
        super().__init__(id=id, classes=classes, name=name, disabled=disabled)
        self._lines: list[Strip] | None = None
        self._lines_size = Size(0, 0)
        self._labels: tuple[str, str, int] = ("", "", 0)
        self._ground: Style | None = None
        self._inks: dict[int, tuple[Style | None, Style]] = {}  # by the identity of a style: it, and it on the ground
        self._asked: tuple[Palette | None, Style | None, bool] = (None, None, False)

    # What a panel gives

    def draw(self, snapshot: Snapshot, palette: Palette, width: int, height: int) -> list[Strip]:
        """The lines of the panel; `height` at most."""
        raise NotImplementedError

    def heading(self, snapshot: Snapshot | None) -> str:
        """The title in the upper border."""
        return self.TITLE

    def footing(self, snapshot: Snapshot) -> str:
        """What the lower border says: what does not fit, an age."""
        return ""

    # How it is drawn

    @property
    def palette(self) -> Palette:
        """Styles and signs of the active theme. An app says with `ascii_only = True` that the terminal draws nothing else."""
        return palette_in(self.app)

    def lines(self) -> list[Strip]:
        """What is drawn now, line by line."""
        if self._lines is None or self._lines_size != self.size:
            self._lines = self._draw_lines()
            self._lines_size = self.size
        return self._lines

    def redraw(self) -> None:
        """Work the lines out anew and refresh what differs."""
        if not self.is_mounted or not self.size:
            return
        self._label()
        if not self._is_drawn():
            self._lines = None
            self.refresh()
            return
        before, self._lines = self._lines or [], self._draw_lines()
        lines = range(max(len(before), len(self._lines)))
        self._refresh_lines([(y, _line_of(before, y), _line_of(self._lines, y)) for y in lines])

    def _replace_lines(self, lines: Mapping[int, Strip]) -> None:
        """Draw these lines of those that are drawn otherwise."""
        if self._lines is None:
            return
        changed = [(y, self._lines[y], new) for y, new in lines.items() if y < len(self._lines)]
        for y, _, new in changed:
            self._lines[y] = new
        self._refresh_lines(changed)

    def _refresh_lines(self, lines: Iterable[tuple[int, Strip, Strip]]) -> None:
        """What differs, in one go: Textual forgets its measures of a widget with every call."""
        width = self.size.width
        regions = []
        for y, old, new in lines:
            span = None if old is new else changed_span(old, new, width)
            if span is not None:
                regions.append(Region(span[0], y, span[1] - span[0], 1))
        if regions:
            self.refresh(*regions)

    def _is_drawn(self) -> bool:
        """Is it on the screen as it was last worked out?"""
        return self._is_seen() and self._lines is not None and self._lines_size == self.size

    def _is_seen(self) -> bool:
        """Whether this panel's screen is on top, or shines through dialogs alone."""
        for screen in reversed(self.app.screen_stack):
            if screen is self.screen:
                return True
            if not screen.is_modal:
                return False
        return False

    def render_line(self, y: int) -> Strip:
        lines = self.lines()
        base = self.visual_style.rich_style
        if y >= len(lines):
            return Strip.blank(self.size.width, base)
        return self._laid_on(base, lines[y], self.size.width)

    def _laid_on(self, base: Style, line: Strip, width: int) -> Strip:
        """The line in `width` cells on this ground: what `apply_style` and `adjust_cell_length` give, at half their cost."""
        if base is not self._ground:
            self._ground, self._inks = base, {}
        segments = []
        for text, style, _ in line:
            known = self._inks.get(id(style))
            if known is None:
                if len(self._inks) >= MOST_INKS:
                    self._inks.clear()
                known = self._inks[id(style)] = style, base + style
            segments.append(Segment(text, known[1]))
        used = line.cell_length
        if used < width:
            segments.append(Segment(" " * (width - used), base))
            used = width
        return Strip(segments, used).adjust_cell_length(width, base)

    def get_line_filters(self) -> Sequence[LineFilter]:
        """None that turns the sixteen colours into true ones where there are none of them: it goes over every line of every frame."""
        filters = super().get_line_filters()
        return [f for f in filters if not isinstance(f, ANSIToTruecolor)] if self._is_true_colour() else filters

    def _is_true_colour(self) -> bool:
        palette, base = self.palette, self.visual_style.rich_style
        if palette is not self._asked[0] or base is not self._asked[1]:
            self._asked = palette, base, palette.is_true_colour and is_true_colour(base)
        return self._asked[2]

    def render(self) -> RenderResult:
        return Content("\n".join(strip.text for strip in self.lines()))

    def _draw_lines(self) -> list[Strip]:
        width, height = self.size
        palette = self.palette
        if self.failed is not None:
            return failed_lines(self.failed, palette, width, height)
        if self.snapshot is None:
            return nothing_yet(WAITING, palette, width, height)
        lines = self.draw(self.snapshot, palette, width, height)[:height]
        return lines if self.stale is None else [restyle(line, palette.stale) for line in lines]

    def _label(self) -> None:
        """Titles are set only where they change: each setting draws the whole panel."""
        ascii_only = self.palette.glyphs.ascii
        title = clean(self.heading(self.snapshot), ascii_only)
        if self.stale is not None:
            under = "" if self.snapshot is None else f"{duration(self.stale)} old"
        else:
            under = "" if self.snapshot is None or self.failed else clean(self.footing(self.snapshot), ascii_only)
        labels = (title, under, self.outer_size.width)
        if labels != self._labels:
            self._labels = labels
            self.border_title = Content(self._bounded(title)) if title else None
            self.border_subtitle = Content(self._bounded(under)) if under else None
            self.set_class(self.stale is not None, "-stale")

    def _bounded(self, label: str) -> str:
        """A label as long as the border can hold, cut with our own ellipsis."""
        room = max(1, self.outer_size.width - 6)
        return label if cell_len(label) <= room else fit(label, room, ellipsis=self.palette.glyphs.ellipsis)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._lines = None

    def on_mount(self) -> None:
        self._label()

    def on_resize(self) -> None:
        self._label()

    def watch_snapshot(self) -> None:
        self.redraw()

    def watch_stale(self) -> None:
        self.redraw()

    def watch_failed(self) -> None:
        self.set_class(self.failed is not None, "-failed")
        self.redraw()

    # What the operator does

    def action_open_panel(self) -> None:
        """Ask for the screen of this panel."""
        if self.OPENS:
            self.post_message(self.Opened(self, self.OPENS))

    def on_click(self, event: events.Click) -> None:
        if event.chain == 2:
            self.action_open_panel()


def _line_of(lines: Sequence[Strip], y: int) -> Strip:
    return lines[y] if y < len(lines) else Strip([])


def changed_span(old: Strip, new: Strip, width: int) -> tuple[int, int] | None:
    """From the first cell that differs to the end (exclusive) of the last piece of one style that does; None where two lines are the same."""
    if old == new:
        return None
    before, after = list(old), list(new)
    ends = min(len(before), len(after))
    first = next((i for i in range(ends) if before[i] != after[i]), ends)
    start = _cells_in(after[:first])
    if (
        first < ends
        and before[first].style == after[first].style
        and before[first].text.isascii()
        and after[first].text.isascii()
    ):
        pairs = zip(before[first].text, after[first].text, strict=False)
        start += sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    if old.cell_length != new.cell_length:
        return start, width
    last = 0
    while last < ends - first and before[-1 - last] == after[-1 - last]:
        last += 1
    end = new.cell_length - _cells_in(after[len(after) - last :])
    return (start, min(width, end)) if start < end else (start, width)


def _cells_in(segments: Sequence[Segment]) -> int:
    return sum(cell_len(segment.text) for segment in segments)


def nothing_yet(text: str, palette: Palette, width: int, height: int) -> list[Strip]:
    """The look of a panel that has nothing to show yet."""
    return wrapped(f"{palette.glyphs.waiting} {text}", width, height, palette, palette.muted)


def failed_lines(reason: str, palette: Palette, width: int, height: int) -> list[Strip]:
    """The look of a panel whose data cannot be had."""
    return wrapped(f"{palette.glyphs.breach} {reason}", width, height, palette, palette.breach)
