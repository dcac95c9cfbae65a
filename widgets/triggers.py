"""What would call for rollback, and how near it is."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style
from textual.strip import Strip

from backends.snapshot import GateView, Level, Snapshot, TriggerView
from backends.verdict import Verdict
from themes.meaning import level_of_verdict
from themes.palette import Palette
from widgets import figures
from widgets.bars import sparkline
from widgets.figures import duration, is_late
from widgets.fitting import left_out, shown_first
from widgets.panel import Panel, nothing_yet
from widgets.row import Row

VALUE, LIMIT, SPARK = 8, 11, 4
REASON = 24  # more cells for a reason where there is room


def trigger_level(trigger: TriggerView) -> Level:
    """A verdict's meaning."""
    return level_of_verdict(trigger.verdict)


def is_relative(trigger: TriggerView) -> bool:
    """Whether value and limit are a change against the other side, so that they carry a sign."""
    return trigger.unit == "fraction" and trigger.kind != "error_rate" and "absolute" not in trigger.compared_with


def figure(value: float | None, trigger: TriggerView) -> str:
    """A value or limit of a trigger as people read it."""
    if value is None:
        return figures.NOTHING
    if trigger.unit == "fraction":
        return figures.change(value) if is_relative(trigger) else figures.percent(value)
    return figures.seconds(value) if trigger.unit == "seconds" else figures.number(value)


def limit_figure(trigger: TriggerView) -> str:
    """A limit without digits that say nothing: `+25 %`."""
    if trigger.limit is not None and is_relative(trigger):
        return ("+" if trigger.limit >= 0 else "-") + figures.percent(abs(trigger.limit))
    return figure(trigger.limit, trigger)


def trigger_rows(triggers: Sequence[TriggerView], palette: Palette, width: int, height: int) -> list[Strip]:
    """One line a trigger; where there is room, a second for those that are not good."""
    if not triggers:
        return nothing_yet("no triggers: nothing guards this migration", palette, width, height)
    chosen = shown_first(triggers, height, trigger_level)
    names = _names_width([t.name for t in chosen], width)
    spare = height - len(chosen)
    lines: list[Strip] = []
    for trigger in chosen:
        lines.append(trigger_line(trigger, palette, width, names))
        speaks = trigger.reason and trigger.verdict is not Verdict.PASS and trigger.value is not None
        if speaks and spare > 0:
            spare -= 1
            lines.append(Row(palette).to(2).add(trigger.reason, palette.muted).strip(width))
    return lines


def _names_width(names: Sequence[str], width: int) -> int:
    return min(max((len(n) for n in names), default=0), max(8, min(20, width - VALUE - LIMIT - SPARK - 3)))


def trigger_line(trigger: TriggerView, palette: Palette, width: int, names: int) -> Strip:
    """`✓ latency   +3.1 %  of +25 %   ▂▂▃▂▂▃▂`; without a value the reason stands in its place."""
    level = trigger_level(trigger)
    style = palette.of(level)
    late = is_late(trigger.age, trigger.period)
    row = Row(palette).add(f"{palette.glyphs.of(level)} ", style)
    row.add(trigger.name, palette.text if level is Level.GOOD else style, names)
    basis = 22 if width >= 80 else 0
    wordy = REASON if basis and trigger.value is None else 0
    start = names + 2 + VALUE + LIMIT + wordy
    figure_style = palette.stale if late else palette.strong if level is Level.GOOD else style
    if trigger.value is not None:
        row.add(figure(trigger.value, trigger), figure_style, VALUE, "right")
        after = f"  of {limit_figure(trigger)}" if not late else f"  {duration(trigger.age)} old"
        row.add(after, palette.held if late else palette.muted, LIMIT)
    else:
        row.gap().add(trigger.reason or "no data yet", _reason_style(level, late, palette), VALUE + LIMIT + wordy - 1)
    cells = min(width - start - 1 - basis, 120)
    if cells >= 4:
        quiet = palette.stale if late else palette.accent if level is Level.GOOD else style
        row.gap().join(sparkline(palette, trigger.history, cells, quiet, top=trigger.limit))
    if basis and trigger.compared_with:
        row.gap(2).add(f"vs {trigger.compared_with}", palette.muted, basis - 2)
    return row.strip(width)


def _reason_style(level: Level, late: bool, palette: Palette) -> Style:
    if level is Level.BREACH:
        return palette.breach
    return palette.stale if late else palette.muted


def gates_word(gates: Sequence[GateView], palette: Palette) -> str:
    """`gates staging 3 of 5`, of the phase that is to be left next."""
    current = [g for g in gates if g.current]
    if not current:
        return ""
    passed = sum(g.verdict is Verdict.PASS for g in current)
    level = max((level_of_verdict(g.verdict) for g in current), key=[*Level].index, default=Level.WAITING)
    glyph = palette.glyphs.of(Level.GOOD if passed == len(current) else level)
    return f"{glyph} gates {current[0].phase.value} {passed} of {len(current)}"


class TriggersPanel(Panel):
    """All triggers; the gates of the phase in the border."""

    OPENS = "plan"
    TITLE = "triggers"

    def draw(self, snapshot: Snapshot, palette: Palette, width: int, height: int) -> list[Strip]:
        return trigger_rows(snapshot.triggers, palette, width, height)

    def footing(self, snapshot: Snapshot) -> str:
        hidden = left_out(snapshot.triggers, self.size.height, trigger_level)
        more = f"{len(hidden)} more {self.palette.glyphs.of(hidden[0])}" if hidden else ""
        return "  ".join(part for part in (more, gates_word(snapshot.gates, self.palette)) if part)
