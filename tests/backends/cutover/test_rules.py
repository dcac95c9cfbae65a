"""The safety rules, each refused and allowed, by name."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from backends.cutover.migration import Hold
from backends.cutover.rules import RULES, Refusal, delete_refusal, refusal_of
from backends.cutover.steps.weight import SetWeight
from backends.cutover.steps.writer import LastRound, Quiesce, Resume, SetToken
from backends.snapshot import Health, State
from tests.backends.cutover.model_world import ModelWorld, story


def world(**more: Any) -> ModelWorld:
    made = ModelWorld()
    for name, value in more.items():
        getattr(made, name).update(value)
    return made


def at(made: ModelWorld, route: str, weight: int) -> None:
    held = made.migration.route(route)
    held.confirmed = held.desired = weight


def token(made: ModelWorld, dataset: str, writer: Any, epoch: int) -> None:
    held = made.migration.token(dataset)
    held.writer, held.epoch = writer, epoch


def rule_of(refusal: Refusal | None) -> str | None:
    if refusal is None:
        return None
    assert refusal.rule in RULES
    assert refusal.reason
    assert refusal.would_allow
    return refusal.rule


def test_sr1_refuses_an_effect_after_which_nobody_serves() -> None:
    made = world(healths={"legacy": Health.DEAD})
    at(made, "chat", 100)
    assert rule_of(refusal_of(SetWeight("chat", 0, direction="backward"), made)) == "SR1"
    assert rule_of(refusal_of(SetWeight("chat", 0, direction="safety"), made)) == "SR1"


def test_sr1_names_the_side_and_what_is_seen_of_it() -> None:
    made = world(healths={"legacy": Health.DEAD})
    refusal = refusal_of(SetWeight("chat", 0, direction="backward"), made)
    assert refusal is not None
    assert "legacy dead (model says dead)" in refusal.reason


def test_sr1_allows_an_effect_after_which_one_side_serves() -> None:
    made = world(healths={"target": Health.DEAD})
    at(made, "chat", 100)
    assert refusal_of(SetWeight("chat", 0, direction="backward"), made) is None


def test_sr1_and_sr3_let_an_unseen_side_be_tried_where_that_was_accepted() -> None:
    made = world(healths={"legacy": Health.UNKNOWN}, ages={"legacy": None})
    at(made, "chat", 100)
    step = SetWeight("chat", 0, direction="backward")
    assert rule_of(refusal_of(step, made)) == "SR1"
    assert refusal_of(step, made, accept_unknown=True) is None
    made.healths["legacy"] = Health.DEAD
    assert rule_of(refusal_of(step, made, accept_unknown=True)) == "SR1"


def test_sr2_gives_the_token_only_when_nobody_holds_it() -> None:
    made = world()
    assert rule_of(refusal_of(SetToken("ckpt", "target", 1), made)) == "SR2"
    token(made, "ckpt", "none", 0)
    assert refusal_of(SetToken("ckpt", "target", 1), made) is None


def test_sr2_lets_a_rollback_take_the_token_home_from_a_target_that_does_not_answer() -> None:
    made = world()
    token(made, "ckpt", "target", 1)
    assert refusal_of(SetToken("ckpt", "legacy", 2, direction="backward"), made) is None


def test_sr2_refuses_a_token_of_an_older_epoch() -> None:
    made = world()
    token(made, "ckpt", "none", 3)
    assert rule_of(refusal_of(SetToken("ckpt", "legacy", 2, direction="backward"), made)) == "SR2"


def test_sr2_starts_no_writer_without_the_token_of_all_that_it_writes() -> None:
    made = world()
    step = Resume("train", "target")
    assert rule_of(refusal_of(step, made)) == "SR2"
    token(made, "ckpt", "target", 1)
    assert rule_of(refusal_of(step, made)) == "SR2"
    token(made, "logs", "target", 1)
    assert refusal_of(step, made) is None
    assert rule_of(refusal_of(Resume("train", "legacy"), made)) == "SR2"


def test_sr2_copies_nothing_onto_the_side_that_writes() -> None:
    made = world()
    assert refusal_of(LastRound("ckpt"), made) is None
    assert rule_of(refusal_of(LastRound("ckpt", reverse=True, direction="backward"), made)) == "SR2"
    token(made, "ckpt", "target", 1)
    assert rule_of(refusal_of(LastRound("ckpt"), made)) == "SR2"
    assert refusal_of(LastRound("ckpt", reverse=True, direction="backward"), made) is None
    token(made, "ckpt", "none", 1)
    assert refusal_of(LastRound("ckpt"), made) is None


def test_sr2_refuses_to_stop_what_the_plan_cannot_stop() -> None:
    assert rule_of(refusal_of(Quiesce("chat", "legacy"), world())) == "SR2"
    assert refusal_of(Quiesce("train", "legacy"), world()) is None


@pytest.mark.parametrize("age", [None, 60.1, 3600.0])
def test_sr3_routes_nobody_to_a_side_without_a_young_proof_of_health(age: float | None) -> None:
    made = world(ages={"target": age})
    assert rule_of(refusal_of(SetWeight("chat", 50), made)) == "SR3"


def test_sr3_allows_a_side_proven_within_the_minute() -> None:
    assert refusal_of(SetWeight("chat", 50), world(ages={"target": 59.9})) is None


def test_sr3_looks_at_the_side_that_would_get_more() -> None:
    made = world(ages={"target": None})
    at(made, "chat", 50)
    assert refusal_of(SetWeight("chat", 0, direction="backward"), made) is None
    assert rule_of(refusal_of(SetWeight("chat", 100), made)) == "SR3"
    made = world(ages={"legacy": 61.0})
    at(made, "chat", 50)
    assert rule_of(refusal_of(SetWeight("chat", 0, direction="backward"), made)) == "SR3"


def test_sr4_nothing_is_deleted_at_all_yet() -> None:
    from backends.cutover.steps.build import kinds

    assert not [kind for kind in kinds() if "delete" in kind]


def test_sr5_keeps_a_spacing_between_changes_of_a_route() -> None:
    made = world()
    at(made, "chat", 50)
    made.migration.last_shift = made.migration.route("chat").since = 100.0
    made.now = 101.0
    refusal = refusal_of(SetWeight("chat", 100), made)
    assert rule_of(refusal) == "SR5"
    assert refusal is not None
    assert refusal.would_allow == "1 s more"
    made.now = 102.0
    assert refusal_of(SetWeight("chat", 100), made) is None


@pytest.mark.parametrize("direction", ["backward", "safety"])
def test_sr5_never_holds_a_way_back(direction: Any) -> None:
    made = world()
    at(made, "chat", 50)
    made.migration.last_shift = made.migration.route("chat").since = made.now = 100.0
    assert refusal_of(SetWeight("chat", 0, direction=direction), made) is None


def test_sr6_refuses_every_forward_step_while_a_rollback_is_under_way() -> None:
    made = world()
    story(("run.started", {"id": "r", "kind": "rollback", "steps": []}), migration=made.migration)
    for step in (SetWeight("chat", 50), Quiesce("train", "legacy"), SetToken("ckpt", "none", 0), LastRound("ckpt")):
        assert rule_of(refusal_of(step, made)) == "SR6"
    assert refusal_of(SetWeight("chat", 0, direction="backward"), made) is None


def test_a_hold_blocks_forward_and_names_every_holder_and_never_a_rollback() -> None:
    made = world()
    for who in ("ops", "trigger loss"):
        story(("held", {"by": who, "reason": f"{who} says so"}), migration=made.migration)
    refusal = refusal_of(SetWeight("chat", 50), made)
    assert rule_of(refusal) == "HELD"
    assert refusal is not None
    assert "ops: ops says so; trigger loss: trigger loss says so" in refusal.reason
    at(made, "chat", 50)
    assert refusal_of(SetWeight("chat", 0, direction="backward"), made) is None
    assert refusal_of(Quiesce("train", "target", direction="backward"), made) is None


@pytest.mark.parametrize("state", list(State))
def test_sr4_allows_deletes_only_once_committed(state: State) -> None:
    made = world()
    made.migration.state = state
    refusal = delete_refusal(made.migration, "corpus")
    if state in (State.COMMITTED, State.RETIRING, State.DECOMMISSIONED):
        assert refusal is None
    else:
        assert rule_of(refusal) == "SR4"
        assert refusal is not None
        assert state in refusal.reason


def test_sr4_never_deletes_where_target_has_written_or_writes() -> None:
    made = world()
    made.migration.state = State.COMMITTED
    token(made, "ckpt", "target", 1)
    assert rule_of(delete_refusal(made.migration, "ckpt")) == "SR4"
    token(made, "ckpt", "legacy", 2)
    made.migration.token("ckpt").was_target = True
    assert rule_of(delete_refusal(made.migration, "ckpt")) == "SR4"


def test_a_hold_keeps_deletes_back_too() -> None:
    made = world()
    made.migration.state = State.COMMITTED
    made.migration.holds.append(Hold("ada", "wait", datetime(2026, 1, 1, tzinfo=UTC)))
    assert rule_of(delete_refusal(made.migration, "corpus")) == "HELD"
