"""Every comparison in full: its points, both curves over each other, and the delta along the axis."""

from __future__ import annotations

from textual.strip import Strip

from backends.snapshot import Snapshot, ValidationView
from themes.meaning import level_of_verdict
from themes.palette import Palette
from widgets.delta import delta_strip
from widgets.figures import age, change, percent
from widgets.fitting import WEIGHT
from widgets.listing import ORDER_OF_PLAN, Entry, ListPanel
from widgets.plot import overlaid
from widgets.row import Row
from widgets.validation import other_line, points_line


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
    plot = overlaid(view.legacy_curve, view.target_curve, palette, width, room, view.by) if room >= 4 else []
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
