"""Evacuation of the real engine on a model world: legacy has died, production goes to target whole, whatever is killed meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from backends.cutover.steps.writer import LastRound
from backends.cutover.world import SideHealth
from backends.engine.callers import Caller
from backends.engine.once import run_command
from backends.errors import RefusedByRule
from backends.snapshot import Health, Lag, State
from tests.backends.cutover.model_world import Killed, ModelEngine

ANN, BEN = Caller(1000, "ann"), Caller(1001, "ben")


@pytest.fixture
def it() -> Iterator[ModelEngine]:
    made = ModelEngine()
    with made.failpoints():
        yield made
    assert not made.world.wrong
    made.close()


def give(it: ModelEngine, name: str, caller: Caller = ANN, **body: Any) -> Any:
    return it.do(run_command(it.engine, name, caller, body))


def legacy_dies(it: ModelEngine) -> None:
    it.world.healths["legacy"] = Health.DEAD
    it.world.controls["train"].running["legacy"] = False  # with its host
    it.world.controls["train"].stuck.add("legacy")


def legacy_returns(it: ModelEngine, writing: bool = True) -> None:
    it.world.healths["legacy"] = Health.ALIVE
    it.world.controls["train"].stuck.clear()
    it.world.controls["train"].running["legacy"] = writing
    it.do(it.engine.guard._sides())


def some(it: ModelEngine) -> None:
    """Chat half on target, jobs still on legacy."""
    for _ in range(4):
        it.advance()
    it.wait(10)
    it.advance("chat")
    assert it.weights == {"chat": 50, "jobs": 0}


def evacuate(it: ModelEngine, **more: Any) -> Any:
    return give(it, "evacuate", confirm="model", **more)


def is_there(it: ModelEngine) -> None:
    assert it.weights == {"chat": 100, "jobs": 100}
    assert it.writers["target"] is True
    assert [it.m.token(d).writer for d in ("ckpt", "logs")] == ["target", "target"]
    assert (it.m.state, it.m.is_held, it.m.evacuated) == (State.DUAL, True, True)
    assert not it.m.ops
    assert it.m.open_run is None


def test_all_weight_and_every_writer_go_to_a_living_target(it: ModelEngine) -> None:
    some(it)
    legacy_dies(it)
    answer = evacuate(it)
    assert (answer["state"], answer["routes"]) == ("dual", {"chat": 100, "jobs": 100})
    is_there(it)
    assert it.m.run is not None
    assert (it.m.run.kind, it.m.run.outcome) == ("evacuate", "evacuated")
    assert it.world.rounds == [], "nothing is read from a dead side"


def test_it_is_exempt_from_hold_soak_and_spacing_and_needs_no_seat(it: ModelEngine) -> None:
    some(it)
    give(it, "seat", BEN)
    give(it, "hold")
    legacy_dies(it)
    assert evacuate(it)["state"] == "dual"
    assert len(it.m.holds) == 2, "the operator's hold stays"


@pytest.mark.parametrize("killed", range(60))
def test_an_evacuation_that_is_killed_anywhere_goes_on_to_its_end(it: ModelEngine, killed: int) -> None:
    some(it)
    legacy_dies(it)
    it.kill_in = killed
    ended = evacuate(it)
    it.kill_in = None
    if isinstance(ended, Killed) and it.m.state is State.SOAKING:
        assert killed <= 1, "killed before it had begun: nothing has happened"
        assert it.weights == {"chat": 50, "jobs": 0}
        evacuate(it)
    is_there(it)


def test_the_preview_is_the_executors_own_steps_and_binds_the_confirmation(it: ModelEngine) -> None:
    some(it)
    legacy_dies(it)
    it.engine.followers.lag = Lag(objects=7, bytes=700, seconds=3.0)  # type: ignore[attr-defined]
    seq = it.m.seq
    preview = give(it, "preview", command="evacuate")
    assert it.m.seq == seq
    assert preview["allowed"] is True
    assert preview["gap"]["objects"] == 7
    assert "7 objects that legacy alone holds stay there" in preview["warnings"][0]
    refused = evacuate(it, preview_hash="f" * 16)
    assert refused.code == "preview_changed"
    assert evacuate(it, preview_hash=preview["hash"])["state"] == "dual"
    assert it.m.run is not None
    assert [s["text"] for s in it.m.run.steps] == [s["text"] for s in preview["steps"]]


def test_the_name_must_be_typed(it: ModelEngine) -> None:
    some(it)
    legacy_dies(it)
    assert give(it, "evacuate", confirm="modle").rule == "CONFIRM"
    assert it.weights == {"chat": 50, "jobs": 0}


@pytest.mark.parametrize(
    ("legacy", "target", "rule"),
    [
        (Health.ALIVE, Health.ALIVE, "STATE"),
        (Health.UNKNOWN, Health.ALIVE, "STATE"),
        (Health.DEAD, Health.DEAD, "SR1"),
        (Health.DEAD, Health.UNKNOWN, "SR1"),
    ],
)
def test_it_is_for_a_dead_legacy_and_a_living_target(it: ModelEngine, legacy: Health, target: Health, rule: str) -> None:
    some(it)
    it.world.healths |= {"legacy": legacy, "target": target}
    refused = evacuate(it)
    assert isinstance(refused, RefusedByRule)
    assert refused.rule == rule
    assert it.m.state is State.SOAKING
    assert it.weights == {"chat": 50, "jobs": 0}


def test_sr3_holds_where_targets_proof_is_old(it: ModelEngine) -> None:
    some(it)
    legacy_dies(it)
    it.world.ages["target"] = 61.0
    assert "SR3" in evacuate(it).message
    assert it.weights == {"chat": 50, "jobs": 0}
    assert it.m.is_held


def test_an_unseen_legacy_is_taken_for_dead_only_where_that_is_typed(it: ModelEngine) -> None:
    some(it)
    it.world.healths["legacy"] = Health.UNKNOWN
    assert evacuate(it).rule == "STATE"
    it.world.controls["train"].running["legacy"] = False
    assert evacuate(it, accept_unknown=True)["state"] == "dual"


@pytest.mark.parametrize("state", [State.ROLLBACK_BLOCKED, State.ROLLED_BACK, State.PREPARING, State.ARMED])
def test_it_goes_from_every_state_with_legacy_in_it(it: ModelEngine, state: State) -> None:
    for _ in range(3 if state is State.PREPARING else 4):
        it.advance()
    if state is State.ROLLED_BACK:
        it.wait(10)
        it.advance("chat")
        it.rollback()
    legacy_dies(it)
    if state is State.ROLLBACK_BLOCKED:
        it.wait(10)
        it.world.healths["legacy"] = Health.ALIVE
        it.advance("chat")
        it.world.healths["legacy"] = Health.DEAD
        assert it.rollback() is State.ROLLBACK_BLOCKED
    assert it.m.state is state
    evacuate(it)
    is_there(it)
    assert it.m.armed is not None
    assert not it.m.needs_resume


def test_where_all_is_on_target_there_is_nothing_to_evacuate(it: ModelEngine) -> None:
    it.to_dual()
    legacy_dies(it)
    assert evacuate(it).rule == "STATE"
    it.do(it.engine.guard._health())
    assert it.m.state is State.ROLLBACK_BLOCKED
    assert "already" in evacuate(it).message


def test_a_dead_legacy_is_not_told_again_as_a_block_but_a_second_death_is(it: ModelEngine) -> None:
    some(it)
    legacy_dies(it)
    evacuate(it)
    it.do(it.engine.guard._health())
    assert it.m.state is State.DUAL
    legacy_returns(it, writing=False)
    it.world.healths["legacy"] = Health.DEAD
    it.do(it.engine.guard._sides())
    it.do(it.engine.guard._health())
    assert it.m.state is State.ROLLBACK_BLOCKED


def test_a_rollback_that_could_not_go_does_not_stop_an_evacuation(it: ModelEngine) -> None:
    some(it)
    legacy_dies(it)
    it.world.routes["chat"].slow = 3.0
    engine = it.engine

    async def both() -> Any:
        import asyncio

        going = engine.spawn(engine.evacuate(actor="ann", reason="test"), "evacuation")
        await asyncio.sleep(1.0)
        blocked = await engine.rollback(mode="emergency", actor="trigger chat", reason="errors")
        return blocked, await going

    assert it.do(both()) == (State.ROLLBACK_BLOCKED, State.DUAL)
    is_there(it)


def test_a_rollback_that_waits_for_a_legacy_that_died_under_it_does_not_make_clients_wait(it: ModelEngine) -> None:
    it.to_dual()
    it.world.comparing = 500.0  # a store that is silent: home, and not at its end for long
    engine, refused = it.engine, []

    async def both() -> Any:
        import asyncio

        back = engine.spawn(engine.rollback(mode="graceful", actor="ann", reason="test"), "rollback")
        await asyncio.sleep(30)
        assert (it.m.state, it.weights) == (State.ROLLING_BACK, {"chat": 0, "jobs": 0})
        refused.append((await asyncio.gather(engine.evacuate(actor="ann", reason="early"), return_exceptions=True))[0])
        assert engine.is_going_back, "legacy is alive: the rollback goes on"
        legacy_dies(it)
        began = asyncio.get_running_loop().time()
        ended = await engine.evacuate(actor="ann", reason="test")
        took = asyncio.get_running_loop().time() - began
        return ended, (await asyncio.gather(back, return_exceptions=True))[0], took

    ended, superseded, took = it.do(both())
    assert refused[0].rule == "STATE"
    assert ended is State.DUAL
    assert "an evacuation has taken the rollback's place" in str(superseded)
    assert took < 60.0
    is_there(it)


def test_an_evacuation_in_the_middle_of_a_hand_back_gives_target_what_was_its_own(it: ModelEngine) -> None:
    it.to_dual()
    it.world.out_of_sync.add("ckpt")  # the last round does not come to its end
    engine = it.engine

    async def both() -> Any:
        import asyncio

        back = engine.spawn(engine.rollback(mode="graceful", actor="ann", reason="test"), "rollback")
        await asyncio.sleep(30)
        assert it.m.token("ckpt").writer == "none"
        legacy_dies(it)
        ended = await engine.evacuate(actor="ann", reason="test")
        await asyncio.gather(back, return_exceptions=True)
        return ended

    assert it.do(both()) is State.DUAL
    is_there(it)
    assert it.m.forced == set(), "nothing of legacy's was left behind"


def test_an_evacuation_starts_a_writer_that_a_failed_stop_left_half_stopped_on_target(it: ModelEngine) -> None:
    it.to_dual()
    control, engine = it.world.controls["train"], it.engine
    control.half.add("target")  # it stops, and says that it did not

    async def both() -> Any:
        import asyncio

        back = engine.spawn(engine.rollback(mode="graceful", actor="ann", reason="test"), "rollback")
        await asyncio.sleep(5)
        control.half.clear()
        control.stuck.add("target")  # and cannot be started again by the blocked rollback
        return await back

    assert it.do(both()) is State.ROLLBACK_BLOCKED
    assert it.writers["target"] is False
    control.stuck.clear()
    legacy_dies(it)
    assert not hasattr(evacuate(it), "rule")
    is_there(it)


@pytest.mark.parametrize("killed", range(0, 60, 3))
def test_a_kill_while_an_evacuation_takes_a_rollbacks_place_leaves_no_two_of_them(it: ModelEngine, killed: int) -> None:
    it.to_dual()
    it.world.comparing = 500.0
    engine = it.engine

    async def both() -> Any:
        import asyncio

        back = engine.spawn(engine.rollback(mode="graceful", actor="ann", reason="test"), "rollback")
        await asyncio.sleep(30)
        legacy_dies(it)
        it.kill_in = killed
        await engine.evacuate(actor="ann", reason="test")
        await asyncio.gather(back, return_exceptions=True)

    it.do(both())
    it.kill_in = None
    assert (it.m.ops, it.m.open_run) == ({}, None)
    if it.m.state is not State.DUAL:
        assert it.m.state is State.ROLLBACK_BLOCKED, "the rollback went on, and found legacy dead"
        evacuate(it)
    is_there(it)


def test_a_target_that_dies_meanwhile_stops_it_held(it: ModelEngine) -> None:
    some(it)
    legacy_dies(it)
    it.world.controls["train"].slow = 3.0
    engine = it.engine

    async def both() -> Any:
        import asyncio

        going = engine.spawn(engine.evacuate(actor="ann", reason="test"), "evacuation")
        await asyncio.sleep(1.0)
        it.world.healths["target"] = Health.DEAD
        return (await asyncio.gather(going, return_exceptions=True))[0]

    assert isinstance(it.do(both()), Exception)
    assert it.m.is_held
    assert it.m.state in (State.SOAKING, State.DUAL)
    it.world.healths["target"] = Health.ALIVE
    it.world.controls["train"].slow = 0.0
    evacuate(it)
    is_there(it)


def test_nothing_is_copied_onto_a_legacy_that_came_back_and_only_an_emergency_leads_home(it: ModelEngine) -> None:
    some(it)
    legacy_dies(it)
    evacuate(it)
    legacy_returns(it, writing=False)
    assert it.m.forced == {"ckpt", "logs"}
    assert it.do(it.engine.runner.perform(LastRound("ckpt", reverse=True, direction="backward"), run="", index=0)).rule == "SR2"
    assert give(it, "sync", dataset="ckpt", direction="reverse").rule == "SR2"
    assert it.rollback() is State.ROLLBACK_BLOCKED
    assert it.rollback("emergency") is State.ROLLED_BACK
    assert it.world.rounds == []
    assert sorted(set(it.world.settled)) == ["ckpt", "logs"]
    assert it.weights == {"chat": 0, "jobs": 0}
    assert it.writers == {"legacy": True, "target": False}
    assert it.m.forced == set()


def test_a_writer_that_comes_back_with_legacy_is_stopped_as_soon_as_it_answers(it: ModelEngine) -> None:
    some(it)
    legacy_dies(it)
    evacuate(it)
    assert it.m.unfenced_legacy == {"train"}
    assert "train could not be stopped on legacy" in it.m.holds[-1].reason
    assert it.do(it.engine.guard._fenced_legacy()) is False
    legacy_returns(it, writing=True)
    assert it.do(it.engine.guard._fenced_legacy()) is True
    assert it.writers == {"legacy": False, "target": True}
    assert it.m.unfenced_legacy == set()


def test_a_legacy_that_has_just_gone_silent_is_looked_at_and_not_believed_alive_by_an_old_proof(it: ModelEngine) -> None:
    some(it)
    it.world.ages["legacy"] = 20.0
    looked: list[str] = []

    async def look(side: Any) -> SideHealth:
        looked.append(side)
        return SideHealth(Health.UNKNOWN, 20.0, "its probe does not answer") if side == "legacy" else it.world.side(side)

    it.world.look_at_side = look  # type: ignore[method-assign]
    assert (
        give(it, "preview", command="evacuate")["reason"]
        == "legacy cannot be seen (its probe does not answer), which is not death"
    )
    assert it.m.state is State.SOAKING
    it.world.controls["train"].running["legacy"] = False
    assert evacuate(it, accept_unknown=True)["state"] == "dual"
    assert "legacy" in looked
