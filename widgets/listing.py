"""A panel with a list: cursor, filter, order, and below it what the entry under the cursor has to say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip

from backends.snapshot import Snapshot
from themes.palette import Palette
from widgets.figures import counted
from widgets.panel import Panel, nothing_yet
from widgets.row import Row

T = TypeVar("T")
ORDER_OF_PLAN = "plan"


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One line of a list: how it is known, found and ordered."""

    key: str
    thing: T
    search: str  # what a filter looks in
    value: str  # what `y` copies
    sorts: dict[str, Any] = field(default_factory=dict)  # by the names of `SORTS`; the plan's order needs none


def chosen_entries(entries: Sequence[Entry[T]], wanted: str, sort: str) -> list[Entry[T]]:
    """Those in which every word of the filter occurs, in the asked order; ties and unknown orders keep the given one."""
    words = wanted.casefold().split()
    kept = [e for e in entries if all(word in e.search.casefold() for word in words)]
    if any(sort in e.sorts for e in kept):
        kept.sort(key=lambda e: e.sorts[sort])
    return kept


def first_shown(top: int, cursor: int, places: int, count: int) -> int:
    """The first entry that is drawn, so that the cursor is seen and no place is left empty."""
    if places <= 0:
        return 0
    top = min(max(top, cursor - places + 1), cursor)
    return max(0, min(top, count - places))


def cursor_line(row: Row, here: bool, palette: Palette, width: int) -> Strip:
    """A line of a list, its row two cells narrower than `width`: the one under the cursor has a sign and a ground of its own."""
    whole = Row(palette).add(palette.glyphs.step if here else " ", palette.accent).gap().join(row)
    strip = whole.strip(width, fill=palette.text)
    return strip.apply_style(palette.cursor) if here else strip


class ListPanel(Panel, Generic[T]):
    """The full-size panels."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "page(-1)", "page up", show=False),
        Binding("pagedown", "page(1)", "page down", show=False),
        Binding("home,g", "jump(0)", "first", show=False),
        Binding("end", "jump(-1)", "last", show=False),
        Binding("enter", "choose", "open", show=False),
    ]
    SORTS: ClassVar[tuple[str, ...]] = (ORDER_OF_PLAN,)
    NONE: ClassVar[str] = "nothing here yet"
    COUNTS: ClassVar[str] = "line"
    """What an entry is called."""
    DETAIL: ClassVar[int] = 6
    """Lines below the list for the entry under the cursor, where the panel is high enough."""

    filter: reactive[str] = reactive("", repaint=False)
    """Words that all must occur."""
    sort: reactive[str] = reactive(ORDER_OF_PLAN, repaint=False)
    """One of `SORTS`."""
    cursor: reactive[int] = reactive(0, repaint=False)
    """The entry under the cursor, counted as drawn."""

    class Chosen(Message):
        """The operator pressed Enter on an entry."""

        def __init__(self, panel: ListPanel[Any], key: str) -> None:
            super().__init__()
            self.panel = panel
            self.key = key

        @property
        def control(self) -> ListPanel[Any]:
            return self.panel

    def __init__(
        self, *, id: str | None = None, classes: str | None = None, name: str | None = None, disabled: bool = False
    ) -> None:
        super().__init__(id=id, classes=classes, name=name, disabled=disabled)
        self.set_reactive(ListPanel.sort, self.SORTS[0])
        self._top = 0
        self._key: str | None = None
        self._places = 1

    # What a list gives

    def entries(self, snapshot: Snapshot) -> list[Entry[T]]:
        """All lines, in the plan's order."""
        raise NotImplementedError

    def head(self, snapshot: Snapshot, palette: Palette, width: int, height: int) -> list[Strip]:
        """What stands above the list: facts, the names of the columns."""
        return []

    def entry_row(self, entry: Entry[T], palette: Palette, width: int) -> Row:
        """One line."""
        raise NotImplementedError

    def detail(self, entry: Entry[T], palette: Palette, width: int, height: int) -> list[Strip]:
        """What the entry under the cursor has to say."""
        return []

    # How it is drawn

    def shown(self) -> list[Entry[T]]:
        """The entries as filtered and ordered now."""
        return [] if self.snapshot is None else chosen_entries(self.entries(self.snapshot), self.filter, self.sort)

    def draw(self, snapshot: Snapshot, palette: Palette, width: int, height: int) -> list[Strip]:
        entries = self.shown()
        lines = self.head(snapshot, palette, width, height)
        if not entries:
            words = f"nothing matches {self.filter}" if self.filter else self.NONE
            return [*lines, *nothing_yet(words, palette, width, height - len(lines))]
        self._follow(entries)
        detail = self._detail_lines(entries, palette, width, height - len(lines))
        self._places = max(1, height - len(lines) - len(detail))
        self._top = first_shown(self._top, self.cursor, self._places, len(entries))
        visible = entries[self._top : self._top + self._places]
        drawn = [
            cursor_line(self.entry_row(entry, palette, width - 2), i + self._top == self.cursor, palette, width)
            for i, entry in enumerate(visible)
        ]
        return [*lines, *drawn, *detail]

    def _detail_lines(self, entries: Sequence[Entry[T]], palette: Palette, width: int, height: int) -> list[Strip]:
        """Lines for the entry under the cursor: at most what the list leaves, or its fixed part."""
        room = max(self.detail_height(height), height - len(entries) - 1)
        if room < 2 or height < 5:
            return []
        lines = self.detail(entries[self.cursor], palette, width, room - 1)[: room - 1]
        return [Row(palette).add(palette.glyphs.rule * width, palette.track).strip(width), *lines] if lines else []

    def detail_height(self, height: int) -> int:
        """How many lines the entry under the cursor may take of so many."""
        return min(self.DETAIL, height // 2)

    def _follow(self, entries: Sequence[Entry[T]]) -> None:
        """The cursor stays on its entry when the order changes or entries come before it."""
        keys = [e.key for e in entries]
        index = keys.index(self._key) if self._key in keys else min(self.cursor, len(keys) - 1)
        self._key = keys[index]
        if index != self.cursor:
            self.set_reactive(ListPanel.cursor, index)

    def footing(self, snapshot: Snapshot) -> str:
        entries, whole = self.shown(), len(self.entries(snapshot))
        parts = [f"{len(entries)} of {whole}" if self.filter else counted(whole, self.COUNTS)]
        if self.filter:
            parts.append(f"filter {self.filter}")
        if len(self.SORTS) > 1:
            parts.append(f"by {self.sort}")
        return f" {self.palette.glyphs.dot} ".join(parts)

    # What the operator does

    def current(self) -> Entry[T] | None:
        """The entry under the cursor."""
        entries = self.shown()
        return entries[min(self.cursor, len(entries) - 1)] if entries else None

    def value(self) -> str | None:
        """What `y` copies."""
        entry = self.current()
        return None if entry is None else entry.value

    def cycle_sort(self) -> str:
        """The next order; its name is returned."""
        at = self.SORTS.index(self.sort) if self.sort in self.SORTS else -1
        self.sort = self.SORTS[(at + 1) % len(self.SORTS)]
        return self.sort

    def move_to(self, index: int) -> None:
        """The cursor to an entry, as far as there are any."""
        entries = self.shown()
        if entries:
            index = max(0, min(index, len(entries) - 1))
            self._key = entries[index].key
            self.cursor = index

    def action_move(self, step: int) -> None:
        self.move_to(self.cursor + step)

    def action_page(self, step: int) -> None:
        self.move_to(self.cursor + step * max(1, self._places - 1))

    def action_jump(self, index: int) -> None:
        self.move_to(index if index >= 0 else len(self.shown()) - 1)

    def action_choose(self) -> None:
        entry = self.current()
        if entry is not None:
            self.post_message(self.Chosen(self, entry.key))

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        event.stop()
        self.action_move(3)

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        event.stop()
        self.action_move(-3)

    def watch_filter(self) -> None:
        self.redraw()

    def watch_sort(self) -> None:
        self.redraw()

    def watch_cursor(self) -> None:
        self.redraw()
