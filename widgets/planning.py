"""What is drawn before a window: findings to work down, cards side by side, an estimate with its calendar. Pure: lines from facts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from rich.style import Style
from textual.strip import Strip

from backends.catalog.equivalents import Equivalent
from backends.catalog.estimate import DatasetEstimate, Estimate, Range
from backends.catalog.mapping import Mapped
from backends.plan.problems import Problem
from themes.palette import Palette
from widgets.columns import Cell, Column, cells_row, head_row
from widgets.figures import NOTHING, count, decimal_size, span_of_time
from widgets.row import Row, wrapped

SEVERITIES = ("error", "warning", "note")
_WHERE, _LABEL, _VALUE = 34, 12, 14
WIDEST = 132  # cells of a table: the eye loses its line beyond
_DATASETS = (
    Column("dataset", 16, grow=1),
    Column("size", 9, "right"),
    Column("objects", 11, "right", rank=3),
    Column("line rate", 10, "right", rank=1),
    Column("expected", 18, "right"),
    Column("one stream", 18, "right", rank=4),
    Column("egress USD", 11, "right", rank=2),
)
_CARDS = (
    Column("workload", 16, grow=1),
    Column("legacy", 20, grow=1),
    Column("target", 20, grow=1),
    Column("ratio", 7, "right"),
    Column("USD/h", 6, "right", rank=2),
    Column("same work", 9, "right", rank=1),
)


@dataclass(frozen=True, slots=True)
class Factor:
    """One what-if: its name, what it is now, whether that is the plan's own."""

    name: str
    value: str
    is_plans: bool


# findings


def severity_style(severity: str, palette: Palette) -> tuple[str, Style]:
    """A sign and a style: the sign alone says it where there is no colour."""
    glyphs = palette.glyphs
    return {"error": (glyphs.breach, palette.breach), "warning": (glyphs.held, palette.held)}.get(
        severity, (glyphs.dot, palette.muted)
    )


def finding_row(problem: Problem, palette: Palette, width: int) -> Row:
    """`✗ 12 stores.hub.url   expected …`."""
    sign, style = severity_style(problem.severity, palette)
    row = Row(palette).add(sign, style).gap().add(str(problem.line or NOTHING), palette.muted, 4, "right").gap()
    field = min(_WHERE, max(12, width // 3))
    row.add(problem.field or problem.code, palette.strong, field).gap(2)
    return row.add(problem.message, palette.text, max(1, row.room(width)))


def finding_detail(problem: Problem, excerpt: str, palette: Palette, width: int, height: int) -> list[Strip]:
    """The whole message, the line of the plan, the cure."""
    lines = wrapped(problem.message, width, max(1, height - 3), palette, palette.text)
    if excerpt:
        lines.append(Row(palette).add(f"{problem.line:>4} ", palette.muted).add(excerpt.strip(), palette.accent).strip(width))
    lines += wrapped(f"cure: {problem.hint}", width, 2, palette, palette.good)
    lines.append(Row(palette).add(f"{problem.where}  {problem.code}", palette.muted).strip(width))
    return lines[:height]


def finding_counts(problems: Sequence[Problem], palette: Palette) -> Row:
    """`2 errors, 1 warning`, or that there are none."""
    row = Row(palette)
    for severity in SEVERITIES:
        number = sum(p.severity == severity for p in problems)
        if number:
            sign, style = severity_style(severity, palette)
            row.gap(2 if row.used else 0).add(f"{sign} {number} {severity}{'s' if number > 1 else ''}", style)
    return row if row.used else row.add(f"{palette.glyphs.good} the plan is good", palette.good)


# cards


def cards_head(palette: Palette, width: int) -> Strip:
    return head_row(_CARDS, palette, width)


def card_row(mapped: Mapped, palette: Palette, width: int) -> Row:
    """A workload's cards on both sides; the ratio in the colour of what it means."""
    found = mapped.found
    if found is None:
        row = Row(palette).add(mapped.workload, palette.text, 16).gap(2)
        return row.add(mapped.problem, palette.held, max(1, row.room(width)))
    style = palette.breach if not found.fits else palette.good if (found.ratio or 0) >= 1 else palette.held
    cells = {
        "workload": Cell(mapped.workload),
        "legacy": Cell(f"{mapped.count} x {mapped.legacy}", palette.legacy),
        "target": Cell(f"{mapped.count} x {mapped.target}", palette.target),
        "ratio": Cell("no fit" if not found.fits else _ratio(found), style),
        "USD/h": Cell(_change(found.cost_change)),
        "same work": Cell(_change(found.work_change)),
    }
    return cells_row(_CARDS, cells, palette, width)


def card_detail(mapped: Mapped, palette: Palette, width: int, height: int) -> list[Strip]:
    """By what it is compared, what is lost, what else target's provider has."""
    found = mapped.found
    if found is None:
        return wrapped(mapped.problem, width, height, palette, palette.held)
    binds = "dense BF16 compute" if mapped.kind == "training" else "memory bandwidth"
    ratios = ", ".join(f"{name} {ratio:.2f} x" for name, ratio in found.ratios.items())
    lines = wrapped(f"bound by {binds}: {ratios}", width, 2, palette, palette.muted)
    for warning in found.warnings:
        lines += wrapped(f"{palette.glyphs.held} {warning}", width, 2, palette, palette.held)
    for other in mapped.nearer:
        row = (
            Row(palette).add("nearer ", palette.muted).add(other.gpu.name, palette.target).gap().add(_ratio(other), palette.text)
        )
        if other.offers:
            row.gap(2).add(f"{other.offers[0].usd_per_gpu_hour:.2f} USD/h", palette.text)
        lines.append(row.strip(width))
    return lines[:height]


def _ratio(found: Equivalent) -> str:
    return NOTHING if found.ratio is None else f"{found.ratio:.2f} x"


def _change(value: float | None) -> str:
    return NOTHING if value is None else f"{value:+.0%}"


# estimate


def factor_row(factor: Factor, here: bool, palette: Palette, width: int) -> Strip:
    """`▸ bandwidth   ◂ 2 Gbps ▸`: what an arrow key changes."""
    glyphs = palette.glyphs
    row = Row(palette).add(glyphs.step if here else " ", palette.accent).gap().add(factor.name, palette.muted, _LABEL).gap()
    left, right = ("<", ">") if here else (" ", " ")
    row.add(left, palette.accent).gap().add(factor.value, palette.strong if here else palette.text, _VALUE).add(
        right, palette.accent
    )
    row.gap(2).add("" if factor.is_plans else "what if", palette.held)
    return row.strip(width)


def estimate_lines(found: Estimate, palette: Palette, width: int) -> list[Strip]:
    """Datasets, their sum, and what it costs."""
    lines = [head_row(_DATASETS, palette, width)]
    rows = [*found.datasets, *([found.total] if len(found.datasets) > 1 else [])]
    for dataset in rows:
        style = palette.strong if dataset is found.total else palette.text
        lines.append(
            Row(palette)
            .gap(2)
            .join(cells_row(_DATASETS, _dataset_cells(dataset, style, palette), palette, width - 2))
            .strip(width)
        )
    lines.append(Strip([]))
    for cost in found.costs:
        row = Row(palette).gap(2).add(cost.what, palette.muted, min(40, max(28, width // 3))).gap(2)
        row.add(span_of(cost.usd, _usd), palette.text, 16, "right").gap(2)
        lines.append(row.add(cost.note, palette.muted, max(1, row.room(width))).strip(width))
    return lines


def _dataset_cells(d: DatasetEstimate, style: Style, palette: Palette) -> dict[str, Cell]:
    return {
        "dataset": Cell(d.name, style),
        "size": Cell(decimal_size(d.bytes), style),
        "objects": Cell(count(d.objects), palette.muted),
        "line rate": Cell(span_of_time(d.seconds), palette.muted),
        "expected": Cell(span_of(d.seconds_expected, span_of_time), palette.good if d.is_measured else style),
        "one stream": Cell(span_of(d.seconds_single, span_of_time), palette.muted),
        "egress USD": Cell(NOTHING if d.egress_usd is None else _usd(d.egress_usd), style),
    }


def calendar_lines(found: Estimate, palette: Palette, width: int) -> list[Strip]:
    """A bar for each phase, over the whole time; below the cutover one for each workload, where one moves after another."""
    spans = found.calendar
    if not spans:
        return []
    first, last = spans[0].begins, spans[-1].ends
    days = (last - first).days + 1
    room = max(10, width - 42)
    lines = []

    def bar(name: str, begins: date, ends: date, text: Style, colour: Style) -> Strip:
        start = (begins - first).days * room // days
        end = max(start + 1, ((ends - first).days + 1) * room // days)
        row = Row(palette).gap(2).add(name, text, 13).gap().add(f"{begins:%d %b} to {ends:%d %b %Y}", palette.muted, 24).gap()
        row.add(palette.glyphs.rule * start, palette.track).add(palette.glyphs.bar[-1] * (end - start), colour)
        return row.add(palette.glyphs.rule * (room - end), palette.track).strip(width)

    for span in spans:
        lines.append(bar(span.phase, span.begins, span.ends, palette.text, palette.target))
        for move in found.moves if span.phase == "cutover" else ():
            lines.append(bar(f"  {move.workload}", move.begins, move.ends, palette.muted, palette.accent))
    return lines


def driver_lines(found: Estimate, palette: Palette, width: int) -> list[Strip]:
    """What the ranges hang on; notes at the end."""
    lines = []
    for driver in found.drivers:
        row = (
            Row(palette)
            .gap(2)
            .add(driver.what, palette.muted, 30)
            .gap()
            .add(driver.figure, palette.text, min(36, max(12, width // 3)))
            .gap()
        )
        lines.append(row.add(driver.source, palette.muted, max(1, row.room(width))).strip(width))
    for note in found.notes:
        lines += [Row(palette).gap(2).add(f"{palette.glyphs.held} {note}", palette.held).strip(width)]
    return lines


def span_of(span: Range | None, shown: object) -> str:
    """`low to high`, or one of them where they read alike."""
    if span is None or not callable(shown):
        return NOTHING
    low, high = str(shown(span.low)), str(shown(span.high))
    return low if low == high else f"{low} to {high}"


def _usd(value: float) -> str:
    return f"{value:,.0f}"
