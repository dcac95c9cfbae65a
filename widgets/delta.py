"""How far target is from legacy along the axis of two curves."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from rich.style import Style
from textual.strip import Strip

from backends.snapshot import ValidationView
from themes.palette import Palette
from widgets.figures import percent
from widgets.plot import AXIS, DOTS, Curve, finite
from widgets.row import Row

AT_EDGE = 0.96  # of the picture's height: what comes so near to its edge is drawn as what is beyond, so that a line along it is one line
JOINED = 8  # halves of a cell: what is further apart is not joined, since nobody knows what lies between


def deltas(legacy: Curve, target: Curve) -> list[tuple[float, float]]:
    """(target - legacy) / |legacy| at the target's places within legacy's range, legacy interpolated between its own."""
    old, new = sorted(finite(legacy)), finite(target)
    places = [x for x, _ in old]
    found: list[tuple[float, float]] = []
    for x, y in new:
        base = _at(old, places, x)
        if base:
            found.append((x, (y - base) / abs(base)))
    return found


def _at(curve: Sequence[tuple[float, float]], places: Sequence[float], x: float) -> float | None:
    if not places or x < places[0] or x > places[-1]:
        return None
    i = bisect_left(places, x)
    if places[i] == x:
        return curve[i][1]
    (x0, y0), (x1, y1) = curve[i - 1], curve[i]
    return y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def delta_strip(view: ValidationView, palette: Palette, width: int) -> Strip:
    """The delta along the axis of the curves: its height is its part of what is allowed; beyond that the sign of a breach."""
    found = deltas(view.legacy_curve, view.target_curve)
    across = span_of(view)
    row = Row(palette).add("delta", palette.muted, AXIS - 1, "right").gap()
    cells = width - AXIS
    if not found or not view.tolerance or cells < 4 or across is None:
        return row.add("-", palette.muted).strip(width)
    low, high = across
    columns: list[float | None] = [None] * cells
    for x, delta in found:
        at = min(cells - 1, int((x - low) / (high - low) * (cells - 1) + 0.5))
        before = columns[at]
        columns[at] = delta if before is None or abs(delta) > abs(before) else before
    for value in _joined(columns):
        row.add(*_delta_cell(value, view.tolerance, palette))
    return row.strip(width)


def _joined(columns: Sequence[float | None]) -> list[float | None]:
    """Small gaps between samples take the one before, so that a curve of few places is not a row of dots."""
    filled = list(columns)
    last = max((i for i, c in enumerate(columns) if c is not None), default=-1)
    for i in range(1, last + 1):
        if filled[i] is None:
            filled[i] = filled[i - 1]
    return filled


def _delta_cell(value: float | None, tolerance: float, palette: Palette) -> tuple[str, Style]:
    if value is None:
        return " ", palette.text
    part = abs(value) / tolerance
    if part > 1:
        return palette.glyphs.breach, palette.breach
    steps = palette.glyphs.rise
    return steps[min(len(steps) - 1, int(part * len(steps)))], palette.good


def span_of(view: ValidationView) -> tuple[float, float] | None:
    """The first and the last place of both curves; None where they have none or only one."""
    places = [x for x, _ in finite(view.legacy_curve)] + [x for x, _ in finite(view.target_curve)]
    return (min(places), max(places)) if places and max(places) > min(places) else None


def delta_band(
    found: Curve, across: tuple[float, float], tolerance: float, palette: Palette, width: int, height: int
) -> list[Strip]:
    """The deltas along the axis in so many lines (3 at least), with the band that is allowed between two dashed lines. What lies beyond
    the picture stands at its edge with the sign of a breach."""
    cells = width - AXIS
    if cells < 8 or height < 3 or not tolerance > 0 or across[1] <= across[0]:
        return []
    inside = [(x, d) for x, d in finite(found) if across[0] <= x <= across[1]]
    reach = tolerance * min(4.0, max(2.0, max((abs(d) for _, d in inside), default=0.0) / tolerance * 1.05))
    dots = height * 4 - 1
    grid = _columns(inside, across, cells)
    edges = [_line(bound, reach, dots) // 4 for bound in (tolerance, -tolerance)]
    labels = {edges[1]: _bound("-", tolerance), edges[0]: _bound("+", tolerance), height // 2: "0 %"}
    lines = []
    for y in range(height):
        row = Row(palette).add(labels.get(y, ""), palette.muted, AXIS - 2, "right").gap()
        row.add("|" if palette.glyphs.ascii else "│", palette.track)
        for column in grid:
            row.add(*_band_cell(column, y, reach, dots, tolerance, palette, is_edge=y in edges))
        lines.append(row.strip(width))
    return lines


def _bound(sign: str, tolerance: float) -> str:
    words = f"{sign}{percent(tolerance)}"
    return words if len(words) <= AXIS - 2 else words.replace(" ", "")


def _columns(found: Curve, across: tuple[float, float], cells: int) -> list[list[tuple[int, float]]]:
    """Of each cell the deltas in it, with the half of the cell that they stand in; neighbours are joined, and what stands alone
    is as wide as its cell."""
    out: list[list[tuple[int, float]]] = [[] for _ in range(cells)]
    before: tuple[int, float] | None = None
    for x, delta in found:
        half = min(cells * 2 - 1, int((x - across[0]) / (across[1] - across[0]) * (cells * 2 - 1) + 0.5))
        if before is None or half > before[0] + JOINED:
            out[half // 2].append((1 - half % 2, delta))
        else:
            for at in range(before[0] + 1, half):
                part = (at - before[0]) / (half - before[0])
                out[at // 2].append((at % 2, before[1] + (delta - before[1]) * part))
        out[half // 2].append((half % 2, delta))
        before = half, delta
    return out


def _line(delta: float, reach: float, dots: int) -> int:
    return round((reach - min(reach, max(-reach, delta))) / (2 * reach) * dots)


def _band_cell(
    column: Sequence[tuple[int, float]], y: int, reach: float, dots: int, tolerance: float, palette: Palette, *, is_edge: bool
) -> tuple[str, Style]:
    here = [(half, d, _line(d, reach, dots)) for half, d in column if _line(d, reach, dots) // 4 == y]
    if not here:
        ascii_only = palette.glyphs.ascii
        return ("-" if ascii_only else "╌", palette.muted) if is_edge else (" ", palette.text)
    if any(abs(d) > reach * AT_EDGE for _, d, _ in here):
        return palette.glyphs.breach, palette.breach
    is_beyond = any(abs(d) > tolerance * (1 + 1e-9) for _, d, _ in here)
    style = palette.breach if is_beyond else palette.good
    if palette.glyphs.ascii:
        return ("x" if is_beyond else "o"), style
    bits = 0
    for half, _, line in here:
        bits |= DOTS[line % 4][half]
    return chr(0x2800 + bits), style
