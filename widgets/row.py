"""One line of a panel while it is being built: text in cells, never wider than it may be, never a control character."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from backends.escape import plain
from themes.meaning import to_ascii
from themes.palette import Palette

Align = Literal["left", "right"]


@lru_cache(maxsize=4096)
def clean(text: str, ascii_only: bool = False) -> str:
    """`text` as it may be drawn: control characters shown as escapes, and in ASCII where nothing else can be drawn."""
    shown = plain(text)
    return to_ascii(shown) if ascii_only else shown


@lru_cache(maxsize=4096)
def fit(text: str, width: int, align: Align = "left", ellipsis: str = "…") -> str:
    """Clean `text` in exactly `width` cells: padded, or cut with an ellipsis."""
    if width <= 0:
        return ""
    length = cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + ellipsis
    blanks = " " * (width - length)
    return blanks + text if align == "right" else text + blanks


@lru_cache(maxsize=8192)
def _shaped(text: str, ascii_only: bool, width: int | None, align: Align, ellipsis: str) -> tuple[str, int]:
    """What is drawn of `text`, and in how many cells: asked of thousands of pieces a second."""
    shown = clean(text, ascii_only)
    if width is not None:
        shown = fit(shown, width, align, ellipsis)
    return shown, cell_len(shown)


class Row:
    """Collects pieces from left to right. Every piece is cleaned, so that strings from outside can be added as they are."""

    __slots__ = ("_pieces", "palette", "used")

    def __init__(self, palette: Palette) -> None:
        self.palette = palette
        self.used = 0
        self._pieces: list[tuple[str, Style, int]] = []  # text, style, cells

    def add(self, text: str, style: Style | None = None, width: int | None = None, align: Align = "left") -> Row:
        """`text` in this style; with `width` in exactly so many cells."""
        glyphs = self.palette.glyphs
        shown, cells = _shaped(text, glyphs.ascii, width, align, glyphs.ellipsis)
        if shown:
            self._pieces.append((shown, style or self.palette.text, cells))
            self.used += cells
        return self

    def gap(self, cells: int = 1) -> Row:
        """Blanks."""
        if cells > 0:
            self._pieces.append((" " * cells, self.palette.text, cells))
            self.used += cells
        return self

    def to(self, column: int) -> Row:
        """Blanks up to a column; nothing where the row is already there."""
        return self.gap(column - self.used)

    def room(self, width: int) -> int:
        """The cells that are left of `width`."""
        return max(0, width - self.used)

    def right(self, other: Row, width: int) -> Row:
        """`other` flush right of `width`, one blank before it at least; left out where there is no room."""
        if other.used and self.used + 1 + other.used <= width:
            self.to(width - other.used)
            self.join(other)
        return self

    def also(self, other: Row, width: int, gap: int = 2) -> Row:
        """`other` after some blanks, but only where all of it fits."""
        if other.used and self.used + gap + other.used <= width:
            self.gap(gap).join(other)
        return self

    def join(self, other: Row) -> Row:
        """The pieces of `other` after these."""
        self._pieces.extend(other._pieces)
        self.used += other.used
        return self

    def cut(self, width: int) -> Row:
        """The same in `width` cells at most."""
        if self.used <= width:
            return self
        out = Row(self.palette)
        for segment in self.strip(width):
            out.add(segment.text, segment.style)
        return out

    def text(self) -> str:
        """What was added so far, without styles."""
        return "".join(text for text, _, _ in self._pieces)

    def strip(self, width: int, fill: Style | None = None) -> Strip:
        """The finished line, `width` cells at most; with `fill` exactly so many, the rest in that style."""
        segments: list[Segment] = []
        left = max(0, width)
        run, look = "", None  # pieces of one style are one segment: all that draws them works segment by segment
        for text, style, cells in self._pieces:
            if cells > left:
                text = fit(text, left, ellipsis=self.palette.glyphs.ellipsis)
                cells = left
            left -= cells
            if style is look:
                run += text
            else:
                if run:
                    segments.append(Segment(run, look))
                run, look = text, style
            if not left and cells:
                break
        if run:
            segments.append(Segment(run, look))
        if fill is not None and left:
            segments.append(Segment(" " * left, fill))
            left = 0
        return Strip(segments, max(0, width) - left)


def restyle(strip: Strip, style: Style) -> Strip:
    """The same text, all in one style: how what has grown old is drawn."""
    return Strip([Segment(segment.text, style) for segment in strip], strip.cell_length)


def wrapped(text: str, width: int, height: int, palette: Palette, style: Style | None = None, indent: int = 0) -> list[Strip]:
    """A sentence over several lines, broken at blanks; what does not fit ends in an ellipsis."""
    whole, width = width, max(1, width - indent)
    lines: list[str] = []
    current = ""
    for word in clean(text, palette.glyphs.ascii).split():
        if current and cell_len(current) + 1 + cell_len(word) > width:
            lines.append(current)
            current = word
        else:
            current = f"{current} {word}" if current else word
    if current:
        lines.append(current)
    if len(lines) > height > 0:
        lines = [*lines[: height - 1], " ".join(lines[height - 1 :])]
    return [Row(palette).gap(indent).add(line, style).strip(whole) for line in lines[: max(0, height)]]
