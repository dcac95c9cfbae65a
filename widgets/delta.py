"""How far target is from legacy along the axis of two curves."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from rich.style import Style
from textual.strip import Strip

from backends.snapshot import ValidationView
from themes.palette import Palette
from widgets.plot import AXIS, Curve, finite
from widgets.row import Row


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
    places = [x for x, _ in finite(view.legacy_curve)] + [x for x, _ in finite(view.target_curve)]
    row = Row(palette).add("delta", palette.muted, AXIS - 1, "right").gap()
    cells = width - AXIS
    if not found or not view.tolerance or cells < 4 or max(places) <= min(places):
        return row.add("-", palette.muted).strip(width)
    low, high = min(places), max(places)
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
