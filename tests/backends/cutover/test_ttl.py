"""The TTL of routes by DNS: lowered on the way into staging, its old one waited out before arming, given back by a rollback."""

from __future__ import annotations

import json
from typing import Any

import pytest

from backends.cutover.forward import Move, next_move
from backends.cutover.migration import Migration
from backends.cutover.rollback import plan_rollback
from backends.cutover.rules import Refusal
from backends.cutover.steps.build import step_of
from backends.cutover.steps.ttl import NoteTtl, SetTtl
from backends.cutover.ttl import lowering_steps, ttl_gates
from backends.traffic.base import LongAnswer
from backends.verdict import Verdict
from backends.vocabulary import Phase, State
from tests.backends.cutover.model_world import ModelEngine, ModelWorld, plan_of
from tests.backends.cutover.test_fold import op, story

DNS = {"server": "127.0.0.1", "zone": "example.net", "record": "chat", "legacy": "192.0.2.1", "target": "192.0.2.2", "ttl": "60s"}
PLAN = plan_of(routes=[{"name": "chat", "workload": "chat", "rfc2136": DNS, "steps": [100]}])


def noted(ttl: int, m: Migration | None = None) -> Migration:
    return story(*op("note_ttl", {"route": "chat"}, "op.confirmed", ttl=ttl), migration=m)


def lowered(before: int, ttl: int = 60, m: Migration | None = None) -> Migration:
    args = {"route": "chat", "ttl": ttl, "direction": "forward"}
    return story(*op("ttl", args, "op.confirmed", ttl=min(before, ttl)), migration=noted(before, m))


def put_back(m: Migration, *, left: bool = False) -> None:
    data = {"id": "o", "kind": "ttl", "args": {"route": "chat", "ttl": 3600}}
    story(("op.intent", data | {"direction": "backward"}), ("op.confirmed", data | {"left": left}), migration=m)


def test_the_way_into_staging_notes_the_ttl_and_lowers_it() -> None:
    assert lowering_steps(PLAN, Migration()) == (NoteTtl("chat"), SetTtl("chat", 60))
    assert lowering_steps(PLAN, noted(3600)) == (NoteTtl("chat"), SetTtl("chat", 60))
    assert lowering_steps(PLAN, lowered(3600)) == ()
    assert lowering_steps(PLAN, lowered(30)) == ()


def test_arming_waits_until_the_last_answer_with_the_old_ttl_has_ended() -> None:
    m = lowered(3600)
    (gate,) = ttl_gates(PLAN, m, m.ttls["chat"].since + 3599)
    assert (gate.name, gate.phase, gate.verdict) == ("ttl chat", Phase.STAGING, Verdict.INCONCLUSIVE)
    assert gate.reason == "lowered from 3600 s to 60 s; 1 s until the last answer with the old one ends"
    (gate,) = ttl_gates(PLAN, m, m.ttls["chat"].since + 3600)
    assert gate.verdict is Verdict.PASS


def test_a_ttl_that_was_short_already_is_not_waited_for() -> None:
    m = lowered(30)
    (gate,) = ttl_gates(PLAN, m, m.ttls["chat"].since)
    assert gate.verdict is Verdict.PASS
    assert not m.has_effects


def test_one_that_was_never_lowered_does_not_pass() -> None:
    for m in (Migration(), noted(3600)):
        (gate,) = ttl_gates(PLAN, m, 1e9)
        assert gate.verdict is Verdict.INCONCLUSIVE
        assert "not lowered to 60 s yet" in gate.reason


def test_a_lowered_ttl_is_an_effect_that_a_rollback_undoes_last() -> None:
    m = lowered(3600)
    assert m.has_effects
    world = ModelWorld(PLAN)
    world.migration.ttls.update(m.ttls)
    assert plan_rollback(world, "graceful").steps[-1] == SetTtl("chat", 3600, direction="backward")
    put_back(m)
    assert not m.has_effects
    assert lowering_steps(PLAN, m), "the next attempt lowers it again"


def test_one_that_could_not_be_put_back_is_still_an_effect() -> None:
    m = lowered(3600)
    put_back(m, left=True)
    assert m.has_effects


def test_a_lowering_whose_end_is_not_known_is_undone_too() -> None:
    m = noted(3600)
    assert not m.has_effects
    story(*op("ttl", {"route": "chat", "ttl": 60}, "op.failed", reason="killed"), migration=m)
    assert m.has_effects


@pytest.mark.parametrize("step", [NoteTtl("chat"), SetTtl("chat", 60), SetTtl("chat", 3600, direction="backward")])
def test_the_steps_are_rebuilt_from_the_journal(step: Any) -> None:
    assert step_of(step.kind, json.loads(json.dumps(step.args()))) == step


def test_a_route_that_came_into_the_plan_late_is_lowered_in_staging_before_anything_is_armed() -> None:
    world = ModelWorld(PLAN)
    world.migration.state, world.migration.phase = State.PREPARING, Phase.STAGING
    move = next_move(world, ttl_gates(PLAN, world.migration, 0.0), {})
    assert isinstance(move, Move)
    assert (move.to_phase, move.steps) == (Phase.STAGING, (NoteTtl("chat"), SetTtl("chat", 60)))
    world.migration.ttls.update(lowered(3600).ttls)
    refusal = next_move(world, ttl_gates(PLAN, world.migration, 0.0), {})
    assert isinstance(refusal, Refusal)
    assert refusal.rule == "GATE"
    assert "until the last answer with the old one ends" in refusal.reason


def test_a_ttl_that_others_raised_is_known_after_a_restart() -> None:
    """The fold says for how long such an answer may still be used; while nobody looks it may still be given out."""
    seen = {"route": "chat", "ttl": 3600.0, "names_target": True}
    m = story(("route.ttl", seen | {"given": True}))
    assert m.long_answers["chat"].left(5000.0) == 3600.0
    story(("route.ttl", seen | {"given": False, "ago": 40.0}), migration=m)  # at 2 s
    assert m.long_answers["chat"].left(1000.0) == 3600.0 - 1000.0 - 38.0


def test_a_ttl_that_others_raised_is_told_when_first_seen_and_when_last_given_out() -> None:
    it = ModelEngine()
    left = [3600.0]
    it.world.routes["chat"].long_answer = lambda: LongAnswer(3600.0, left[0], True)  # type: ignore[method-assign]
    for seconds in (3600.0, 3599.0, 3500.0, 3400.0):
        left[0] = seconds
        it.do(it.engine.guard._read_route("chat"))
    told = [e.data for e in it.events if e.kind == "route.ttl"]
    assert [d["given"] for d in told] == [True, False]
    assert "those that were may be used for 3500 s" in told[1]["text"]
    assert round(it.m.long_answers["chat"].left(it.m.observed)) == 3500
    it.close()
