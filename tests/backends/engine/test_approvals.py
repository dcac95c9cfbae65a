"""Overrides end by themselves and never lift safety; what the plan wants two persons for is done when a second one has approved it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from backends.cutover.rules import OVERRIDABLE, RULES
from backends.engine.approvals import end_overrides, override_views, waiting
from backends.engine.callers import Caller
from backends.engine.once import run_command
from backends.errors import RefusedByRule, UsageError
from backends.snapshot import Health, State
from tests.backends.cutover.model_world import ModelEngine, plan_of

ANN, BEN = Caller(1000, "ann"), Caller(1001, "ben")
CAROL = Caller(1000, "ann", "carol")


@pytest.fixture
def it() -> Iterator[ModelEngine]:
    yield from made()


@pytest.fixture
def by_two() -> Iterator[ModelEngine]:
    yield from made(two_person=["phase"], approve_within="60s")


def made(**more: Any) -> Iterator[ModelEngine]:
    engine = ModelEngine(plan_of(**more))
    with engine.failpoints():
        yield engine
    assert not engine.world.wrong
    engine.close()


def give(it: ModelEngine, name: str, caller: Caller = ANN, **body: Any) -> Any:
    return it.do(run_command(it.engine, name, caller, body))


def soaking(it: ModelEngine) -> None:
    for _ in range(4):
        it.advance()
    it.advance("chat")


def test_an_override_lifts_its_rule_and_ends_by_itself(it: ModelEngine) -> None:
    soaking(it)
    it.wait(3)  # past the spacing, not the soak
    assert give(it, "advance").rule == "SOAK"
    told = give(it, "override", rule="SOAK", reason="seen in staging", **{"for": "10min"})["overrides"]
    assert [(o["rule"], o["by"], o["reason"]) for o in told] == [("SOAK", "ann", "seen in staging")]
    assert give(it, "preview", command="advance")["allowed"] is True
    it.wait(600)
    assert override_views(it.m, it.engine.observed_now()) == ()
    it.do(end_overrides(it.engine))
    assert it.m.overrides == {}


def test_a_window_is_overridden_only_while_the_override_lasts(it: ModelEngine) -> None:
    it.to_dual()
    give(it, "override", rule="WINDOW", reason="agreed with all", **{"for": "1s"})
    it.wait(2)
    assert give(it, "advance").rule == "WINDOW"
    give(it, "override", rule="WINDOW", reason="agreed with all", **{"for": "10s"})
    assert give(it, "advance")["state"] == "committed"


@pytest.mark.parametrize("rule", sorted(set(RULES) - set(OVERRIDABLE)))
def test_safety_and_what_has_its_own_command_are_never_overridden(it: ModelEngine, rule: str) -> None:
    refused = give(it, "override", rule=rule, reason="I insist", **{"for": "1h"})
    assert isinstance(refused, RefusedByRule)
    assert refused.rule == rule
    assert it.m.overrides == {}


def test_sr1_sr2_and_sr4_are_among_those() -> None:
    assert not {"SR1", "SR2", "SR4"} & set(OVERRIDABLE)


@pytest.mark.parametrize(
    "body",
    [{"rule": "SOAK", "reason": "", "for": "1h"}, {"rule": "SOAK", "reason": "long enough", "for": "73h"}, {"rule": "NOPE"}],
)
def test_an_override_wants_a_known_rule_a_reason_and_at_most_72_hours(it: ModelEngine, body: dict[str, Any]) -> None:
    assert isinstance(give(it, "override", **body), UsageError)


def test_an_override_of_sr3_never_sends_clients_to_a_dead_side(it: ModelEngine) -> None:
    soaking(it)
    it.wait(10)
    give(it, "override", rule="SR3", reason="our link is down", **{"for": "1h"})
    it.world.healths["target"] = Health.DEAD
    refused = give(it, "advance", route="chat")
    assert isinstance(refused, RefusedByRule)
    assert it.weights["chat"] == 50


def test_an_override_survives_a_restart_can_be_taken_back_and_needs_the_seat(it: ModelEngine) -> None:
    give(it, "override", rule="GATE", reason="a false gate", **{"for": "1h"})
    it.world.dead_engine = True
    it.start()
    assert it.m.overrides_rule("GATE", it.engine.observed_now())
    assert give(it, "override", BEN, rule="GATE", end=True).rule == "SEAT"
    assert give(it, "override", rule="GATE", end=True)["overrides"] == []
    assert not it.m.overrides_rule("GATE", it.engine.observed_now())
    assert give(it, "override", rule="GATE", end=True).rule == "STATE"


# Two persons


def test_what_two_have_to_want_is_done_when_the_second_approves(by_two: ModelEngine) -> None:
    it = by_two
    refused = give(it, "advance", reason="all is well")
    assert (refused.rule, refused.code) == ("APPROVAL", "approval_needed")
    assert it.m.state is State.PLANNED
    assert give(it, "approve", ANN).rule == "APPROVAL", "not the same person twice"
    answer = give(it, "approve", BEN)
    assert (answer["state"], answer["asked_by"]) == ("preparing", "ann")
    approved = next(e for e in it.events if e.kind == "approval.given")
    assert (approved.actor, approved.data["how"]) == ("ben", "verified by uid")
    assert give(it, "approve", BEN).rule == "APPROVAL", "once"


def test_in_a_shared_uid_a_second_named_person_approves_shown_as_unverified(by_two: ModelEngine) -> None:
    give(by_two, "advance")
    assert give(by_two, "approve", CAROL)["state"] == "preparing"
    approved = next(e for e in by_two.events if e.kind == "approval.given")
    assert (approved.actor, approved.data["how"]) == ("ann (carol, unverified)", "unverified: one uid, two names")


def test_an_approval_comes_within_its_time(by_two: ModelEngine) -> None:
    give(by_two, "advance")
    by_two.wait(61)
    assert waiting(by_two.m, by_two.engine.observed_now()) is None
    assert give(by_two, "approve", BEN).rule == "APPROVAL"
    assert by_two.m.state is State.PLANNED


def test_what_was_asked_for_is_what_is_done_or_nothing(by_two: ModelEngine) -> None:
    give(by_two, "advance")
    by_two.advance()  # the world has moved on
    assert give(by_two, "preview", BEN, command="approve")["refused_by"] == "PREVIEW"
    assert give(by_two, "approve", BEN).rule == "PREVIEW"
    assert by_two.m.phase == "development"


def test_a_request_survives_a_restart_and_shows_its_steps(by_two: ModelEngine) -> None:
    give(by_two, "advance", reason="now")
    by_two.world.dead_engine = True
    by_two.start()
    preview = give(by_two, "preview", BEN, command="approve")
    assert (preview["allowed"], preview["reason"]) == (True, "asked for by ann: now")
    assert give(by_two, "approve", BEN, preview_hash="0" * 16).rule == "PREVIEW"
    assert give(by_two, "approve", BEN, preview_hash=preview["hash"])["state"] == "preparing"


def test_a_rollback_and_an_evacuation_never_need_two() -> None:
    for it in made(two_person=["advance"]):
        it.to_dual()
        assert give(it, "rollback", BEN, confirm="model")["state"] == "rolled_back"


def test_a_route_alone_may_want_two() -> None:
    route = {"command": {"set": ["x"], "get": ["x"]}, "soak": {"at_least": "5s"}}
    chat = route | {"name": "chat", "workload": "chat", "steps": [50, 100], "two_person": True}
    for it in made(routes=[chat, route | {"name": "jobs", "workload": "train", "steps": [100]}]):
        for _ in range(4):
            assert give(it, "advance")["ok"]
        assert give(it, "advance", route="chat").rule == "APPROVAL"
        assert give(it, "advance", route="jobs")["routes"]["jobs"] == 100
