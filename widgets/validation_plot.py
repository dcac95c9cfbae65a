"""Every comparison in full: its points, both curves over each other, and the delta along the axis."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from rich.style import Style
from textual.strip import Strip

from backends.snapshot import Snapshot, ValidationView
from themes.meaning import level_of_verdict
from themes.palette import Palette
from widgets.figures import age, change, percent
from widgets.fitting import WEIGHT
from widgets.listing import ORDER_OF_PLAN, Entry, ListPanel
from widgets.plot import AXIS, Curve, finite, overlaid
from widgets.row import Row
from widgets.validation import other_line, points_line


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
    """The delta along the same axis as the curves: its height is its part of what is allowed, its sign colour and glyph."""
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
    for value in columns:
        row.add(*_delta_cell(value, view.tolerance, palette))
    return row.strip(width)


def _delta_cell(value: float | None, tolerance: float, palette: Palette) -> tuple[str, Style]:
    if value is None:
        return " ", palette.text
    part = abs(value) / tolerance
    if part > 1:
        return (palette.glyphs.breach, palette.breach)
    steps = palette.glyphs.rise
    return steps[min(len(steps) - 1, int(part * len(steps)))], palette.good


def view_lines(view: ValidationView, palette: Palette, width: int, height: int) -> list[Strip]:
    """Points, curves, delta and ages of one comparison in so many lines."""
    level = level_of_verdict(view.verdict)
    verdict = Row(palette).add(f"{palette.glyphs.of(level)} {view.verdict.value}", palette.of(level))
    if view.reason:
        verdict.gap(2).add(view.reason, palette.text)
    if view.tolerance is not None:
        verdict.gap(2).add(f"{percent(view.tolerance)} allowed", palette.muted)
    if view.delta is not None:
        verdict.gap(2).add(f"now {change(view.delta)}", palette.text)
    ages = Row(palette).add("legacy", palette.legacy).add(f" {age(view.legacy_age)}", palette.muted).gap(2)
    ages.add("target", palette.target).add(f" {age(view.target_age)}", palette.muted)
    lines = [verdict.right(ages, width).strip(width)]
    if view.points:
        lines.append(points_line(view, palette, width))
    room = height - len(lines) - 1
    plot = overlaid(view.legacy_curve, view.target_curve, palette, width, room) if room >= 4 else []
    if plot:
        lines.extend([*plot, delta_strip(view, palette, width)])
    elif room > 1:
        lines.append(Row(palette).add("no curve yet", palette.muted).strip(width))
    return lines[:height]


class ValidationPlot(ListPanel[ValidationView]):
    """Comparisons, the curves of the one under the cursor below."""

    TITLE = "validation"
    NONE = "nothing is compared in this plan"
    SORTS = (ORDER_OF_PLAN, "name", "verdict")

    def entries(self, snapshot: Snapshot) -> list[Entry[ValidationView]]:
        return [
            Entry(
                key=f"{v.workload}/{v.measure}",
                thing=v,
                search=f"{v.measure} {v.workload} {v.kind} {v.verdict}",
                value=f"{v.measure} {change(v.delta)}",
                sorts={"name": v.measure, "verdict": -WEIGHT[level_of_verdict(v.verdict)]},
            )
            for v in snapshot.validation
        ]

    def entry_row(self, entry: Entry[ValidationView], palette: Palette, width: int) -> Row:
        snapshot = self.snapshot
        names = max((len(v.measure) for v in snapshot.validation), default=0) if snapshot else 0
        row = Row(palette)
        for segment in other_line(entry.thing, palette, width, min(names, 24)):
            row.add(segment.text, segment.style)
        return row

    def detail_height(self, height: int) -> int:
        return max(height - 5, height // 2)

    def detail(self, entry: Entry[ValidationView], palette: Palette, width: int, height: int) -> list[Strip]:
        return view_lines(entry.thing, palette, width, height)
