"""cutover.md, section 4: what an emergency would leave behind is known to be nothing only by a look that began after target's writer had
stopped, and no automatic emergency leaves a gap that the plan does not accept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from backends.cutover.migration import Migration
from backends.engine.follow import Followers
from backends.engine.judge import Judge
from backends.plan.models import Plan, Trigger
from backends.snapshot import Health, Lag, State
from backends.transfer.models import Direction, RoundResult
from backends.validation.trigger import TriggerResult
from backends.verdict import Verdict
from tests.backends.cutover.model_world import ModelEngine, plan_of, story


@pytest.fixture
def it() -> Iterator[ModelEngine]:
    made = ModelEngine()
    yield made
    assert not made.world.wrong
    made.close()


@dataclass
class Desk:
    """What followers ask of the engine. Its clock stands where it is put."""

    plan: Plan = field(default_factory=plan_of)
    migration: Migration = field(default_factory=Migration)
    now: float = 0.0
    recovering: bool = False

    def observed_now(self) -> float:
        return self.now

    @property
    def world(self) -> Any:
        return SimpleNamespace(session=SimpleNamespace(index=self))

    async def proof_counts(self, dataset: str) -> dict[str, int]:
        return {}

    async def record(self, kind: str, data: dict[str, Any], *, actor: str = "engine") -> None:
        """Nothing here is read from the journal."""


def round_of(dataset: str, direction: Direction = "reverse", lag: int = 0, **more: Any) -> RoundResult:
    told: dict[str, Any] = {"listed": 6, "copied": 0, "unchanged": 6, "deleted": 0, "failed": 0, "bytes": 0, "seconds": 2.0}
    told |= {"proofs": {}, "failures": (), "repaired": (), "lag_objects": lag, "lag_bytes": 10 * lag, "lag_seconds": 4.0 * lag}
    return RoundResult(dataset=dataset, direction=direction, objects_total=6, bytes_total=60, **(told | more))


def op(kind: str, **args: Any) -> list[tuple[str, dict[str, Any]]]:
    """An operation, meant and confirmed."""
    told = {"id": kind, "kind": kind, "args": args}
    return [("op.intent", told | {"direction": "backward"}), ("op.confirmed", told)]


def handed_over() -> tuple[Followers, Desk]:
    """Both datasets are target's since 0 s, and its writer runs there."""
    desk = Desk()
    for name in ("ckpt", "logs"):
        desk.migration.token(name).writer, desk.migration.token(name).epoch = "target", 1
    return Followers(desk), desk  # type: ignore[arg-type]


async def looked(followers: Followers, began: float, lag: int = 0) -> None:
    for name in ("ckpt", "logs"):
        await followers.note(round_of(name, lag=lag), began)


async def test_a_look_from_while_the_writer_runs_says_how_old_it_is_and_that_there_may_be_more() -> None:
    followers, desk = handed_over()
    assert followers.reverse_lag() == Lag(), "nobody has looked"
    await looked(followers, 100.0)
    desk.now = 104.0
    seen = followers.reverse_lag()
    assert (seen.objects, seen.age, seen.seconds, seen.may_be_more, seen.is_zero) == (0, 4.0, 4.0, True, False)
    desk.now = 3700.0
    assert followers.reverse_lag().age == 3600.0
    assert followers.reverse_lag().seconds == 3600.0


async def test_the_oldest_look_of_all_datasets_counts() -> None:
    followers, desk = handed_over()
    await looked(followers, 100.0)
    await followers.note(round_of("ckpt"), 130.0)
    desk.now = 140.0
    assert followers.reverse_lag().age == 40.0


async def test_only_a_look_that_began_after_the_writer_stopped_is_known_to_be_zero() -> None:
    followers, desk = handed_over()
    desk.migration = story(*op("quiesce", workload="train", side="target"), migration=desk.migration)  # at 2 s
    desk.now = 10.0
    await looked(followers, 1.9)
    assert not followers.reverse_lag().is_zero, "it may have written between the look and its end"
    await looked(followers, 2.0)
    assert followers.reverse_lag().is_zero
    assert followers.reverse_lag().seconds == 0.0


async def test_a_writer_that_may_have_been_started_again_may_have_written() -> None:
    followers, desk = handed_over()
    story(*op("quiesce", workload="train", side="target"), migration=desk.migration)
    await looked(followers, 3.0)
    story(op("resume", workload="train", side="target")[0], migration=desk.migration)
    desk.now = 20.0
    assert followers.reverse_lag().may_be_more


async def test_a_last_round_that_was_proven_is_a_look_that_a_restart_remembers() -> None:
    followers, desk = handed_over()
    story(*op("quiesce", workload="train", side="target"), migration=desk.migration)
    for name in ("ckpt", "logs"):
        story(*op("last_round", dataset=name, reverse=True), migration=desk.migration)
    desk.now = 10.0
    assert not followers.all["ckpt"].last, "as after a restart"
    assert followers.reverse_lag().is_zero


async def test_what_was_seen_before_target_got_the_token_again_says_nothing() -> None:
    followers, desk = handed_over()
    for name in ("ckpt", "logs"):
        story(*op("last_round", dataset=name, reverse=True), migration=desk.migration)
        story(*op("token", dataset=name, writer="target", epoch=3), migration=desk.migration)
    assert followers.reverse_lag() == Lag()


async def test_a_round_of_what_had_failed_alone_is_no_look() -> None:
    followers, desk = handed_over()
    await looked(followers, 100.0, lag=3)
    await followers.note(round_of("ckpt", only_failed=True, listed=1, unchanged=1), 150.0)
    desk.now = 160.0
    assert (followers.reverse_lag().objects, followers.reverse_lag().age) == (6, 60.0)


async def test_what_is_missing_grows_older() -> None:
    followers, desk = handed_over()
    story(*op("quiesce", workload="train", side="target"), migration=desk.migration)
    await looked(followers, 10.0, lag=3)
    desk.now = 42.0
    assert followers.reverse_lag().seconds == 12.0 + 30.0, "4 s an object at the end of a look of 2 s, 30 s ago"


def test_no_emergency_by_itself_while_target_may_have_written_since_the_last_look(it: ModelEngine) -> None:
    it.to_dual()
    it.engine.followers.lag = Lag(objects=0, bytes=0, seconds=31.0, age=31.0, may_be_more=True)  # type: ignore[attr-defined]
    it.world.healths["target"] = Health.DEAD
    it.do(it.engine.guard._health())
    assert it.m.state is State.DUAL
    assert "target may have written since the last look, 31 s ago; an operator decides" in it.m.holds[0].reason
    assert "a data gap of unknown size" in it.engine.rollback_plan("emergency").warnings[-1]


def test_a_trigger_that_names_an_emergency_takes_the_graceful_way_where_that_would_leave_a_gap(it: ModelEngine) -> None:
    it.to_dual()
    it.engine.followers.lag = Lag(objects=0, bytes=0, age=3.0, may_be_more=True)  # type: ignore[attr-defined]
    breached(it, emergency_gap=None)
    assert (it.m.state, it.m.run.mode if it.m.run else "") == (State.ROLLED_BACK, "graceful")
    assert "graceful, since an emergency would leave a data gap of unknown size" in it.m.run.reason  # type: ignore[union-attr]


def test_a_trigger_whose_gap_is_accepted_takes_the_emergency_it_names_whatever_time_that_takes(it: ModelEngine) -> None:
    it.to_dual()
    it.engine.followers.lag = Lag()  # type: ignore[attr-defined]
    it.world.routes["chat"].slow = 5.0
    breached(it, emergency_gap="accepted", limit="1s")
    assert (it.m.state, it.m.run.mode if it.m.run else "") == (State.ROLLED_BACK, "emergency")


def breached(it: ModelEngine, **more: Any) -> None:
    """A trigger that calls for an emergency has breached."""
    trigger = Trigger.model_validate({"measure": "errors", "action": "rollback", "mode": "emergency"} | more)
    judge = Judge(it.engine, it.engine.followers)
    it.do(judge._breached(trigger, TriggerResult(Verdict.BREACH, 0.5, 0.1, "fraction", "errors"), "trigger errors"))
