"""The keys of this screen, and what it shows."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from console.keymap import ACTS, LOOKS, MOVES
from console.screens.line import Line
from console.screens.modal import Dialog

LIST_KEYS = ("/", "s", "y")


def help_rows(in_list: bool) -> list[tuple[str, str]]:
    """Key and meaning, acts first; what only lists have is left out elsewhere."""
    rows = [(key.shown, key.help) for key in ACTS]
    rows += [("^R", "the same as R, also while you type in a line")]
    rows += [(key.shown, key.help) for key in LOOKS if in_list or key.shown not in LIST_KEYS[:2]]
    return rows + list(MOVES)


class HelpDialog(Dialog[None]):
    """Any key that means something on the screen below still means it after `Esc`."""

    GUARDED = False
    DEFAULT_CSS = """
    HelpDialog > .dialog { height: auto; max-height: 100%; }
    HelpDialog Line { height: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("question_mark,q,enter", "back", "back", show=False),
        Binding("R", "app.rollback", "ROLLBACK", show=False),
    ]

    def __init__(self, text: str, *, in_list: bool) -> None:
        super().__init__()
        self._text = text
        self._in_list = in_list

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog"):
            yield Line("keys: lower-case letters look, capital letters act", id="dialog-title")
            if self._text:
                yield Line(self._text, classes="quiet")
            rows = help_rows(self._in_list)
            yield Line("\n".join(f"{key:>11}  {text}" for key, text in rows), id="help-keys")
            yield Line("Esc back", id="dialog-hint")
