"""The one table of states: what each means, what takes it forward, what takes it back.

Commands, docs and tests are made from it (cutover.md, section 2).
"""

from __future__ import annotations

from dataclasses import dataclass

from backends.vocabulary import Phase, State


@dataclass(frozen=True, slots=True)
class Row:
    """One state. `forward` and `backward` are the states that can follow; `phase` is None before the first."""

    state: State
    means: str
    phase: Phase | None
    forward: tuple[State, ...]
    backward: tuple[State, ...]
    is_exposed: bool = False  # clients may be on the target
    evacuates: bool = False  # `evacuate` may take it to shifting


_BACK = (State.ROLLING_BACK, State.ROLLBACK_BLOCKED)

TABLE: dict[State, Row] = {
    row.state: row
    for row in (
        Row(State.PLANNED, "nothing done", None, (State.PREPARING,), ()),
        Row(
            State.PREPARING,
            "copies, parallel runs, comparisons; no route touched",
            Phase.DEVELOPMENT,
            (State.PREPARING, State.ARMED),
            _BACK,
            evacuates=True,
        ),
        Row(
            State.ARMED,
            "the plan, its scripts and the routes' weights are pinned",
            Phase.CUTOVER,
            (State.SHIFTING,),
            (*_BACK, State.PREPARING),
            evacuates=True,
        ),
        Row(
            State.SHIFTING,
            "some change of a route or a token is in flight",
            Phase.CUTOVER,
            (State.SOAKING, State.DUAL, State.ARMED),
            _BACK,
            is_exposed=True,
            evacuates=True,
        ),
        Row(
            State.SOAKING,
            "some route has weight on target, none in flight",
            Phase.CUTOVER,
            (State.SHIFTING,),
            _BACK,
            is_exposed=True,
            evacuates=True,
        ),
        Row(
            State.DUAL,
            "all routes at 100; both providers stand",
            Phase.CUTOVER,
            (State.COMMITTED,),
            _BACK,
            is_exposed=True,
        ),
        Row(
            State.COMMITTED,
            "no planned way back; legacy still stands",
            Phase.DECOMMISSION,
            (State.RETIRING,),
            _BACK,
            is_exposed=True,
        ),
        Row(
            State.RETIRING,
            "legacy is being taken down",
            Phase.DECOMMISSION,
            (State.DECOMMISSIONED,),
            _BACK,
            is_exposed=True,
        ),
        Row(
            State.ROLLING_BACK,
            "production is on its way back to legacy",
            Phase.CUTOVER,
            (),
            (State.ROLLED_BACK, State.RECONCILING, State.ROLLBACK_BLOCKED),
            is_exposed=True,
            evacuates=True,  # legacy died under it
        ),
        Row(
            State.ROLLED_BACK,
            "the world as before arming",
            Phase.STAGING,
            (State.PREPARING,),
            _BACK,  # somebody else may have put weight on target since
            evacuates=True,
        ),
        Row(
            State.RECONCILING,
            "emergency rollback done; target not yet fenced or the gap not settled",
            Phase.CUTOVER,
            (),
            (State.ROLLED_BACK, State.ROLLING_BACK),
            evacuates=True,
        ),
        Row(
            State.ROLLBACK_BLOCKED,
            "legacy cannot take the load; target goes on serving",
            Phase.CUTOVER,
            (State.SOAKING, State.DUAL, State.COMMITTED, State.RETIRING, State.PREPARING, State.ARMED),
            _BACK,
            is_exposed=True,
            evacuates=True,
        ),
        Row(State.DECOMMISSIONED, "the end", Phase.DECOMMISSION, (), ()),
    )
}

PHASES = (Phase.DEVELOPMENT, Phase.TESTING, Phase.STAGING)


def may_follow(before: State, after: State) -> bool:
    """Does the table allow this change of state?"""
    row = TABLE[before]
    return after in row.forward or after in row.backward or (row.evacuates and after is State.SHIFTING)


def next_phase(phase: Phase | None) -> Phase | None:
    """The phase of `preparing` after this one; None after staging, where arming comes next."""
    if phase is None:
        return PHASES[0]
    position = PHASES.index(phase) + 1
    return PHASES[position] if position < len(PHASES) else None


def syncs(state: State) -> bool:
    """Do rounds of sync run by themselves in this state?"""
    return state in (State.PREPARING, State.ARMED, State.SHIFTING, State.SOAKING, State.DUAL, State.ROLLBACK_BLOCKED)
