"""What every full screen has: head, readiness and next lines, its body, one line of notice, the foot.

A screen hands parts of the snapshot to its panels and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Container
from textual.message import Message
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Input

from backends.snapshot import HostView, Level, SideName
from console.fields import detail_rows
from console.foot import foot_entries
from console.screens.detail import DetailDialog
from console.screens.line import Line
from console.view import View
from console.words import since_words
from widgets.foot import FootBar
from widgets.headline import HeadLine, NextLine
from widgets.listing import ListPanel
from widgets.panel import Panel
from widgets.readiness import ReadinessLine


class Filter(Input):
    """The line that a list is filtered by."""

    def on_mount(self) -> None:
        self.cursor_blink = False  # nothing blinks


class CutoverScreen(Screen[None]):
    """One of the screens under the keys 1..8, and the run."""

    HELP_TEXT: ClassVar[str] = ""
    SIGNS: ClassVar[bool] = False
    """Does this screen show what can be signed?"""
    _was_shown = _has_resumed = False
    _said: tuple[str, Level | None] = ("", None)

    class HostChosen(Message):
        """The operator wants to see a host whole."""

        def __init__(self, side: SideName, host: str) -> None:
            super().__init__()
            self.side = side
            self.host = host

    def compose(self) -> ComposeResult:
        yield from self.heads()
        with Container(id="content"):
            yield from self.body()
        yield Filter(id="filter", placeholder="filter", compact=True, classes="-gone")
        yield Line("", id="notice")
        yield FootBar(id="foot")

    def heads(self) -> Iterable[Widget]:
        """The lines that stand on top of every screen."""
        yield HeadLine()
        yield ReadinessLine()
        yield NextLine()

    def body(self) -> Iterable[Widget]:
        """The panels of this screen."""
        raise NotImplementedError

    # What is shown

    @property
    def is_whole(self) -> bool:
        """Are its parts there? Of a screen that is taken down they go first."""
        there = {type(part) for part in self.query("Panel, FootBar")}
        return {HeadLine, ReadinessLine, NextLine, FootBar} <= there

    @property
    def takes_keys(self) -> bool:
        """Has it been shown what there is, and has what the keys go to got the focus? Before that they would be lost."""
        return self._was_shown and self._has_resumed

    def on_screen_resume(self) -> None:
        self.call_next(setattr, self, "_has_resumed", True)  # behind Textual's own, which gives the focus

    def show(self, view: View) -> None:
        """Hand the moment to the panels; each draws only what differs."""
        self._was_shown = True
        self.query_one(HeadLine).observe = self.query_one(NextLine).observe = view.observe
        self.query_one(ReadinessLine).gone = None if view.gone_for is None else since_words(view.gone_for)
        for panel in self.query(Panel):
            panel.snapshot = view.snapshot
            panel.stale = None if isinstance(panel, HeadLine | ReadinessLine) else view.gone_for
        foot = self.query_one(FootBar)
        entries = foot_entries(view, width=self.app.size.width, in_list=self.table is not None, signs=self.SIGNS)
        if foot.entries != entries:
            foot.entries = entries

    def say(self, text: str, level: Level | None = None) -> None:
        """One line of notice above the foot; empty takes it away."""
        notice = self.query_one("#notice", Line)
        if (text, level) == self._said:
            return
        self._said = text, level
        notice.set_classes(f"-{level.value}" if level else "")
        notice.update(text)

    def value_to_copy(self, view: View) -> str:
        """What `y` copies here: the row under the cursor, else how rollback stands."""
        return (self.table.value() or "") if self.table is not None else ""

    def item_to_sign(self) -> tuple[str, bool]:
        """What `S` signs here, and whether it takes a signature back; no name where the cursor is on nothing of the kind."""
        return "", False

    # Lists

    @property
    def table(self) -> ListPanel[Any] | None:
        """The list of this screen: the focused one, else the first."""
        if isinstance(self.focused, ListPanel):
            return self.focused
        return next(iter(self.query(ListPanel)), None)

    def open_filter(self) -> bool:
        """Show the filter's line; False where there is no list."""
        if self.table is None:
            return False
        line = self.query_one("#filter", Input)
        line.remove_class("-gone")
        line.focus()
        return True

    def close_filter(self, clear: bool) -> bool:
        """Back to the list; True where there was a filter to close or clear."""
        line = self.query_one("#filter", Input)
        was_open = not line.has_class("-gone")
        if clear and was_open:
            line.value = ""
        if was_open and (clear or not line.value):
            line.add_class("-gone")
        if was_open and self.table is not None:
            self.table.focus()
        return was_open

    @on(ListPanel.Chosen)
    def _chosen(self, message: ListPanel.Chosen) -> None:
        entry = message.panel.current()
        if entry is None:
            return
        if isinstance(entry.thing, HostView):
            self.post_message(self.HostChosen(entry.thing.side, entry.thing.name))
        else:
            self.app.push_screen(DetailDialog(message.panel.TITLE, entry.key, detail_rows(entry.thing)))

    @on(Input.Changed, "#filter")
    def _filtered(self, event: Input.Changed) -> None:
        if self.table is not None:
            self.table.filter = event.value

    @on(Input.Submitted, "#filter")
    def _filter_kept(self) -> None:
        self.close_filter(clear=False)
