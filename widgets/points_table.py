"""The places at which both sides are held against each other: those of the gates, and beside them what is notable on the curves."""

from __future__ import annotations

from textual.strip import Strip

from backends.snapshot import Level, PointView, ValidationView
from themes.meaning import level_of_verdict
from themes.palette import Palette
from widgets.columns import Cell, Column, cells_row, head_row
from widgets.figures import change, number, place
from widgets.row import Row

LEAST = 3  # lines: the names of the columns and two places


def points_table(view: ValidationView, palette: Palette, width: int, height: int) -> list[Strip]:
    """In so many lines, in order of place; where there is too little room the gates' own points stay."""
    if height < LEAST or not (view.points or view.notable):
        return []
    columns = (
        Column(view.by, 9, "right"),
        Column("legacy", 9, "right"),
        Column("target", 9, "right"),
        Column("delta", 9, "right"),
        Column("verdict", 14),
        Column("", 16, rank=1, grow=1),
    )
    kept = [(True, p) for p in view.points] + [(False, p) for p in view.notable]
    left = len(view.points) - (height - 1)  # of what is notable as much as there is room for
    kept = kept[: height - 2 if left > 0 else height - 1]
    rows = [_row(point, columns, palette, width, is_asked=asked) for asked, point in sorted(kept, key=lambda k: k[1].at)]
    if left > 0:
        rows.append(Row(palette).add(f"{left + 1} more places", palette.muted).strip(width))
    return [head_row(columns, palette, width, indent=0), *rows]


def _row(point: PointView, columns: tuple[Column, ...], palette: Palette, width: int, *, is_asked: bool) -> Strip:
    level = Level.HELD if point.too_good else Level.WAITING if point.verdict is None else level_of_verdict(point.verdict)
    style = palette.of(level)
    words = "too good" if point.too_good else "waiting" if point.verdict is None else point.verdict.value
    cells = {
        columns[0].title: Cell(place(point.at), palette.strong if is_asked else palette.text),
        "legacy": Cell(number(point.legacy, 4), palette.legacy),
        "target": Cell(number(point.target, 4), palette.target),
        "delta": Cell(change(point.delta), style),
        "verdict": Cell(f"{palette.glyphs.of(level)} {words}", style),
        "": Cell(point.note, palette.muted),
    }
    return cells_row(columns, cells, palette, width).strip(width)
