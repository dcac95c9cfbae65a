"""The keys of this screen, and what it shows."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll

from console.keymap import ACTS, LOOKS, MOVES
from console.screens.line import Line
from console.screens.modal import Dialog

LIST_KEYS = ("/", "s", "y")
Rows = Sequence[tuple[str, str]]
INDENT = 2
FRAME = 4  # lines of the border, and of the margin around the keys


def help_groups(in_list: bool) -> list[tuple[str, Rows]]:
    """Key and meaning under headings; what only lists have is left out elsewhere."""
    acts = [(key.shown, key.help) for key in ACTS]
    acts.insert(4, ("^R", "the same as R, also while you type in a line"))
    looks = [(key.shown, key.help) for key in LOOKS if not key.shown.isdigit() and (in_list or key.shown not in LIST_KEYS[:2])]
    screens = [(key.shown, f"{key.label}: {key.help}") for key in LOOKS if key.shown.isdigit()]
    return [("acts", acts), ("screens", screens), ("here", looks), ("hands", MOVES)]


def help_text(in_list: bool, width: int) -> str:
    """All of it in so many cells: what is longer goes on under its own words."""
    groups = help_groups(in_list)
    lines: list[str] = []
    for heading, rows in groups:
        keys = max(len(key) for key, _ in rows)
        lines += ["", heading] if lines else [heading]
        for key, text in rows:
            first, after = f"{'':{INDENT}}{key:<{keys}}  ", " " * (INDENT + keys + 2)
            lines += textwrap.wrap(text, max(20, width), initial_indent=first, subsequent_indent=after)
    return "\n".join(lines)


class HelpDialog(Dialog[None]):
    """Any key that means something on the screen below still means it after `Esc`."""

    GUARDED = False
    DEFAULT_CSS = """
    HelpDialog > .dialog { height: auto; max-height: 100%; }
    HelpDialog Line { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,q,enter", "back", "back", show=False),
        Binding("up,k", "scroll_line(-1)", "up", show=False),
        Binding("down,j", "scroll_line(1)", "down", show=False),
        Binding("R", "app.rollback", "ROLLBACK", show=False),
    ]

    def __init__(self, text: str, *, in_list: bool) -> None:
        super().__init__()
        self._text = text
        self._in_list = in_list

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Line("keys: lower-case letters look, capital letters act", id="dialog-title")
            if self._text:
                yield Line(self._text, classes="quiet")
            with VerticalScroll(id="dialog-scroll", can_focus=False):
                yield Line("", id="help-keys")
            yield Line("Esc back", id="dialog-hint")

    def on_resize(self, event: events.Resize) -> None:
        """The words are broken for the width that there is, and what they leave of the height is the keys'."""
        self.call_after_refresh(self._lay_out)

    def _lay_out(self) -> None:
        scroll = self.query_one("#dialog-scroll", VerticalScroll)
        beside = sum(line.size.height for line in self.query(".dialog > Line"))
        scroll.styles.max_height = max(3, self.size.height - beside - FRAME)
        self.query_one("#help-keys", Line).update(help_text(self._in_list, scroll.size.width - 2))

    def action_scroll_line(self, way: int) -> None:
        """One line of the keys."""
        self.query_one("#dialog-scroll", VerticalScroll).scroll_relative(y=way, animate=False)

    def hint(self, more: bool) -> str:
        """How to see the rest, and how to go back."""
        return "PgDn more · Esc back" if more else "Esc back"
