"""What a person answers for: the plan's items are gates of their phase, the usual ones are told."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from backends.cutover.checklist import checklist
from backends.cutover.forward import Move, next_move
from backends.cutover.rules import Refusal
from backends.engine.signing import sign, sign_preview
from backends.errors import RefusedByRule, UsageError
from backends.plan.checklist import checklist_of
from backends.snapshot import Phase, SoakView, State
from tests.backends.cutover.model_world import ModelEngine, ModelWorld, plan_of, story
from tests.conftest import ROOT

SOAKED = {name: SoakView(elapsed=100.0, at_least=5.0) for name in ("chat", "jobs")}
LEFT = {
    Phase.DEVELOPMENT: State.PREPARING,
    Phase.TESTING: State.PREPARING,
    Phase.STAGING: State.PREPARING,
    Phase.CUTOVER: State.DUAL,
    Phase.DECOMMISSION: State.RETIRING,
}


def at(phase: Phase, **more: Any) -> ModelWorld:
    made = ModelWorld(plan_of(checklist={phase.value: [{"name": "looked-at", "text": "by two people", **more}]}))
    made.migration.state, made.migration.phase = LEFT[phase], phase
    made.migration.window_from, made.now = 0.0, 1000.0
    for name in ("chat", "jobs"):
        held = made.migration.route(name)
        held.confirmed = held.desired = 100 if phase in (Phase.CUTOVER, Phase.DECOMMISSION) else 0
    return made


@pytest.mark.parametrize("phase", list(Phase))
def test_an_item_of_the_plan_keeps_its_phase_until_somebody_signs_it(phase: Phase) -> None:
    made = at(phase)
    refused = next_move(made, (), SOAKED)
    assert isinstance(refused, Refusal)
    assert (refused.rule, refused.reason) == ("GATE", "looked-at is not signed (by two people)")
    assert refused.would_allow == "cutover sign looked-at --reason TEXT"
    story(("signed", {"item": "looked-at", "reason": "ann and ben"}), migration=made.migration)
    assert isinstance(next_move(made, (), SOAKED), Move)
    told = next(i for i in checklist(made.plan, made.migration) if i.phase is phase)
    assert (told.signed_by, told.reason) == ("test", "ann and ben")


def test_an_item_of_another_phase_keeps_nothing() -> None:
    made = at(Phase.STAGING)
    made.migration.phase = Phase.TESTING
    assert isinstance(next_move(made, (), SOAKED), Move)


def test_a_shift_within_the_cutover_waits_for_no_signature() -> None:
    made = at(Phase.CUTOVER)
    made.migration.state = State.ARMED
    for route in made.migration.routes.values():
        route.confirmed = route.desired = 0
    assert isinstance(next_move(made, (), SOAKED), Move)


@pytest.mark.parametrize("phase", list(Phase))
def test_what_need_not_be_is_told_and_stops_nothing(phase: Phase) -> None:
    assert isinstance(next_move(at(phase, must=False), (), SOAKED), Move)


def test_the_usual_items_are_told_where_the_plan_lists_none_and_a_simulation_has_none() -> None:
    for phase in Phase:
        usual = checklist_of(plan_of(), phase)
        assert usual
        assert not any(i.must for i in usual)
        assert checklist_of(plan_of(simulation=True), phase) == ()
        assert f"| {phase} | {', '.join(i.name for i in usual)} |" in (ROOT / "docs" / "plan.md").read_text()


@pytest.fixture
def it() -> Iterator[ModelEngine]:
    made = ModelEngine()
    yield made
    made.close()


def test_a_signature_is_journaled_with_who_and_why(it: ModelEngine) -> None:
    it.do(sign(it.engine, "ops (ann, unverified)", "lessons-written", "in the wiki"))
    last = it.events[-1]
    assert (last.kind, last.actor, last.data["item"], last.data["reason"]) == (
        "signed", "ops (ann, unverified)", "lessons-written", "in the wiki",
    )  # fmt: skip
    it.do(sign(it.engine, "ops", "lessons-written", "", withdraw=True))
    assert it.m.signed == {}


def test_a_signature_says_why(it: ModelEngine) -> None:
    assert isinstance(it.do(sign(it.engine, "ops", "lessons-written", "  ")), UsageError)


def test_a_misspelt_item_is_refused_with_the_nearest_one(it: ModelEngine) -> None:
    refused = it.do(sign(it.engine, "ops", "lesson-written", "x"))
    assert isinstance(refused, UsageError)
    assert refused.hint == "did you mean lessons-written?"


@pytest.mark.parametrize("item", ["preflight:disk", "preflight:legacy", "preflight:route:chat", "preflight:writer:train"])
def test_what_no_reason_replaces_cannot_be_signed_away(it: ModelEngine, item: str) -> None:
    refused = it.do(sign(it.engine, "ops", item, "it will do"))
    assert isinstance(refused, RefusedByRule)
    assert refused.rule == "PREFLIGHT"


def test_a_preview_says_what_is_answered_for_and_by_whom_it_was(it: ModelEngine) -> None:
    asked = sign_preview(it.engine, "lessons-written")
    assert asked.allowed
    assert asked.reason == "what was learnt is written down (usual in decommission, and stops nothing)"
    assert "lessons-written is not signed" in sign_preview(it.engine, "lessons-written", withdraw=True).reason
    it.do(sign(it.engine, "ops (ann, unverified)", "lessons-written", "in the wiki"))
    back = sign_preview(it.engine, "lessons-written", withdraw=True)
    assert (back.allowed, back.reason) == (True, "takes back what ops (ann, unverified) signed: in the wiki")


def test_a_preview_without_an_item_names_those_that_wait(it: ModelEngine) -> None:
    it.m.phase = Phase.DECOMMISSION
    named = sign_preview(it.engine, "").reason
    assert "final-backups-archived" in named
    assert "rollback-rehearsed" not in named
    assert "preflight:legacy" not in named


@pytest.mark.parametrize("item", ["preflight:disk", "preflight:legacy", "preflight:route:chat"])
def test_a_preview_refuses_what_no_reason_replaces_with_its_cure(it: ModelEngine, item: str) -> None:
    refused = sign_preview(it.engine, item)
    assert (refused.allowed, refused.refused_by) == (False, "PREFLIGHT")
    assert refused.would_allow


def test_a_preview_of_an_item_that_there_is_not_is_an_error(it: ModelEngine) -> None:
    with pytest.raises(UsageError, match="no item lesson-written"):
        sign_preview(it.engine, "lesson-written")
