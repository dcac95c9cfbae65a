"""What the effects model has found in the engine: each defect by its name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from backends.vocabulary import State
from tests.faults.moments import ACTS, begun
from tests.faults.table import fault_case
from tests.faults.virtual import EffectsEngine, assert_known, effects_engine

HOME = {"legacy": True, "target": False}


@pytest.fixture
def it(request: pytest.FixtureRequest) -> Iterator[EffectsEngine]:
    """An engine at the beginning of the act that the test names."""
    made = begun(ACTS[request.param])
    yield made
    assert not made.world.wrong, f"{made.world.wrong} {made.tail()}"
    made.close()


def of(act: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("it", [act], indirect=True)


@of("emergency rollback")
@fault_case("target writes on after its gap was kept", "reconciling until it is stopped and the gap is kept again")
def test_what_an_unfenced_target_wrote_after_the_gap_was_kept_is_kept_too(it: EffectsEngine) -> None:
    it.world.controls_["train"].unreachable.add("target")
    assert it.rollback("emergency") is State.RECONCILING
    it.world.write()
    it.wait(20)
    it.world.controls_["train"].unreachable.clear()
    it.settle()
    assert it.m.state is State.ROLLED_BACK
    for held in it.world.data.values():
        assert held["target"] <= held["legacy"] | held["gap"]


@of("shift")
@fault_case("the engine dies with a route's change in flight", "it waits until the authority can act no more, then says which")
def test_a_weight_that_comes_about_after_the_restart_is_no_foreign_one(it: EffectsEngine) -> None:
    it.world.ways["route chat"] = ["late"]
    it.at(9, it.die)
    it.advance("chat")
    assert it.points[9] == "route chat, in flight"
    assert (it.m.route("chat").confirmed, it.weights["chat"]) == (50, 50)
    assert it.m.route("chat").foreign is None


@of("shift")
@fault_case("a change that failed takes effect late", "held, told as our own, a rollback undoes it")
def test_our_own_late_change_is_not_told_as_somebody_elses(it: EffectsEngine) -> None:
    it.world.ways["route chat"] = ["unanswered, then late"]
    it.advance("chat")
    it.settle()
    assert "our own change, which had failed, took effect late" in (it.m.route("chat").foreign or "")
    assert it.rollback() is State.ROLLED_BACK


@of("handover")
@fault_case("a stop that failed comes about after its writer was started again", "the writer is started once more")
def test_a_late_stop_leaves_nobody_without_a_writer(it: EffectsEngine) -> None:
    it.world.ways["writer legacy"] = ["unanswered, then late"]
    it.advance("jobs")
    it.settle()
    assert it.writers == HOME
    assert not it.m.doubts
    assert_known(it)


@of("graceful rollback")
@fault_case(
    "a stop on target that failed comes about after its writer was started again there", "the writer is started once more"
)
def test_a_late_stop_on_target_leaves_a_blocked_rollback_with_its_writer(it: EffectsEngine) -> None:
    it.world.ways["writer target"] = ["unanswered, then late"] * 2
    assert it.rollback(limit=3.0) is State.ROLLBACK_BLOCKED
    it.settle()
    assert it.writers == {"legacy": False, "target": True}
    assert not it.m.doubts
    assert_known(it)


@of("graceful rollback")
@fault_case("a stop on target that failed comes about after the rollback was tried again", "home: nobody starts target")
def test_a_late_stop_on_target_starts_nothing_once_all_is_home(it: EffectsEngine) -> None:
    it.world.ways["writer target"] = ["unanswered, then late"] * 2
    assert it.rollback(limit=3.0) is State.ROLLBACK_BLOCKED
    assert it.rollback() is State.ROLLED_BACK
    it.settle()
    assert it.writers == HOME
    assert not it.m.doubts
    assert_known(it)


@of("handover")
@fault_case("the wall clock jumps over a restart with a stop in flight", "the stop is waited for by the boot clock")
def test_a_jump_of_the_wall_clock_shortens_no_wait_for_an_orphan(it: EffectsEngine) -> None:
    it.world.ways["writer legacy"] = ["late"]

    def die() -> None:
        it.time.jumped += 3600.0
        it.die()

    it.at(it_in_flight("handover", "writer legacy, in flight"), die)
    it.advance("jobs")
    it.settle()
    assert it.writers == HOME
    assert_known(it)


def it_in_flight(act: str, point: str) -> int:
    """The number of the point at which an effect of this act is in flight."""
    seen = begun(ACTS[act])
    try:
        ACTS[act].do(seen)
        return seen.points.index(point)
    finally:
        seen.close()


@of("graceful rollback")
@pytest.mark.parametrize("point", ["route chat, in flight", "weight.backward.after-sent", "writer legacy, in flight"])
@fault_case("the engine stands still for 60 s in a rollback (SIGSTOP), at {point}", "the rollback goes on")
def test_a_standstill_is_no_reason_to_give_a_rollback_up(it: EffectsEngine, point: str) -> None:
    it.at(it_in_flight("graceful rollback", point), lambda: it.freeze(60))
    assert it.rollback() is State.ROLLED_BACK
    it.settle()
    assert_known(it)


def test_two_that_cannot_be_stopped_are_both_waited_for() -> None:
    """One workload that was fenced says nothing of another."""
    from tests.backends.cutover.model_world import story

    def fence(number: int, workload: str, unfenced: bool) -> list[tuple[str, dict[str, object]]]:
        op = {"id": str(number), "kind": "fence", "args": {"workload": workload}, "direction": "backward"}
        return [("op.intent", op), ("op.confirmed", op | {"unfenced": unfenced})]

    m = story(*fence(1, "train", True), *fence(2, "tune", False))
    assert m.unfenced
    m = story(*fence(3, "train", False), migration=m)
    assert not m.unfenced


def test_the_model_passes_on_what_it_was_told() -> None:
    """The oracle itself: what it must call wrong, it does."""
    with effects_engine() as it:
        it.world.note_start(it.world.controls_["train"], "target")
        assert "SR2" in it.world.wrong.pop()
        it.world.dead_since["target"] = -100.0
        it.world.note_weight(it.world.routes_["chat"], 50, 50, "rollback")
        assert [w[:3] for w in it.world.wrong] == ["SR3", "SR6"]
        it.world.wrong.clear()


@of("graceful rollback")
@fault_case("somebody sets a route by hand while its clients are drained", "it is set home again, the rollback goes on")
def test_a_weight_set_by_hand_in_a_rollback_is_set_home_again(it: EffectsEngine) -> None:
    def by_hand() -> None:
        it.world.routes_["chat"].weight = 30

    it.at(it_in_flight("graceful rollback", "writer legacy, in flight"), by_hand)
    assert it.rollback() is State.ROLLED_BACK
    assert it.weights == {"chat": 0, "jobs": 0}


@of("graceful rollback")
@fault_case("a comparison after a rollback cannot be made", "rolled back all the same, and told")
def test_a_comparison_that_cannot_be_made_takes_no_rollback_back(it: EffectsEngine) -> None:
    it.at(it_in_flight("graceful rollback", "compare.backward.before-intent"), lambda: it.world.stores_gone.add("target"))
    assert it.rollback() is State.ROLLED_BACK
    assert "not shown to be equal" in it.tail(2)
    it.world.stores_gone.clear()


@of("graceful rollback")
@fault_case("of two datasets the first differs after a rollback", "rolled back, and told")
def test_one_dataset_that_differs_is_not_made_good_by_the_next(it: EffectsEngine) -> None:
    def lose() -> None:
        it.world.data["ckpt"]["legacy"].clear()

    it.at(it_in_flight("graceful rollback", "compare.backward.before-intent"), lose)
    assert it.rollback() is State.ROLLED_BACK
    assert "not shown to be equal" in it.tail(2)
    it.world.data["ckpt"]["legacy"] |= it.world.data["ckpt"]["target"]


@of("graceful rollback")
@fault_case(
    "target dies during a graceful rollback", "told and held at once; an emergency takes over where the plan accepts a gap"
)
def test_a_target_that_dies_under_a_graceful_rollback_is_told_at_once(it: EffectsEngine) -> None:
    it.at(it_in_flight("graceful rollback", "last_round.backward.before-intent"), lambda: it.world.die("target"))
    rolling = it.loop.create_task(it.engine.rollback(mode="graceful", actor="test", reason="test"))
    it.run(asyncio.sleep(20))
    assert not rolling.done()
    assert "target died during a graceful rollback" in it.m.holds[0].reason
    assert it.rollback("emergency") is State.RECONCILING
    it.world.live_again("target")
    it.settle()
    assert it.m.state is State.ROLLED_BACK


@of("graceful rollback")
@fault_case(
    "legacy dies in the last reverse round of a rollback", "blocked at once with what would unblock it; evacuate is possible"
)
def test_a_legacy_that_dies_in_the_last_reverse_round_blocks_at_once_and_target_goes_on(it: EffectsEngine) -> None:
    """cutover.md, sections 2 and 3."""
    it.at(it_in_flight("graceful rollback", "last_round.backward.before-intent"), lambda: it.world.die("legacy"))
    began = it.loop.now
    assert it.rollback() is State.ROLLBACK_BLOCKED
    assert it.loop.now - began < 30, "not the 600 s that a last round may take"
    assert "legacy is dead" in it.events()[-1].data["reason"]
    assert "rollback again when it answers, or evacuate" in it.events()[-1].data["reason"]
    assert it.do(it.engine.evacuate(actor="test", reason="test")) is State.DUAL, it.tail()
    assert it.writers == {"legacy": False, "target": True}
    assert not it.m.forced, "legacy never had the token: nothing that it alone holds is left behind"
    it.world.live_again("legacy")
    it.wait(20)
    it.do(it.engine.resume(actor="test", reason="test"))
    assert it.rollback() is State.ROLLED_BACK, "what target wrote since comes home by the last rounds, as before"
    it.settle()


@of("graceful rollback")
@fault_case("legacy dies while an authority is waited for", "no client is sent there when it answers")
def test_no_client_is_sent_to_a_legacy_that_died_while_the_authority_was_waited_for(it: EffectsEngine) -> None:
    """SR3, and cutover.md, section 3."""
    route = it.world.routes_["chat"]
    route.gone = True
    rolling = it.loop.create_task(it.engine.rollback(mode="graceful", actor="test", reason="test"))
    it.run(asyncio.sleep(4))
    it.world.die("legacy")
    it.run(asyncio.sleep(9))
    route.gone = False
    it.run(asyncio.sleep(30))
    assert rolling.done()
    assert rolling.result() is State.ROLLBACK_BLOCKED
    assert it.weights["chat"] == 100


@of("graceful rollback")
@fault_case("the disk is full during a rollback", "home; what went elsewhere is merged, and folds to the live state")
def test_what_is_merged_later_is_what_was_lived_through(it: EffectsEngine) -> None:
    it.at(it_in_flight("graceful rollback", "weight.backward.before-intent"), lambda: setattr(it.journal, "full", True))
    assert it.rollback() is State.ROLLED_BACK
    it.journal.full = False
    it.settle()
    it.wait(60)
    assert_known(it)


@of("graceful rollback")
@fault_case("legacy dies while the engine stands still for 60 s", "blocked: no client is sent there by a proof from before")
def test_a_proof_from_before_a_standstill_sends_no_client_to_a_dead_side(it: EffectsEngine) -> None:
    def stands_still() -> None:
        it.world.die("legacy")
        it.freeze(58.0)

    it.at(it_in_flight("graceful rollback", "weight.backward.before-intent") - 1, stands_still)
    assert it.rollback() is State.ROLLBACK_BLOCKED
    assert it.weights["jobs"] == 100


@of("graceful rollback")
@pytest.mark.parametrize("mode", ["graceful", "emergency"])
@fault_case(
    "one route's authority is gone in a {mode} rollback", "the others go home at once; it follows by itself when it answers"
)
def test_a_route_that_cannot_be_reached_keeps_no_other_from_going_home(it: EffectsEngine, mode: str) -> None:
    it.world.routes_["chat"].gone = True
    assert it.rollback(mode) is State.ROLLBACK_BLOCKED
    since = next(e.observed for e in reversed(it.events()) if e.kind == "run.started")
    moved = [
        e for e in it.events() if e.kind == "op.confirmed" and e.data["kind"] == "weight" and e.data["args"]["route"] == "jobs"
    ]
    home = moved[-1].observed
    assert home - since < 10, "not after the time that is given to the one that does not answer"
    assert it.weights == {"chat": 100, "jobs": 0}
    assert it.writers == HOME
    assert it.m.away == {"chat"}
    assert "all is home but chat" in it.tail()
    it.world.routes_["chat"].gone = False
    it.wait(120)
    assert it.m.state is State.ROLLED_BACK
    assert it.weights == {"chat": 0, "jobs": 0}
    assert_known(it)


@of("graceful rollback")
@pytest.mark.parametrize("mode", ["graceful", "emergency"])
@fault_case(
    "the route of a writer cannot be moved in a {mode} rollback", "its writer goes on where its clients are, the others go home"
)
def test_a_writer_stays_where_its_clients_are_while_they_cannot_be_led_away(it: EffectsEngine, mode: str) -> None:
    it.world.routes_["jobs"].gone = True
    assert it.rollback(mode) is State.ROLLBACK_BLOCKED
    assert it.weights == {"chat": 0, "jobs": 100}
    assert it.writers == {"legacy": False, "target": True}
    assert it.m.token("ckpt").writer == "target"
    it.world.routes_["jobs"].gone = False
    it.wait(120)
    assert it.m.state is State.ROLLED_BACK
    assert it.weights == {"chat": 0, "jobs": 0}
    assert it.writers == HOME
    assert_known(it)


@of("graceful rollback")
@fault_case("one authority of a record lives and stays behind in a rollback", "told, waited for; home by itself when it follows")
def test_an_authority_that_stays_behind_ends_no_rollback_for_ever(it: EffectsEngine) -> None:
    it.world.routes_["chat"].behind = True
    assert it.rollback() is State.ROLLBACK_BLOCKED
    assert it.m.away == {"chat"}
    assert "ns2 is behind" in it.tail()
    assert it.weights == {"chat": 0, "jobs": 0}
    it.wait(300)
    it.world.routes_["chat"].behind = False
    it.wait(400)
    assert it.m.state is State.ROLLED_BACK
    assert_known(it)


@of("graceful rollback")
def test_after_a_resume_a_route_that_was_away_is_left_alone(it: EffectsEngine) -> None:
    it.world.routes_["chat"].gone = True
    assert it.rollback() is State.ROLLBACK_BLOCKED
    it.do(it.engine.resume(actor="test", reason="we stay"))
    it.world.routes_["chat"].gone = False
    it.wait(400)
    assert it.weights["chat"] == 100
    assert it.m.is_held
    assert it.rollback() is State.ROLLED_BACK
