"""What preflight says of each item, what refuses the arming, and what lowers readiness later."""

from __future__ import annotations

from typing import Any

import pytest

from backends.cutover.forward import Move, next_move
from backends.cutover.preflight import PROOF_AGE, Proof, lowered, measured_items, not_proven, preflight
from backends.cutover.readiness import readiness
from backends.cutover.rules import Refusal
from backends.dataset_view import Lag
from backends.snapshot import Health, Phase, PreflightView, State
from backends.verdict import Verdict
from tests.backends.cutover.model_world import ModelEngine, ModelWorld, plan_of, story

HOSTS: dict[str, Any] = {
    "legacy": {"provider": "old", "hosts": [{"name": "old-1", "address": "10.0.0.1"}]},
    "capacity": {"command": ["can-carry"]},
}
NO_LAG = Lag(objects=0, bytes=0, seconds=0.0)


def staged(**more: Any) -> ModelWorld:
    made = ModelWorld(plan_of(**HOSTS, **more))
    made.migration.state, made.migration.phase = State.PREPARING, Phase.STAGING
    return made


def item(world: ModelWorld, name: str) -> PreflightView:
    return next(i for i in preflight(world) if i.name == name)


def arming(world: ModelWorld) -> Move | Refusal:
    return next_move(world, (), {})


def test_all_proven_arms() -> None:
    said = arming(staged())
    assert isinstance(said, Move)
    assert said.kind == "arm"


def test_the_items_of_a_plan_are_what_a_rollback_of_it_needs() -> None:
    assert [i.name for i in preflight(staged())] == [
        "legacy",
        "writer:train",
        "capacity",
        "route:chat",
        "route:jobs",
        "reverse:ckpt",
        "reverse:logs",
        "hosts",
        "clocks",
        "store:old",
        "store:new",
        "login",
        "disk",
    ]


@pytest.mark.parametrize("name", measured_items(plan_of(**HOSTS)))
@pytest.mark.parametrize("good", [False, None])
def test_arming_is_refused_naming_what_is_not_proven_and_its_cure(name: str, good: bool | None) -> None:
    world = staged()
    world.proofs[name] = Proof(good, "seen so", "mend it so", at=float("inf"))
    said = arming(world)
    assert isinstance(said, Refusal)
    assert said.rule == "PREFLIGHT"
    verdict = "BREACH" if good is False else "INCONCLUSIVE"
    assert said.reason == f"{name} {verdict}: seen so"
    assert "mend it so" in said.would_allow


def test_what_was_not_tried_yet_is_not_proven() -> None:
    world = staged()
    del world.proofs["reverse:logs"]
    assert [i.name for i in not_proven(preflight(world))] == ["reverse:logs"]


def test_a_proof_that_has_grown_old_proves_nothing() -> None:
    world = staged()
    world.proofs["hosts"] = Proof(True, "answer", at=100.0)
    world.now = 100.0 + PROOF_AGE + 1
    assert item(world, "hosts").verdict is Verdict.INCONCLUSIVE
    assert "ago: answer" in item(world, "hosts").evidence


def test_what_is_not_needed_is_told_and_stops_nothing() -> None:
    world = staged()
    world.proofs["clocks"] = Proof(None, "no host tells its time", needed=False)
    assert isinstance(arming(world), Move)
    assert item(world, "clocks").verdict is Verdict.INCONCLUSIVE


def test_a_signature_with_its_reason_waives_an_item() -> None:
    world = staged()
    world.proofs["clocks"] = Proof(False, "old-1 +3.0 s", at=float("inf"))
    assert isinstance(arming(world), Refusal)
    story(("signed", {"item": "preflight:clocks", "reason": "looked at by hand"}), migration=world.migration)
    assert isinstance(arming(world), Move)
    assert item(world, "clocks").waived_by == "test: looked at by hand"
    story(("signed", {"item": "preflight:clocks", "withdrawn": True}), migration=world.migration)
    assert isinstance(arming(world), Refusal)


@pytest.mark.parametrize("name", ["disk", "route:chat"])
def test_what_no_reason_replaces_is_waived_by_nobody(name: str) -> None:
    world = staged()
    world.proofs[name] = Proof(False, "seen so", at=float("inf"))
    story(("signed", {"item": f"preflight:{name}", "reason": "it will do"}), migration=world.migration)
    assert isinstance(arming(world), Refusal)


def test_a_waiver_ends_when_the_migration_is_armed_anew() -> None:
    it = ModelEngine()
    it.run(it.engine.record("signed", {"item": "preflight:disk", "reason": "x"}))
    it.run(it.engine.record("signed", {"item": "people-trained", "reason": "y"}))
    it.to_dual()
    it.rollback()
    it.resume()
    assert set(it.m.signed) == {"people-trained"}
    it.close()


def test_legacy_shows_its_capacity_while_it_carries_all() -> None:
    world = ModelWorld(plan_of())
    world.migration.state = State.ARMED
    assert item(world, "capacity").verdict is Verdict.PASS
    world.migration.route("chat").confirmed = 50
    late = item(world, "capacity")
    assert late.verdict is Verdict.INCONCLUSIVE
    assert late.evidence.startswith("not proven")
    assert not late.needed


@pytest.mark.parametrize("health", [Health.UNKNOWN, Health.DEAD])
def test_a_legacy_that_is_not_seen_alive_arms_nothing(health: Health) -> None:
    world = staged()
    world.healths["legacy"] = health
    assert "legacy" in [i.name for i in not_proven(preflight(world))]


@pytest.mark.parametrize("name", ["disk", "clocks", "hosts", "store:old", "login", "capacity"])
def test_readiness_is_lowered_by_the_same_items_and_the_rollback_is_not_blocked(name: str) -> None:
    world = staged()
    story(("armed", {"plan_hash": "0", "weights": {}}), migration=world.migration)
    world.migration.state = State.SOAKING
    assert readiness(world, reverse_lag=NO_LAG).ready
    world.proofs[name] = Proof(False, "ends with your login", at=float("inf"))
    low = readiness(world, reverse_lag=NO_LAG)
    assert not low.ready
    assert f"{name}: ends with your login" in low.blocked_by
    assert low.seconds_to_safe is not None, "the rollback itself may go"
    world.proofs[name] = Proof(None, "could not be tried", at=float("inf"))
    doubtful = readiness(world, reverse_lag=NO_LAG)
    assert doubtful.ready
    assert f"{name}: could not be tried" in doubtful.warnings


def test_nothing_is_lowered_before_arming() -> None:
    world = staged()
    world.proofs["disk"] = Proof(False, "full", at=float("inf"))
    assert lowered(world) == ((), ())
