"""What is under the cursor, in full: every field that a list cuts."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll

from backends.escape import plain
from console.screens.line import Line
from console.screens.modal import Dialog


class DetailDialog(Dialog[None]):
    """A title and lines of label and text."""

    GUARDED = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,q", "back", "back", show=False),
        Binding("y", "copy", "copy", show=False),
        Binding("R", "app.rollback", "ROLLBACK", show=False),
    ]

    def __init__(self, kind: str, key: str, rows: tuple[tuple[str, str], ...]) -> None:
        super().__init__()
        self._heading = f"{kind}: {plain(key, 120)}"
        self._rows = rows

    def compose(self) -> ComposeResult:
        with VerticalScroll(classes="dialog"):
            yield Line(self._heading, id="dialog-title")
            width = max((len(label) for label, _ in self._rows), default=0)
            lines = [f"{label:<{width}}  {plain(text, 1000)}" for label, text in self._rows]
            yield Line("\n".join(lines), id="detail-rows")
            yield Line("y copies    Esc back", id="dialog-hint")

    def action_copy(self) -> None:
        """All of it, as text."""
        self.app.copy_to_clipboard("\n".join(f"{label}: {text}" for label, text in self._rows))
        self.query_one("#dialog-hint", Line).update("copied    Esc back")
