"""Two curves over each other in braille dots, four lines a row and two a cell; in ASCII one sign a cell."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.style import Style
from textual.strip import Strip

from themes.palette import Palette
from widgets.figures import clock, number, place
from widgets.row import Row

Curve = Sequence[tuple[float, float]]
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
AXIS = 8
LARGEST = 1e150  # no difference of two such numbers overflows; NaN is not below it
STEEP = 6  # times the distance of median and lowest: what lies higher above the median is not drawn


def finite(curve: Curve) -> list[tuple[float, float]]:
    """The points that can be drawn."""
    return [(x, y) for x, y in curve if abs(x) < LARGEST and abs(y) < LARGEST]


def overlaid(legacy: Curve, target: Curve, palette: Palette, width: int, height: int, by: str = "") -> list[Strip]:
    """Both curves, their scale on the left, the places on the axis below; target is drawn over legacy."""
    curves = [(finite(legacy), palette.legacy, "."), (finite(target), palette.target, "o")]
    points = [p for curve, _, _ in curves for p in curve]
    if not points or width < AXIS + 8 or height < 3:
        return []
    x0, x1 = min(p[0] for p in points), max(p[0] for p in points)
    y0, y1 = _range([p[1] for p in points])
    rows, cells = height - 1, width - AXIS
    grid: list[list[tuple[str, Style] | None]] = [[None] * cells for _ in range(rows)]
    for curve, style, sign in curves:
        dots = _dots(curve, (x0, x1, y0, y1), cells, rows, sign == ".")
        for (column, row), bits in dots.items():
            grid[row][column] = (sign if palette.glyphs.ascii else chr(0x2800 + bits), style)
    cut = "↑" if max(p[1] for p in points) > y1 else ""
    labels = [_label(i, rows, y0, y1) + (cut if i == 0 else "") for i in range(rows)]
    lines = [_plot_line(grid[i], palette, labels[i]).strip(width) for i in range(rows)]
    return [*lines, _axis(palette, (_at(x0, by), _at(x1, by)), width)]


def _range(values: Sequence[float]) -> tuple[float, float]:
    """The scale. A steep beginning is cut off, so that it does not flatten the rest, where the difference is to be seen."""
    ordered = sorted(values)
    low, middle, high = ordered[0], ordered[len(ordered) // 2], ordered[-1]
    if high <= low:
        return low - abs(low) * 0.01 - 1e-9, high + abs(high) * 0.01 + 1e-9
    return low, min(high, middle + STEEP * (middle - low)) if middle > low else high


def _dots(
    curve: Curve, box: tuple[float, float, float, float], cells: int, rows: int, dashed: bool
) -> dict[tuple[int, int], int]:
    """Which dots of which cells are set; neighbours in x are joined. With `dashed` every third dot is left out."""
    x0, x1, y0, y1 = box
    wide, high = cells * 2 - 1, rows * 4 - 1
    dots: dict[tuple[int, int], int] = {}
    before: tuple[int, int] | None = None
    for x, y in curve:
        here = (
            round((x - x0) / (x1 - x0) * wide) if x1 > x0 else 0,
            high - round(_inside((y - y0) / (y1 - y0)) * high),
        )
        for column, line in _between(before or here, here):
            if not 0 <= line <= high or (dashed and column % 6 > 3):
                continue
            key = (column // 2, line // 4)
            dots[key] = dots.get(key, 0) | DOTS[line % 4][column % 2]
        before = here
    return dots


def _inside(part: float) -> float:
    """Far above or below the plot is as good as just outside it: a line to there stays short."""
    return min(2.0, max(-1.0, part))


def _between(start: tuple[int, int], end: tuple[int, int]) -> list[tuple[int, int]]:
    steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    return [
        (round(start[0] + (end[0] - start[0]) * i / steps), round(start[1] + (end[1] - start[1]) * i / steps))
        for i in range(steps + 1)
    ]


def _label(i: int, rows: int, y0: float, y1: float) -> str:
    if i == 0:
        return number(y1)
    if i == rows - 1:
        return number(y0)
    return number((y0 + y1) / 2) if rows >= 5 and i == (rows - 1) // 2 else ""


def _plot_line(cells: Sequence[tuple[str, Style] | None], palette: Palette, label: str) -> Row:
    row = Row(palette).add(label, palette.muted, AXIS - 2, "right").gap()
    row.add("|" if palette.glyphs.ascii else "┤" if label else "│", palette.track)
    run, style = "", palette.text
    for cell in cells:
        char, ink = cell or (" ", style)
        if ink is not style and run:
            row.add(run, style)
            run = ""
        run, style = run + char, ink
    return row.add(run, style)


def _at(x: float, by: str) -> str:
    """A place on the axis: an instant as a time of day."""
    if by == "time" and 1e9 < x < 1e11:
        return clock(datetime.fromtimestamp(x, UTC))
    return place(x)


def _axis(palette: Palette, ends: tuple[str, str], width: int) -> Strip:
    row = Row(palette).to(AXIS).add(ends[0], palette.muted)
    dashed, solid = ("..", "oo") if palette.glyphs.ascii else ("╌╌", "──")
    legend = Row(palette).add(f"{dashed} legacy", palette.legacy).gap(3).add(f"{solid} target", palette.target)
    row.to(AXIS + max(0, (width - AXIS - legend.used) // 2)).join(legend)
    return row.right(Row(palette).add(ends[1], palette.muted), width).strip(width)
