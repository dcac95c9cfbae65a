"""The plan's facts, its gates by phase, and its triggers: what must hold before each step, and what calls everything back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from textual.strip import Strip

from backends.snapshot import GateView, Phase, Snapshot, TriggerView
from themes.meaning import level_of_verdict
from themes.palette import Palette
from widgets.columns import fact
from widgets.figures import duration, number, percent, watch
from widgets.fitting import WEIGHT
from widgets.listing import ORDER_OF_PLAN, Entry, ListPanel
from widgets.row import Row
from widgets.triggers import figure, limit_figure, trigger_level


@dataclass(frozen=True, slots=True)
class GateOrTrigger:
    """One line of the screen, of either kind."""

    gate: GateView | None = None
    trigger: TriggerView | None = None


PHASES = tuple(Phase)


def gate_row(gate: GateView, now: datetime, palette: Palette, width: int) -> Row:
    """`✓ staging      loss at 10, 50, 100    0.001 of 0.005   4 min ago`."""
    level = level_of_verdict(gate.verdict)
    row = Row(palette).add(f"{palette.glyphs.of(level)} ", palette.of(level))
    row.add(gate.phase.value, palette.accent if gate.current else palette.muted, 13).gap()
    row.add(gate.name, palette.strong if gate.current else palette.text, _names(width)).gap(2)
    row.add(gate.verdict.value, palette.of(level), 12).gap(2)
    when = Row(palette)
    if gate.at is not None:
        when.add(f"{duration((now - gate.at).total_seconds())} ago", palette.muted)
    if gate.value is not None and gate.limit is not None:
        row.add(f"{gate_figure(gate.value, gate.limit)} of {gate_figure(gate.limit, gate.limit)}", palette.muted).gap(2)
    room = width - row.used - when.used - 2
    if gate.reason and room > 6:
        row.add(gate.reason, palette.text, min(room, len(gate.reason)) if len(gate.reason) > room else None)
    return row.right(when, width)


def gate_figure(value: float | None, limit: float | None) -> str:
    """A value or limit of a gate: a share as percent, as the plan writes it."""
    return percent(value) if limit is not None and abs(limit) <= 1 else number(value)


def _names(width: int) -> int:
    return max(14, min(40, width // 3))


def trigger_row(trigger: TriggerView, palette: Palette, width: int) -> Row:
    """`✓ trigger      errors                 0.02 % of 0.1 %  rollback emergency`."""
    level = trigger_level(trigger)
    row = Row(palette).add(f"{palette.glyphs.of(level)} ", palette.of(level)).add("trigger", palette.muted, 13).gap()
    row.add(trigger.name, palette.strong, _names(width)).gap(2).add(trigger.verdict.value, palette.of(level), 12).gap(2)
    row.add(f"{figure(trigger.value, trigger)} of {limit_figure(trigger)}", palette.text, 17).gap(2)
    action = trigger.action if trigger.action != "rollback" else f"rollback {trigger.mode}"
    return row.add(action, palette.muted).gap(2).add(trigger.reason, palette.text)


def plan_facts(snapshot: Snapshot, palette: Palette, width: int) -> list[Strip]:
    """Path, hash, whether it is armed, the phases, the windows."""
    plan = snapshot.plan
    rows = [fact(palette, "plan", plan.path)]
    pinned = plan.armed_hash
    if pinned is None:
        state, style = "not armed: the plan may still change", palette.muted
    elif pinned == plan.hash:
        state, style = "armed: pinned to this hash", palette.good
    else:
        state, style = f"differs from what is armed, {pinned[:12]}", palette.breach
    rows.append(fact(palette, "hash", plan.hash[:12]).gap(2).add(state, style))
    phases = Row(palette).add("phase", palette.muted, 10).gap()
    now = PHASES.index(snapshot.phase) if snapshot.phase in PHASES else -1
    for i, phase in enumerate(PHASES):
        style = palette.strong if i == now else palette.good if i < now else palette.muted
        sign = palette.glyphs.step if i == now else palette.glyphs.good if i < now else palette.glyphs.dot
        phases.add(f"{sign} {phase.value}  ", style)
    rows.append(phases)
    if snapshot.window_total is not None:
        words = f"{snapshot.state.value} {watch(snapshot.window_elapsed, snapshot.window_total)} of observed time"
        rows.append(fact(palette, "window", words))
    return [row.strip(width) for row in rows]


class PlanGates(ListPanel[GateOrTrigger]):
    """Gates by phase, then triggers; the plan's facts above."""

    TITLE = "plan and gates"
    NONE = "no gates and no triggers in this plan"
    SORTS = (ORDER_OF_PLAN, "verdict", "name")
    DETAIL = 7

    def entries(self, snapshot: Snapshot) -> list[Entry[GateOrTrigger]]:
        gates = sorted(snapshot.gates, key=lambda g: PHASES.index(g.phase))
        found = [
            Entry(
                key=f"gate {i} {g.phase} {g.name}",
                thing=GateOrTrigger(gate=g),
                search=f"gate {g.phase.value} {g.name} {g.verdict} {g.reason}",
                value=f"{g.phase.value} {g.name} {g.verdict.value}",
                sorts={"name": g.name, "verdict": -WEIGHT[level_of_verdict(g.verdict)]},
            )
            for i, g in enumerate(gates)
        ]
        return found + [
            Entry(
                key=f"trigger {i} {t.name}",
                thing=GateOrTrigger(trigger=t),
                search=f"trigger {t.name} {t.measure} {t.workload} {t.verdict} {t.reason}",
                value=f"{t.name} {figure(t.value, t)}",
                sorts={"name": t.name, "verdict": -WEIGHT[trigger_level(t)]},
            )
            for i, t in enumerate(snapshot.triggers)
        ]

    def head(self, snapshot: Snapshot, palette: Palette, width: int, height: int) -> list[Strip]:
        return [*plan_facts(snapshot, palette, width), Strip([])]

    def entry_row(self, entry: Entry[GateOrTrigger], palette: Palette, width: int) -> Row:
        thing = entry.thing
        if thing.gate is not None:
            assert self.snapshot is not None
            return gate_row(thing.gate, self.snapshot.at, palette, width)
        assert thing.trigger is not None
        return trigger_row(thing.trigger, palette, width)

    def detail(self, entry: Entry[GateOrTrigger], palette: Palette, width: int, height: int) -> list[Strip]:
        gate, trigger = entry.thing.gate, entry.thing.trigger
        if gate is not None:
            level = level_of_verdict(gate.verdict)
            rows = [fact(palette, "gate", f"{gate.name}, to leave {gate.phase.value}")]
            rows.append(fact(palette, "verdict", gate.verdict.value, palette.of(level)))
            rows.append(
                fact(palette, "seen", f"{gate_figure(gate.value, gate.limit)}, at most {gate_figure(gate.limit, gate.limit)}")
            )
            rows.append(fact(palette, "reason", gate.reason or "-"))
            return [row.strip(width) for row in rows[:height]]
        assert trigger is not None
        return [row.strip(width) for row in trigger_facts(trigger, palette)[:height]]


def trigger_facts(trigger: TriggerView, palette: Palette) -> list[Row]:
    """At which value against which limit, over which windows, compared with what, and what it would do."""
    level = trigger_level(trigger)
    windows = " and ".join(duration(w) for w in trigger.windows) if trigger.windows else "by samples"
    action = trigger.action if trigger.action != "rollback" else f"rollback, {trigger.mode}"
    return [
        fact(palette, "trigger", f"{trigger.name}: {trigger.measure} of {trigger.workload or '-'}"),
        fact(palette, "verdict", trigger.verdict.value, palette.of(level)).gap(2).add(trigger.reason, palette.text),
        fact(palette, "seen", f"{figure(trigger.value, trigger)}, limit {limit_figure(trigger)}"),
        fact(palette, "compared", f"{trigger.compared_with or '-'}, windows {windows}"),
        fact(palette, "would", action),
    ]
