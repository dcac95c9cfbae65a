"""Every comparison in full: its points, both curves over each other, and the delta along the axis in the band that is allowed; checkpoints."""

from __future__ import annotations

from datetime import datetime

from textual.strip import Strip

from backends.snapshot import CheckpointView, Snapshot, ValidationView
from themes.meaning import level_of_verdict
from themes.palette import Palette
from widgets.checkpoint_list import checkpoint_lines, checkpoint_row
from widgets.delta import delta_band, delta_strip, deltas, span_of
from widgets.figures import age, change, percent
from widgets.fitting import WEIGHT
from widgets.listing import ORDER_OF_PLAN, Entry, ListPanel
from widgets.plot import overlaid
from widgets.points_table import points_table
from widgets.row import Row
from widgets.validation import other_line, points_line

PLOT = 5  # lines of a plot, at least
BAND_FROM = 13  # lines below the table from which the band is drawn, not only a strip
Compared = ValidationView | CheckpointView


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
    room = height - len(lines)
    has_curves = bool(view.legacy_curve or view.target_curve)
    table = points_table(view, palette, width, room - PLOT - 1 if has_curves else room)
    lines.extend(table or ([points_line(view, palette, width)] if view.points else []))
    room = height - len(lines)
    band = _band(view, palette, width, room)
    plot = overlaid(view.legacy_curve, view.target_curve, palette, width, room - len(band), view.by) if room >= PLOT else []
    if plot:
        lines.extend([*plot, *band])
    elif room > 1:
        lines.append(Row(palette).add("no curve yet", palette.muted).strip(width))
    return lines[:height]


def _band(view: ValidationView, palette: Palette, width: int, room: int) -> list[Strip]:
    """The deltas below the curves: a band of lines where there is room, else one line."""
    across, found = span_of(view), deltas(view.legacy_curve, view.target_curve)
    if room >= BAND_FROM and across is not None and found and view.tolerance:
        height = min(9, max(3, room // 4))
        return delta_band(found, across, view.tolerance, palette, width, height - 1 + height % 2)
    return [delta_strip(view, palette, width)]


class ValidationPlot(ListPanel[Compared]):
    """Comparisons, below the list the curves of the one under the cursor, or the tensors that differ."""

    TITLE = "validation"
    NONE = "nothing is compared in this plan"
    SORTS = (ORDER_OF_PLAN, "name", "verdict")

    def entries(self, snapshot: Snapshot) -> list[Entry[Compared]]:
        return [*map(_measure, snapshot.validation), *map(_checkpoint, snapshot.checkpoints)]

    def entry_row(self, entry: Entry[Compared], palette: Palette, width: int) -> Row:
        snapshot = self.snapshot
        measures = [len(v.measure) for v in snapshot.validation] if snapshot else []
        names = min(24, max([*measures, len("checkpoint") if snapshot and snapshot.checkpoints else 0]))
        if isinstance(entry.thing, CheckpointView):
            return checkpoint_row(entry.thing, palette, names)
        row = Row(palette)
        for segment in other_line(entry.thing, palette, width, names):
            row.add(segment.text, segment.style)
        return row

    def detail_height(self, height: int) -> int:
        return max(height - 5, height // 2)

    def detail(self, entry: Entry[Compared], palette: Palette, width: int, height: int) -> list[Strip]:
        if isinstance(entry.thing, CheckpointView):
            return checkpoint_lines(entry.thing, palette, width, height, self._now())
        return view_lines(entry.thing, palette, width, height)

    def _now(self) -> datetime:
        assert self.snapshot is not None
        return self.snapshot.at


def _measure(v: ValidationView) -> Entry[Compared]:
    return Entry(
        key=f"{v.workload}/{v.measure}",
        thing=v,
        search=f"{v.measure} {v.workload} {v.kind} {v.verdict}",
        value=f"{v.measure} {change(v.delta)}",
        sorts={"name": v.measure, "verdict": -WEIGHT[level_of_verdict(v.verdict)]},
    )


def _checkpoint(v: CheckpointView) -> Entry[Compared]:
    return Entry(
        key=f"{v.workload}/checkpoint of {v.target}",
        thing=v,
        search=f"checkpoint {v.workload} {v.legacy} {v.target} {v.verdict}",
        value=f"{v.legacy} {v.target}: {v.verdict.value}, {v.reason}",
        sorts={"name": "checkpoint", "verdict": -WEIGHT[level_of_verdict(v.verdict)]},
    )
