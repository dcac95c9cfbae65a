"""Commands, rollbacks and restarts of the real engine on a model world: what once broke, by its name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from backends.engine.core import Engine
from backends.engine.errors import JournalFull
from backends.engine.snapshots import may_roll_back
from backends.errors import RefusedByRule
from backends.snapshot import Health, Lag, State
from backends.traffic.base import RouteError
from tests.backends.cutover.model_world import Killed, ModelEngine, ModelJournal


@pytest.fixture
def it() -> Iterator[ModelEngine]:
    made = ModelEngine()
    with made.failpoints():
        yield made
    assert not made.world.wrong
    made.close()


def killed_at(it: ModelEngine, wanted: str, body: Any) -> None:
    """Kill the engine where it first passes the failpoint `wanted`, and start it again."""
    own, due = it.failpoint, [wanted]

    def failpoint(name: str) -> None:
        if due == [name]:
            due.clear()
            it.kill_in = 0
            own(name)

    it.failpoint = failpoint  # type: ignore[method-assign]
    with it.failpoints():
        assert isinstance(it.do(body), Killed)
    it.failpoint = own  # type: ignore[method-assign]


async def after(engine: Engine, seconds: float, first: Any, then: Any) -> Any:
    """`then()` some time into `first`."""
    running = engine.spawn(first, "first")
    await asyncio.sleep(seconds)
    ended = await then()
    await asyncio.gather(running, return_exceptions=True)
    return ended


def rolling(engine: Engine, mode: Any = "graceful", **more: Any) -> Any:
    return engine.rollback(mode=mode, actor="test", reason="test", **more)


def test_who_asked_for_a_rollback_learns_how_the_emergency_ends_that_took_it_over(it: ModelEngine) -> None:
    it.to_dual()
    it.world.routes["chat"].slow = 5.0
    engine = it.engine

    async def both() -> Any:
        first = engine.spawn(rolling(engine), "first")
        await asyncio.sleep(1.0)
        await rolling(engine, "emergency")
        return await first

    assert it.do(both()) is State.ROLLED_BACK


def test_a_rollback_that_is_asked_for_again_still_sees_the_clients_leave_of_what_is_home(it: ModelEngine) -> None:
    it.to_dual()
    it.world.controls["train"].stuck.add("target")
    assert it.rollback() is State.ROLLBACK_BLOCKED
    assert it.weights == {"chat": 0, "jobs": 100}
    it.world.controls["train"].stuck.clear()
    since = len(it.events)
    assert it.rollback() is State.ROLLED_BACK
    drained = [e.data["args"]["route"] for e in it.events[since:] if e.kind == "op.confirmed" and e.data["kind"] == "drain"]
    assert drained == ["chat", "jobs"]
    assert not any(route.leaving for route in it.m.routes.values())


def test_clients_that_somebody_else_sent_to_target_are_seen_to_leave_too(it: ModelEngine) -> None:
    for _ in range(4):
        it.advance()
    it.world.routes["chat"].weight = 30
    it.do(it.engine.guard._read_route("chat"))
    assert it.m.is_held
    killed_at(it, "drain.backward.before-intent", rolling(it.engine))
    told = [e.data["args"]["route"] for e in it.events if e.kind == "op.confirmed" and e.data["kind"] == "drain"]
    assert (it.m.state, told) == (State.ROLLED_BACK, ["chat"])


def test_a_fault_of_our_own_in_one_routes_step_keeps_no_other_from_home_and_is_told(
    it: ModelEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(weight: int, expected: int | None) -> None:
        raise AttributeError("'NoneType' object has no attribute 'get'")

    it.to_dual()
    chat = it.world.routes["chat"]
    with monkeypatch.context() as patched:
        patched.setattr(chat, "set", broken)
        assert it.rollback() is State.ROLLBACK_BLOCKED
    assert it.weights == {"chat": 100, "jobs": 0}
    assert (it.m.away, it.m.ops) == ({"chat"}, {})
    told = [e.data["reason"] for e in it.events if e.kind == "op.failed"]
    assert told == ["a fault of the engine itself: AttributeError (engine.log has the place)"]
    assert it.rollback() is State.ROLLED_BACK


@pytest.mark.parametrize("call", ["set", "confirm"])
def test_servers_that_are_asked_at_once_and_do_not_answer_for_a_while_are_waited_for(
    it: ModelEngine, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    it.to_dual()
    chat = it.world.routes["chat"]
    asked, real = list[int](), getattr(chat, call)

    async def silent(*args: Any, **more: Any) -> Any:
        asked.append(1)
        if len(asked) < 4:
            raise ExceptionGroup(
                "tasks", [ExceptionGroup("inner", [RouteError("ns1 does not answer")]), RouteError("nor does ns2")]
            )
        return await real(*args, **more)

    monkeypatch.setattr(chat, call, silent)
    assert it.rollback() is State.ROLLED_BACK
    assert len(asked) >= 4
    assert [e for e in it.events if e.kind == "op.failed"] == []


def test_an_emergency_takes_over_a_rollback_whose_route_hangs_and_still_sets_that_route(it: ModelEngine) -> None:
    it.to_dual()
    it.world.routes["chat"].slow = 5.0
    engine = it.engine
    ended = it.do(after(engine, 1.0, rolling(engine), lambda: rolling(engine, "emergency")))
    assert ended is State.ROLLED_BACK
    assert it.weights == {"chat": 0, "jobs": 0}


def test_a_rollback_in_the_middle_of_a_stop_starts_legacys_writer_again(it: ModelEngine) -> None:
    for _ in range(4):
        it.advance()
    it.world.controls["train"].slow = 3.0
    engine = it.engine
    assert it.do(after(engine, 1.0, engine.advance(actor="test", only="jobs"), lambda: rolling(engine))) is State.ROLLED_BACK
    assert it.writers == {"legacy": True, "target": False}


def test_a_stop_that_failed_half_way_is_undone(it: ModelEngine) -> None:
    for _ in range(4):
        it.advance()
    it.world.controls["train"].half.add("legacy")
    assert "one host did not answer" in it.advance("jobs").message
    it.world.controls["train"].half.clear()
    assert it.m.is_held
    assert it.m.has_effects
    assert it.rollback() is State.ROLLED_BACK
    assert it.writers == {"legacy": True, "target": False}


def test_a_rollback_cancels_an_advance_in_flight_and_names_the_rule(it: ModelEngine) -> None:
    for _ in range(4):
        it.advance()
    it.world.routes["chat"].slow = 5.0
    engine = it.engine

    async def both() -> Any:
        running = engine.spawn(engine.advance(actor="test", only="chat"), "advance")
        await asyncio.sleep(1.0)
        await rolling(engine)
        return (await asyncio.gather(running, return_exceptions=True))[0]

    refused = it.do(both())
    assert isinstance(refused, RefusedByRule)
    assert refused.rule == "SR6"
    assert it.m.state is State.ROLLED_BACK


def test_no_advance_slips_in_between_a_rollbacks_beginning_and_its_state(it: ModelEngine) -> None:
    it.to_dual()
    engine = it.engine

    async def both() -> Any:
        rollback = engine.spawn(rolling(engine), "rollback")
        while not engine.is_going_back:  # noqa: ASYNC110 - one turn of the loop at a time  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0)
        assert engine.migration.state is State.DUAL
        refused = (await asyncio.gather(engine.advance(actor="test"), return_exceptions=True))[0]
        await rollback
        return refused

    refused = it.do(both())
    assert isinstance(refused, RefusedByRule)
    assert refused.rule == "SR6"
    assert it.m.state is State.ROLLED_BACK


def test_a_graceful_rollback_over_its_limit_leaves_nothing_open(it: ModelEngine) -> None:
    it.to_dual()
    it.world.routes["chat"].slow = 5.0
    assert it.rollback(limit=1.0) is State.ROLLBACK_BLOCKED
    assert not it.m.ops
    assert it.m.open_run is None
    assert "an emergency rollback would not wait" in it.events[-1].data["reason"]
    it.world.routes["chat"].slow = 0.0
    assert it.rollback() is State.ROLLED_BACK


def test_a_graceful_rollback_that_cannot_bring_the_data_home_leaves_target_serving_whole(it: ModelEngine) -> None:
    it.to_dual()
    epoch = it.m.token("ckpt").epoch
    it.world.out_of_sync.add("ckpt")
    assert it.rollback() is State.ROLLBACK_BLOCKED
    assert it.weights == {"chat": 0, "jobs": 100}
    assert it.writers == {"legacy": False, "target": True}, "clients of jobs are on target, where nobody would write"
    assert [(it.m.token(d).writer, it.m.token(d).epoch) for d in ("ckpt", "logs")] == [("target", epoch)] * 2
    assert it.events[-1].data["reason"].endswith("train goes on on target")
    it.world.out_of_sync.clear()
    assert it.rollback() is State.ROLLED_BACK
    assert it.writers == {"legacy": True, "target": False}


def test_a_limit_that_ends_a_graceful_rollback_starts_targets_writer_again_too(it: ModelEngine) -> None:
    it.to_dual()
    it.world.out_of_sync.add("logs")
    assert it.rollback(limit=30.0) is State.ROLLBACK_BLOCKED
    assert it.writers == {"legacy": False, "target": True}
    assert "an emergency rollback would not wait; train goes on on target" in it.events[-1].data["reason"]


def test_a_writer_that_cannot_be_started_on_target_again_is_told_and_started_by_the_next_try(it: ModelEngine) -> None:
    it.to_dual()
    it.world.out_of_sync.add("ckpt")
    control, engine = it.world.controls["train"], it.engine

    async def sticks() -> None:
        control.stuck.add("target")

    it.do(after(engine, 5.0, rolling(engine), sticks))
    assert it.m.state is State.ROLLBACK_BLOCKED
    assert "train was stopped on target and could not be started there again" in it.events[-1].data["reason"]
    control.stuck.clear()
    assert it.rollback() is State.ROLLBACK_BLOCKED
    assert it.writers == {"legacy": False, "target": True}


@pytest.mark.parametrize("point", ["run.stay.after-started", "token.safety.after-confirmed", "resume.safety.after-send"])
def test_a_kill_while_target_is_given_back_what_was_on_its_way_lets_the_rollback_go_on(it: ModelEngine, point: str) -> None:
    it.to_dual()
    it.world.out_of_sync.add("ckpt")
    killed_at(it, point, rolling(it.engine))
    assert it.m.state is State.ROLLBACK_BLOCKED
    assert it.writers == {"legacy": False, "target": True}
    assert (it.m.ops, it.m.open_run) == ({}, None)


@pytest.mark.parametrize("killed", range(0, 48, 3))
def test_a_blocked_rollback_that_is_killed_anywhere_ends_with_target_whole(it: ModelEngine, killed: int) -> None:
    it.to_dual()
    it.world.out_of_sync.add("ckpt")
    it.kill_in = killed
    it.rollback()
    it.kill_in = None
    if it.m.state is State.DUAL:
        assert killed == 0, "killed before it had begun"
        it.rollback()
    assert it.m.state is State.ROLLBACK_BLOCKED
    assert it.writers == {"legacy": False, "target": True}
    it.world.out_of_sync.clear()
    assert it.rollback() is State.ROLLED_BACK


def test_a_rollback_goes_on_until_its_route_answers_again(it: ModelEngine) -> None:
    it.to_dual()
    it.world.routes["chat"].failing = 7  # longer than all the first pauses together
    assert it.rollback() is State.ROLLED_BACK
    assert it.weights == {"chat": 0, "jobs": 0}


def test_a_step_whose_time_is_over_says_what_was_last_seen(it: ModelEngine) -> None:
    it.to_dual()
    it.world.routes["chat"].deaf = True
    assert it.rollback() is State.ROLLBACK_BLOCKED
    assert "not seen within 20 s: holds 100" in it.events[-1].data["reason"]


def test_an_advance_that_could_not_be_read_back_can_be_rolled_back(it: ModelEngine) -> None:
    for _ in range(4):
        it.advance()
    it.world.routes["chat"].slow = 30.0  # its authority takes the weight only after our limit
    it.advance("chat")
    it.world.routes["chat"].slow = 0.0
    it.world.routes["chat"].weight = 50
    it.do(it.engine.guard._read_route("chat"))
    assert may_roll_back(it.m)
    assert it.rollback() is State.ROLLED_BACK
    assert it.weights["chat"] == 0


@pytest.mark.parametrize(
    "point",
    [
        "fence.backward.after-confirmed",
        "token.backward.after-confirmed",
        "resume.backward.after-sent",
        "settle_gap.backward.after-sent",
    ],
)
def test_a_killed_emergency_still_settles_the_gap(it: ModelEngine, point: str) -> None:
    it.to_dual()
    killed_at(it, point, rolling(it.engine, "emergency"))
    assert it.m.state is State.ROLLED_BACK
    assert sorted(set(it.world.settled)) == ["ckpt", "logs"]
    assert it.writers == {"legacy": True, "target": False}


def test_a_target_that_cannot_be_fenced_is_unfenced_until_it_is(it: ModelEngine) -> None:
    it.to_dual()
    it.world.controls["train"].stuck.add("target")
    assert it.rollback("emergency") is State.RECONCILING
    assert it.m.unfenced
    it.do(it.engine.guard._settle())
    assert it.m.state is State.RECONCILING
    it.world.controls["train"].stuck.clear()
    it.do(it.engine.guard._settle())
    assert it.m.state is State.ROLLED_BACK
    assert not it.m.unfenced
    assert not it.m.has_effects


def test_a_second_rollback_while_reconciling_skips_no_gap(it: ModelEngine) -> None:
    it.to_dual()
    it.world.unsettled.add("logs")
    assert it.rollback("emergency") is State.RECONCILING
    assert it.rollback() is State.RECONCILING
    it.world.unsettled.clear()
    assert it.rollback() is State.ROLLED_BACK
    assert "logs" in it.world.settled


@pytest.mark.parametrize("point", ["run.reconcile.after-started", "fence.backward.after-sent", "settle_gap.backward.after-sent"])
def test_a_reconcile_that_is_killed_begins_again(it: ModelEngine, point: str) -> None:
    it.to_dual()
    it.world.unsettled.add("logs")
    it.rollback("emergency")
    killed_at(it, point, it.engine.guard._settle())
    assert it.m.state is State.RECONCILING
    it.world.unsettled.clear()
    it.do(it.engine.guard._settle())
    assert it.m.state is State.ROLLED_BACK


def test_an_accepted_unknown_stays_accepted_over_a_restart(it: ModelEngine) -> None:
    it.to_dual()
    it.world.healths["legacy"] = Health.UNKNOWN
    killed_at(it, "weight.backward.after-sent", rolling(it.engine, accept_unknown=True))
    assert it.m.state is State.ROLLED_BACK
    assert it.weights == {"chat": 0, "jobs": 0}


def test_a_handover_killed_between_two_tokens_is_finished(it: ModelEngine) -> None:
    for _ in range(4):
        it.advance()
    killed_at(it, "token.safety.before-intent", it.engine.advance(actor="test", only="jobs"))
    assert [it.m.token(d).writer for d in ("ckpt", "logs")] == ["target", "target"]
    assert it.writers == {"legacy": False, "target": True}
    assert it.weights["jobs"] == 100


def test_somebody_elses_weight_after_a_rollback_can_be_rolled_back_too(it: ModelEngine) -> None:
    it.to_dual()
    it.rollback()
    it.world.routes["chat"].weight = 30
    it.do(it.engine.guard._read_route("chat"))
    assert may_roll_back(it.m)
    assert it.rollback() is State.ROLLED_BACK
    assert it.weights["chat"] == 0


def test_what_the_target_wrote_is_not_lost_by_itself(it: ModelEngine) -> None:
    it.to_dual()
    it.engine.followers.lag = Lag(objects=2)  # type: ignore[attr-defined]
    it.world.healths["target"] = Health.DEAD
    it.do(it.engine.guard._health())
    assert it.m.state is State.DUAL
    assert "would leave a data gap" in it.m.holds[0].reason


def test_a_dead_target_brings_production_home_by_itself(it: ModelEngine) -> None:
    for _ in range(4):
        it.advance()
    it.advance("chat")
    it.world.healths["target"] = Health.DEAD
    it.do(it.engine.guard._health())
    assert it.m.state is State.ROLLED_BACK
    assert it.weights == {"chat": 0, "jobs": 0}


def test_a_dead_legacy_at_100_blocks_and_is_lifted_only_to_held(it: ModelEngine) -> None:
    it.to_dual()
    it.world.healths["legacy"] = Health.DEAD
    it.do(it.engine.guard._health())
    assert it.m.state is State.ROLLBACK_BLOCKED
    assert it.weights == {"chat": 100, "jobs": 100}
    it.world.healths["legacy"] = Health.ALIVE
    it.resume()
    assert it.m.state is State.DUAL
    assert it.m.is_held
    assert it.rollback() is State.ROLLED_BACK


def test_a_resume_after_a_rollback_needs_a_reason_and_asks_every_gate_again(it: ModelEngine) -> None:
    it.to_dual()
    it.rollback()
    refused = it.do(it.engine.resume(actor="test", reason=" "))
    assert refused.rule == "STATE"
    it.resume()
    assert (it.m.state, it.m.phase, it.m.armed) == (State.PREPARING, "staging", None)


def test_a_window_counts_observed_time_alone(it: ModelEngine) -> None:
    it.to_dual()
    it.wait(19.9)
    assert it.advance().rule == "WINDOW"
    it.world.dead_engine = True
    it.wait(3600.0)  # nobody observes
    it.start()
    assert it.advance().rule == "WINDOW"
    it.wait(20.0)
    it.advance()
    assert it.m.state is State.COMMITTED


class FullJournal:
    """A journal that cannot be written: everything that may go elsewhere does, the rest is refused."""

    def __init__(self, journal: ModelJournal) -> None:
        self._journal = journal
        self.elsewhere: list[str] = []

    async def append(self, kind: str, data: dict[str, Any], *, actor: str, observed: float, may_spill: bool = False) -> Any:
        if not may_spill:
            raise JournalFull("the journal cannot be written: disk full")
        self.elsewhere.append(str(kind))
        return await self._journal.append(kind, data, actor=actor, observed=observed)


def test_with_a_full_disk_nothing_moves_forward(it: ModelEngine) -> None:
    for _ in range(4):
        it.advance()
    it.engine.journal = FullJournal(it.engine.journal)  # type: ignore[assignment, arg-type]
    assert isinstance(it.advance(), JournalFull)
    assert it.weights == {"chat": 0, "jobs": 0}
    assert it.m.state is State.ARMED


def test_with_a_full_disk_a_dead_target_still_brings_production_home(it: ModelEngine) -> None:
    for _ in range(4):
        it.advance()
    it.advance("chat")
    it.engine.journal = FullJournal(it.engine.journal)  # type: ignore[assignment, arg-type]
    it.world.healths["target"] = Health.DEAD
    it.do(it.engine.guard._sides())
    it.do(it.engine.guard._health())
    assert it.m.state is State.ROLLED_BACK
    assert it.weights == {"chat": 0, "jobs": 0}


def test_with_a_full_disk_a_rollback_still_cancels_an_advance(it: ModelEngine) -> None:
    it.to_dual()
    it.rollback()
    it.resume()
    it.advance()
    it.world.routes["chat"].slow = 5.0
    engine = it.engine

    async def filled() -> Any:
        engine.journal = FullJournal(engine.journal)  # type: ignore[assignment, arg-type]
        return await rolling(engine)

    assert it.do(after(engine, 1.0, engine.advance(actor="test", only="chat"), filled)) is State.ROLLED_BACK
    assert it.weights == {"chat": 0, "jobs": 0}


@pytest.mark.parametrize("limit", [None, 60.0])
def test_a_comparison_that_takes_hours_blocks_no_rollback_whose_production_is_home(it: ModelEngine, limit: float | None) -> None:
    it.to_dual()
    it.world.comparing = 7200.0
    engine = it.engine
    assert it.do(rolling(engine, limit=limit)) is State.ROLLED_BACK
    assert it.weights == {"chat": 0, "jobs": 0}
    assert it.writers == {"legacy": True, "target": False}
    run = it.m.run
    assert run is not None
    told = [detail for step, detail in zip(run.steps, run.detail, strict=True) if step["kind"] == "compare"]
    assert told == [f"not compared to the end within 600 s: cutover verify --dataset {d} asks again" for d in ("ckpt", "logs")]
    assert "the comparison of ckpt, logs did not come to its end" in it.events[-1].data["reason"]


def test_a_triggered_rollback_that_is_not_home_in_time_is_still_told(it: ModelEngine) -> None:
    it.to_dual()
    it.world.routes["chat"].slow = 5.0
    assert it.do(rolling(it.engine, limit=3.0)) is State.ROLLBACK_BLOCKED
    assert "did not end within 3 s" in it.events[-1].data["reason"]
