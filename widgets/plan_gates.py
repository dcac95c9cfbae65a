"""The plan's facts and how it stands; gates and checklist by phase, what remains, preflight, and the triggers that call everything back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from textual.strip import Strip

from backends.snapshot import ChecklistView, GateView, InventoryView, Level, Phase, PreflightView, Snapshot, TriggerView
from themes.meaning import level_of_verdict
from themes.palette import Palette
from widgets.columns import fact
from widgets.figures import duration, number, percent, watch
from widgets.fitting import WEIGHT
from widgets.listing import ORDER_OF_PLAN, Entry, ListPanel
from widgets.plan_items import (
    KIND,
    WORD,
    checklist_detail,
    checklist_level,
    checklist_row,
    inventory_detail,
    inventory_row,
    names_width,
    preflight_detail,
    preflight_level,
    preflight_row,
    present_phase,
    shown_items,
    sign_name,
)
from widgets.row import Row
from widgets.standing import standing_row, standings
from widgets.triggers import figure, limit_figure, trigger_level


@dataclass(frozen=True, slots=True)
class PlanEntry:
    """One line of the screen, of one kind."""

    gate: GateView | None = None
    item: ChecklistView | None = None
    remains: InventoryView | None = None
    preflight: PreflightView | None = None
    trigger: TriggerView | None = None

    @property
    def signable(self) -> ChecklistView | PreflightView | None:
        """What `S` signs where the cursor is on it."""
        return self.item or self.preflight


PHASES = tuple(Phase)


def gate_row(gate: GateView, now: datetime, palette: Palette, width: int) -> Row:
    """`✓ staging      loss at 10, 50, 100    0.001 of 0.005   4 min ago`."""
    level = level_of_verdict(gate.verdict)
    row = Row(palette).add(f"{palette.glyphs.of(level)} ", palette.of(level))
    row.add(gate.phase.value, palette.accent if gate.current else palette.muted, KIND).gap()
    row.add(gate.name, palette.strong if gate.current else palette.text, names_width(width)).gap(2)
    row.add(gate.verdict.value, palette.of(level), WORD).gap(2)
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


def trigger_row(trigger: TriggerView, palette: Palette, width: int) -> Row:
    """`✓ trigger      errors                 0.02 % of 0.1 %  rollback emergency`."""
    level = trigger_level(trigger)
    row = Row(palette).add(f"{palette.glyphs.of(level)} ", palette.of(level)).add("trigger", palette.muted, KIND).gap()
    row.add(trigger.name, palette.strong, names_width(width)).gap(2).add(trigger.verdict.value, palette.of(level), WORD).gap(2)
    row.add(f"{figure(trigger.value, trigger)} of {limit_figure(trigger)}", palette.text, 17).gap(2)
    action = trigger.action if trigger.action != "rollback" else f"rollback {trigger.mode}"
    return row.add(action, palette.muted).gap(2).add(trigger.reason, palette.text)


def plan_facts(snapshot: Snapshot, palette: Palette, width: int, height: int) -> list[Strip]:
    """Path, hash, whether it is armed, the phases, the windows; then how it stands. Where not all fit the path goes first."""
    plan = snapshot.plan
    pinned = plan.armed_hash
    if pinned is None:
        state, style = "not armed: the plan may still change", palette.muted
    elif pinned == plan.hash:
        state, style = "armed: pinned to this hash", palette.good
    else:
        state, style = f"{palette.glyphs.breach} differs from what is armed, {pinned[:12]}", palette.breach
    facts = [
        fact(palette, "plan", plan.path),
        fact(palette, "hash", plan.hash[:12]).gap(2).add(state, style),
        _phases(snapshot, palette),
    ]
    if snapshot.window_total is not None:
        words = f"{snapshot.state.value} {watch(snapshot.window_elapsed, snapshot.window_total)} of observed time"
        facts.append(fact(palette, "window", words))
    told = [standing_row(s, palette) for s in standings(snapshot)]
    if len(told) > height:
        told = [*told[: height - 1], fact(palette, "", f"{len(told) - height + 1} more: higher terminals show them")]
    rows = [*facts[max(0, len(facts) + len(told) - height) :], *told]
    return [row.strip(width) for row in rows[: max(0, height)]]


def _phases(snapshot: Snapshot, palette: Palette) -> Row:
    row = Row(palette).add("phase", palette.muted, 10).gap()
    now = PHASES.index(snapshot.phase) if snapshot.phase in PHASES else -1
    for i, phase in enumerate(PHASES):
        style = palette.strong if i == now else palette.good if i < now else palette.muted
        sign = palette.glyphs.step if i == now else palette.glyphs.good if i < now else palette.glyphs.dot
        row.add(f"{sign} {phase.value}  ", style)
    return row


def entry_level(thing: PlanEntry) -> Level | None:
    """What the eye must know of a line; None where it judges nothing."""
    if thing.gate is not None:
        return level_of_verdict(thing.gate.verdict)
    if thing.item is not None:
        return checklist_level(thing.item)
    if thing.preflight is not None:
        return preflight_level(thing.preflight)
    return trigger_level(thing.trigger) if thing.trigger is not None else None


def _entry(key: str, thing: PlanEntry, name: str, search: str, value: str) -> Entry[PlanEntry]:
    level = entry_level(thing)
    weight = -WEIGHT[level] if level is not None else 1
    return Entry(key=key, thing=thing, search=search, value=value, sorts={"name": name, "verdict": weight})


def plan_entries(snapshot: Snapshot) -> list[Entry[PlanEntry]]:
    """What is to be left next comes first: gates and signatures of the present phase, what remains, preflight, triggers; then the other phases."""
    now = present_phase(snapshot)
    others = [e for phase in PHASES if phase is not now for e in _phase_entries(snapshot, phase)]
    return [*_phase_entries(snapshot, now), *_remains(snapshot), *_preflight(snapshot), *_triggers(snapshot), *others]


def _phase_entries(snapshot: Snapshot, phase: Phase) -> Iterator[Entry[PlanEntry]]:
    for i, g in enumerate(snapshot.gates):
        if g.phase is phase:
            words = f"{g.phase.value} {g.name} {g.verdict.value}"
            yield _entry(f"gate {i} {g.name}", PlanEntry(gate=g), g.name, f"gate {words} {g.reason}", words)
    for c in shown_items(snapshot):
        if c.phase is phase:
            words = f"{c.name} signed by {c.signed_by}: {c.reason}" if c.signed_by else f"{c.name} not signed: {c.text}"
            search = f"checklist {phase.value} {words} {c.text}"
            yield _entry(f"checklist {c.name}", PlanEntry(item=c), c.name, search, words)


def _remains(snapshot: Snapshot) -> Iterator[Entry[PlanEntry]]:
    for i, r in enumerate(snapshot.inventory):
        words = f"{r.kind} {r.name} {r.detail}"
        yield _entry(f"remains {i} {r.name}", PlanEntry(remains=r), r.name, f"remains inventory {words}", words)


def _preflight(snapshot: Snapshot) -> Iterator[Entry[PlanEntry]]:
    for p in snapshot.preflight:
        words = f"{sign_name(p)} {p.verdict.value}: {p.evidence}"
        waived = f"waived {p.waived_by}" if p.waived_by else ""
        yield _entry(sign_name(p), PlanEntry(preflight=p), p.name, f"{words} {p.cure} {waived}", words)


def _triggers(snapshot: Snapshot) -> Iterator[Entry[PlanEntry]]:
    for i, t in enumerate(snapshot.triggers):
        search = f"trigger {t.name} {t.measure} {t.workload} {t.verdict} {t.reason}"
        yield _entry(f"trigger {i} {t.name}", PlanEntry(trigger=t), t.name, search, f"{t.name} {figure(t.value, t)}")


class PlanGates(ListPanel[PlanEntry]):
    """All that must hold, be proven or be signed; the plan's facts and how it stands above."""

    TITLE = "plan and gates"
    NONE = "no gates and no triggers in this plan"
    SORTS = (ORDER_OF_PLAN, "verdict", "name")
    DETAIL = 7

    def entries(self, snapshot: Snapshot) -> list[Entry[PlanEntry]]:
        return plan_entries(snapshot)

    def head(self, snapshot: Snapshot, palette: Palette, width: int, height: int) -> list[Strip]:
        return [*plan_facts(snapshot, palette, width, max(1, height // 2 - 1)), Strip([])]

    def entry_row(self, entry: Entry[PlanEntry], palette: Palette, width: int) -> Row:
        thing = entry.thing
        assert self.snapshot is not None
        if thing.gate is not None:
            return gate_row(thing.gate, self.snapshot.at, palette, width)
        if thing.item is not None:
            return checklist_row(thing.item, self.snapshot, palette, width)
        if thing.remains is not None:
            return inventory_row(thing.remains, palette, width)
        if thing.preflight is not None:
            return preflight_row(thing.preflight, palette, width)
        assert thing.trigger is not None
        return trigger_row(thing.trigger, palette, width)

    def detail(self, entry: Entry[PlanEntry], palette: Palette, width: int, height: int) -> list[Strip]:
        thing = entry.thing
        if thing.gate is not None:
            return gate_detail(thing.gate, palette, width, height)
        if thing.item is not None:
            return checklist_detail(thing.item, palette, width, height)
        if thing.remains is not None:
            return inventory_detail(thing.remains, palette, width, height)
        if thing.preflight is not None:
            return preflight_detail(thing.preflight, palette, width, height)
        assert thing.trigger is not None
        return [row.strip(width) for row in trigger_facts(thing.trigger, palette)[:height]]


def gate_detail(gate: GateView, palette: Palette, width: int, height: int) -> list[Strip]:
    """The verdict with what was seen, and why."""
    rows = [
        fact(palette, "gate", f"{gate.name}, to leave {gate.phase.value}"),
        fact(palette, "verdict", gate.verdict.value, palette.of(level_of_verdict(gate.verdict))),
        fact(palette, "seen", f"{gate_figure(gate.value, gate.limit)}, at most {gate_figure(gate.limit, gate.limit)}"),
        fact(palette, "reason", gate.reason or "-"),
    ]
    return [row.strip(width) for row in rows[:height]]


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
