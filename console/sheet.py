"""A part of a screen that is nothing but lines, worked out when they are drawn."""

from __future__ import annotations

from collections.abc import Callable

from textual.geometry import Size
from textual.strip import Strip
from textual.widget import Widget

from themes.palette import Palette, palette_in


class Sheet(Widget, can_focus=True):
    """Lines that the app works out; only those that fit are drawn."""

    ALLOW_SELECT = False

    def __init__(self, lines: Callable[[Palette, int, int], list[Strip]], *, id: str) -> None:
        super().__init__(id=id)
        self._lines = lines
        self._drawn: list[Strip] = []
        self._for: Size | None = None

    def redraw(self) -> None:
        self._for = None
        self.refresh()

    def render_line(self, y: int) -> Strip:
        base = self.visual_style.rich_style
        if self._for != self.size:
            self._drawn = self._lines(palette_in(self.app), self.size.width, self.size.height)
            self._for = self.size
        if y >= len(self._drawn):
            return Strip.blank(self.size.width, base)
        return self._drawn[y].apply_style(base).adjust_cell_length(self.size.width, base)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._for = None
