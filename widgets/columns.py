"""Columns of the full-size lists: fixed widths, the least important left out where there is no room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.style import Style
from textual.strip import Strip

from themes.palette import Palette
from widgets.row import Align, Row


@dataclass(frozen=True, slots=True)
class Column:
    """One column. `rank` 0 is never left out; the highest goes first. `grow` columns share what is left."""

    title: str
    width: int
    align: Align = "left"
    rank: int = 0
    grow: int = 0


@dataclass(frozen=True, slots=True)
class Cell:
    """What stands in a column: text in a style, or pieces of their own."""

    text: str = ""
    style: Style | None = None
    row: Row | None = None


def laid_out(columns: Sequence[Column], width: int) -> dict[str, int]:
    """The widths of the columns that are shown, by title; two blanks lie between."""
    kept = list(columns)
    while len(kept) > 1 and _used(kept) > width:
        worst = max(kept, key=lambda c: (c.rank, kept.index(c)))
        if worst.rank == 0:
            break
        kept.remove(worst)
    spare = max(0, width - _used(kept))
    share = sum(c.grow for c in kept)
    return {c.title: c.width + (spare * c.grow // share if share else 0) for c in kept}


def _used(columns: Sequence[Column]) -> int:
    return sum(c.width for c in columns) + 2 * (len(columns) - 1)


def head_row(columns: Sequence[Column], palette: Palette, width: int, indent: int = 2) -> Strip:
    """The names of the columns."""
    return Row(palette).gap(indent).join(titles_row(columns, palette, width - indent)).strip(width)


def titles_row(columns: Sequence[Column], palette: Palette, width: int) -> Row:
    """The names of those columns that are shown."""
    widths = laid_out(columns, width)
    cells = {title: Cell(title, palette.muted) for title in widths}
    return cells_row(columns, cells, palette, width)


def cells_row(columns: Sequence[Column], cells: dict[str, Cell], palette: Palette, width: int) -> Row:
    """One line of cells."""
    widths = laid_out(columns, width)
    row = Row(palette)
    for i, column in enumerate(c for c in columns if c.title in widths):
        row.gap(2 if i else 0)
        end = row.used + widths[column.title]
        cell = cells.get(column.title, Cell())
        if cell.row is not None and cell.row.used <= widths[column.title]:
            row.join(cell.row).to(end)
        else:
            text = cell.row.text() if cell.row is not None else cell.text
            row.add(text, cell.style, widths[column.title], column.align)
    return row


def fact(palette: Palette, label: str, text: str, style: Style | None = None, width: int = 10) -> Row:
    """`source    gs://corp-corpus/v3/`."""
    return Row(palette).add(label, palette.muted, width).gap().add(text, style or palette.text)


def beside(left: Sequence[Row], right: Sequence[Row], palette: Palette, width: int, *, at: int) -> list[Row]:
    """Two blocks of lines beside each other, a rule between: the left one has `at` cells."""
    rule = "|" if palette.glyphs.ascii else "│"
    out = []
    for i in range(max(len(left), len(right))):
        row = Row(palette).join(left[i].cut(at) if i < len(left) else Row(palette)).to(at)
        row.add(f" {rule} ", palette.track)
        out.append(row.join(right[i].cut(max(0, width - at - 3)) if i < len(right) else Row(palette)))
    return out
