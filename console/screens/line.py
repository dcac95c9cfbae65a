"""A line or two of words: never markup, ASCII only where the terminal draws nothing else."""

from __future__ import annotations

from textual.visual import VisualType
from textual.widgets import Static

from themes.meaning import to_ascii


class Line(Static):
    """Text as it is. Strings from outside went through `plain` before."""

    def __init__(self, text: str = "", *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(text, id=id, classes=classes, markup=False)
        self._words = text
        self._ascii_only = False

    def on_mount(self) -> None:
        self._ascii_only = bool(getattr(self.app, "ascii_only", False))
        self.update(self._words)

    def update(self, content: VisualType = "", *, layout: bool = True) -> None:
        """New words; nothing is drawn where they are the same."""
        words = str(content)
        if self._ascii_only:
            words = "\n".join(to_ascii(line) for line in words.split("\n"))
        if words != self.content:
            super().update(words, layout=layout)
