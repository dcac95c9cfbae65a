"""The state is a fold of the journal, and of nothing else."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.cutover.events import Event, Kind
from backends.cutover.fold import apply, fold
from backends.cutover.migration import Migration
from backends.cutover.states import TABLE, may_follow
from backends.cutover.steps.build import kinds, step_of
from backends.cutover.steps.side import CheckSide
from backends.cutover.steps.weight import Drain, SetWeight
from backends.cutover.steps.writer import Compare, Fence, LastRound, Quiesce, Resume, SettleGap, SetToken
from backends.snapshot import Phase, State
from tests.backends.cutover.model_world import BEGINNING, ModelEngine, story
from tests.backends.cutover.test_machine import plain_state


def walk() -> list[Event]:
    """A whole migration and its rollback."""
    it = ModelEngine()
    it.to_dual()
    it.rollback()
    it.resume()
    events = it.events
    it.close()
    return events


WALK = walk()


def op(kind: str, args: dict[str, Any], end: str, **more: Any) -> list[tuple[str, dict[str, Any]]]:
    data = {"id": "o", "kind": kind, "args": args}
    return [("op.intent", data | {"direction": "forward"}), (end, data | more)]


@given(st.integers(0, len(WALK)))
def test_folding_from_the_start_is_applying_one_by_one(cut: int) -> None:
    m = fold(WALK[:cut])
    for event in WALK[cut:]:
        apply(m, event)
    assert plain_state(m) == plain_state(fold(WALK))


@given(st.lists(st.tuples(st.integers(0, len(WALK)), st.text(max_size=20)), max_size=5))
def test_events_of_an_unknown_kind_change_nothing_but_the_count(odd: list[tuple[int, str]]) -> None:
    events = list(WALK)
    for at, kind in odd:
        if kind not in {k.value for k in Kind}:
            events.insert(at, Event(0, BEGINNING, "x", kind, {"state": "dual", "id": 1}))
    renumbered = [replace(e, seq=n) for n, e in enumerate(events, 1)]
    m = fold(renumbered)
    m.seq = len(WALK)
    assert plain_state(m) == plain_state(fold(WALK))


def test_events_survive_json() -> None:
    back = [replace(e, data=json.loads(json.dumps(e.data))) for e in WALK]
    assert plain_state(fold(back)) == plain_state(fold(WALK))


def test_every_change_of_state_in_a_walk_is_one_of_the_table() -> None:
    states = [State.PLANNED, *(State(e.data["state"]) for e in WALK if e.kind == Kind.STATE)]
    for before, after in itertools.pairwise(states):
        assert may_follow(before, after), (before, after)


def test_every_state_has_its_row_and_only_exposed_ones_can_carry_clients() -> None:
    assert set(TABLE) == set(State)
    for state in (State.PLANNED, State.PREPARING, State.ARMED, State.ROLLED_BACK, State.DECOMMISSIONED):
        assert not TABLE[state].is_exposed


@pytest.mark.parametrize(
    "step",
    [
        CheckSide("legacy", True),
        SetWeight("chat", 50, 0),
        Drain("chat"),
        Quiesce("train", "legacy"),
        Resume("train", "target"),
        SetToken("ckpt", "target", 1),
        LastRound("ckpt", reverse=True, direction="backward"),
        Compare("ckpt"),
        Fence("train"),
        SettleGap("ckpt"),
    ],
)
def test_every_step_is_rebuilt_from_the_journal_as_it_was(step: Any) -> None:
    assert step_of(step.kind, json.loads(json.dumps(step.args()))) == step
    assert step.kind in kinds()


def test_a_weight_that_failed_and_could_not_be_read_still_counts_as_exposure() -> None:
    m = story(*op("weight", {"route": "chat", "weight": 50}, "op.failed", found=None))
    assert m.exposure == "some"
    assert m.has_effects
    assert not m.route("chat").in_flight


def test_a_weight_that_failed_and_was_read_is_what_was_read() -> None:
    m = story(*op("weight", {"route": "chat", "weight": 50}, "op.failed", found=0))
    assert (m.route("chat").desired, m.route("chat").confirmed, m.has_effects) == (0, 0, False)


def test_a_stop_of_legacy_that_failed_may_have_stopped_some_of_it() -> None:
    m = story(*op("quiesce", {"workload": "train", "side": "legacy"}, "op.failed", reason="one host did not answer"))
    assert m.has_effects


def test_a_stop_of_target_that_failed_leaves_it_to_be_started_by_whoever_needs_it_there() -> None:
    m = Migration()
    m.started.add(("train", "target"))
    story(*op("quiesce", {"workload": "train", "side": "target"}, "op.failed", reason="one host did not answer"), migration=m)
    assert (m.started, m.quiesced) == (set(), set())
    assert m.doubts.keys() == {("train", "target")}
    story(*op("resume", {"workload": "train", "side": "target"}, "op.confirmed"), migration=m)
    assert m.started == {("train", "target")}
    assert m.doubts, "it may stop yet"


def test_somebody_elses_weight_is_something_to_roll_back() -> None:
    m = story(("op.foreign", {"route": "chat", "reason": "chat holds 30, not 0", "found": 30}))
    assert m.has_effects
    story(("op.foreign", {"route": "chat", "reason": "taken", "found": 0, "adopted": True}), migration=m)
    assert not m.has_effects


def test_windows_and_soak_begin_anew_at_a_weight_that_somebody_else_set() -> None:
    """cutover.md, section 6: an operator who takes it over has not seen it soak."""
    m = story(*op("weight", {"route": "chat", "weight": 25}, "op.confirmed"))
    began = m.route("chat").since
    story(("op.foreign", {"route": "chat", "reason": "chat holds 50, not 25", "found": 50}), migration=m)
    assert m.route("chat").since == began, "not taken over: ours is still what counts"
    story(("op.foreign", {"route": "chat", "reason": "taken", "found": 50, "adopted": True}), migration=m)
    assert (m.route("chat").confirmed, m.route("chat").since) == (50, m.observed)
    story(*op("weight", {"route": "chat", "weight": 75}, "op.failed", found=60), migration=m)
    assert (m.route("chat").confirmed, m.route("chat").since) == (60, m.observed)


def test_windows_begin_anew_at_our_own_weight_that_came_back_from_another() -> None:
    m = story(*op("weight", {"route": "chat", "weight": 25}, "op.confirmed"))
    story(("op.foreign", {"route": "chat", "reason": "chat holds 50, not 25", "found": 50}), migration=m)
    story(("op.foreign", {"route": "chat", "reason": "25 again", "found": 25, "adopted": True}), migration=m)
    assert m.route("chat").since == m.observed


def test_a_fenced_target_no_longer_counts_as_started() -> None:
    m = Migration()
    m.started.add(("train", "target"))
    story(*op("fence", {"workload": "train"}, "op.confirmed", unfenced=True), migration=m)
    assert m.unfenced
    assert m.has_effects
    story(*op("fence", {"workload": "train"}, "op.confirmed", unfenced=False), migration=m)
    assert not m.unfenced
    assert not m.has_effects


def test_an_emergencys_gap_is_open_until_it_is_settled() -> None:
    m = Migration()
    m.token("ckpt").writer, m.token("ckpt").epoch = "target", 1
    story(("run.started", {"id": "r", "kind": "rollback", "mode": "emergency", "steps": []}), migration=m)
    story(*op("token", {"dataset": "ckpt", "writer": "legacy", "epoch": 2}, "op.confirmed"), migration=m)
    assert m.unsettled == {"ckpt"}
    story(*op("settle_gap", {"dataset": "ckpt"}, "op.confirmed", settled=False), migration=m)
    assert m.unsettled == {"ckpt"}
    story(*op("settle_gap", {"dataset": "ckpt"}, "op.confirmed", settled=True), migration=m)
    assert m.unsettled == set()


def test_a_window_goes_on_over_a_block_and_begins_anew_after_a_rollback() -> None:
    dual = ("state", {"state": "dual", "phase": "cutover"})
    m = story(dual, ("state", {"state": "rollback_blocked"}), dual)
    assert m.window_from == 1.0
    story(("state", {"state": "rolling_back"}), ("state", {"state": "rolled_back", "phase": "staging"}), migration=m)
    assert m.window_from is None
    assert m.needs_resume
    story(("state", {"state": "preparing", "phase": "staging", "rearm": True}), migration=m)
    assert not m.needs_resume
    assert m.phase is Phase.STAGING


def test_observed_time_never_goes_back() -> None:
    m = Migration()
    for observed in (5.0, 9.0, 2.0):
        apply(m, Event(1, BEGINNING, "x", "tick", {}, observed=observed))
    assert m.observed == 9.0
