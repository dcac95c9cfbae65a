"""Whether the target computes the same: deltas at the agreed points, and both curves where there is room."""

from __future__ import annotations

from collections.abc import Sequence

from textual.strip import Strip

from backends.snapshot import Level, PointView, Snapshot, ValidationView
from backends.verdict import Verdict
from themes.meaning import level_of_verdict
from themes.palette import Palette
from widgets.delta import delta_strip
from widgets.figures import change, number, percent, place
from widgets.fitting import WEIGHT
from widgets.panel import Panel, nothing_yet
from widgets.plot import overlaid
from widgets.row import Row

PLOT_FROM = 5  # lines of height from which curves are drawn
VALUE, LIMIT = 8, 10  # cells of a figure and of what is allowed, the same in every line
DELTA_FROM = 10  # and from which the delta along them is


def first_to_show(views: Sequence[ValidationView]) -> ValidationView | None:
    """The one that breaches, else the loss, else the first."""
    for wanted in (
        lambda v: v.verdict is Verdict.BREACH,
        lambda v: v.kind == "loss",
        lambda v: True,
    ):
        for view in views:
            if wanted(view):
                return view
    return None


def heading(view: ValidationView | None) -> str:
    """`validation: loss of pretrain, 0.5 % allowed`."""
    if view is None:
        return "validation"
    words = f"validation: {view.measure}" + (f" of {view.workload}" if view.workload else "")
    return words if view.tolerance is None else f"{words}, {percent(view.tolerance)} allowed"


def validation_rows(views: Sequence[ValidationView], palette: Palette, width: int, height: int) -> list[Strip]:
    """The points of the first measure, then the others in a line each; from some height on the curves between."""
    first = first_to_show(views)
    if first is None:
        return nothing_yet("nothing is compared in this plan", palette, width, height)
    lines = [points_line(first, palette, width)]
    others = [v for v in views if v is not first]
    names = max((len(v.measure) for v in others), default=0)
    rest = [other_line(v, palette, width, min(names, 20)) for v in others]
    if height >= PLOT_FROM and (first.legacy_curve or first.target_curve):
        rest = rest[: max(0, height - PLOT_FROM)]
        delta = [delta_strip(first, palette, width)] if height >= DELTA_FROM else []
        room = height - len(lines) - len(rest) - len(delta)
        lines.extend([*overlaid(first.legacy_curve, first.target_curve, palette, width, room, first.by), *delta])
    return [*lines, *rest][:height]


def points_line(view: ValidationView, palette: Palette, width: int) -> Strip:
    """`epoch 10  2.104 → 2.106  +0.10 % ✓      50 waiting (at 39)    100 waiting`."""
    if not view.points:
        return other_line(view, palette, width, len(view.measure))
    row = Row(palette)
    column = max(12, width // len(view.points))
    late = next((i for i, p in enumerate(view.points) if p.verdict is None), -1)
    cells = [_point(p, view, palette, first=i == 0, tells=i == late) for i, p in enumerate(view.points)]
    for i, (wide, slim) in enumerate(cells):
        if i:
            row.to(i * column) if row.used < i * column else row.gap(2)
        rest = sum(c[1].used + 2 for c in cells[i + 1 :])
        row.join(wide if row.used + wide.used + rest <= width else slim)
    return row.strip(width)


def _point(point: PointView, view: ValidationView, palette: Palette, *, first: bool, tells: bool) -> tuple[Row, Row]:
    """A point in full and in few cells; the first that waits tells how far target is."""
    at = f"{view.by} {place(point.at)} " if first else f"{place(point.at)} "
    wide, slim = Row(palette).add(at, palette.muted), Row(palette).add(at, palette.muted)
    if point.verdict is None:
        now = f" (at {place(point.target_now)})" if tells and point.target_now is not None else ""
        wide.add(f"waiting{now}", palette.muted)
        slim.add("waiting", palette.muted)
        return wide, slim
    level = Level.HELD if point.too_good else level_of_verdict(point.verdict)
    verdict = f"{change(point.delta)} {palette.glyphs.of(level)}"
    wide.gap().add(number(point.legacy, 4), palette.legacy).add(f" {palette.glyphs.arrow} ", palette.muted)
    wide.add(number(point.target, 4), palette.target).gap(2)
    for row in (wide, slim):
        row.add(verdict, palette.of(level))
        if point.too_good:
            row.add(" too good", palette.held)
    return wide, slim


def other_line(view: ValidationView, palette: Palette, width: int, names: int) -> Strip:
    """`✓ chat-latency      41.0 → 42.3       +3.1 %  of 5 %`: figures in their own unit, which nobody tells us."""
    level = level_of_verdict(view.verdict)
    row = Row(palette).add(f"{palette.glyphs.of(level)} ", palette.of(level)).add(view.measure, palette.text, names)
    if view.delta is not None or view.legacy_value is not None:
        row.gap().add(_value(view.legacy_value, view), palette.legacy, VALUE, "right").add(
            f" {palette.glyphs.arrow} ", palette.muted
        )
        row.add(_value(view.target_value, view), palette.target, VALUE).gap()
        row.add(change(view.delta), palette.of(level), VALUE, "right")
        if view.tolerance is not None:
            row.add(f"  of {percent(view.tolerance)}", palette.muted, LIMIT)
        if view.reason and level is not Level.GOOD and row.room(width) > len(view.reason):
            row.gap(2).add(view.reason, palette.muted)
    else:
        row.gap(2).add(view.reason or "no data yet", palette.muted)
    return row.strip(width)


def _value(value: float | None, view: ValidationView) -> str:
    return percent(value) if view.kind == "error_rate" else number(value)


class ValidationPanel(Panel):
    """The comparison that matters most now."""

    OPENS = "validation"
    TITLE = "validation"

    def draw(self, snapshot: Snapshot, palette: Palette, width: int, height: int) -> list[Strip]:
        return validation_rows(snapshot.validation, palette, width, height)

    def heading(self, snapshot: Snapshot | None) -> str:
        return heading(first_to_show(snapshot.validation) if snapshot else None)

    def footing(self, snapshot: Snapshot) -> str:
        first = first_to_show(snapshot.validation)
        hidden = [level_of_verdict(v.verdict) for v in snapshot.validation if v is not first]
        if self.size.height >= 2 or not hidden:
            return ""
        return f"{len(hidden)} more {self.palette.glyphs.of(max(hidden, key=WEIGHT.__getitem__))}"
