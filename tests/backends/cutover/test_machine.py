"""The real engine under random commands, faults, deaths of sides and kills at any failpoint: what must hold, holds after every step."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import note, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from backends.cutover.fold import fold
from backends.cutover.migration import Migration
from backends.cutover.story import describe
from backends.engine.snapshots import may_roll_back
from backends.plan.models import Plan
from backends.snapshot import Health, SideName, State
from tests.backends.cutover.model_world import ModelEngine

SIDE = st.sampled_from(["legacy", "target"])
ROUTE = st.sampled_from(["chat", "jobs"])
MODE = st.sampled_from(["graceful", "emergency"])
KILL = st.one_of(st.none(), st.none(), st.integers(0, 60))


def plain_state(m: Migration) -> str:
    """A state as text, to compare two."""
    return json.dumps({name: repr(getattr(m, name)) for name in m.__slots__ if name not in ("quiesced", "started")}) + repr(
        (sorted(m.quiesced), sorted(m.started))
    )


class Machine(RuleBasedStateMachine):
    """Rules are what people and the world do; invariants are what the engine promises."""

    plan: Plan | None = None  # of the model

    def __init__(self) -> None:
        super().__init__()
        self.it = ModelEngine(self.plan)
        self._points = self.it.failpoints()
        self._points.__enter__()

    def teardown(self) -> None:
        try:
            self._comes_home()
        finally:
            self._points.__exit__(None, None, None)
            self.it.close()

    # What people do

    @initialize(advances=st.integers(0, 6))
    def begun(self, advances: int) -> None:
        for _ in range(advances):
            self.it.wait(10)
            self.it.advance()

    @rule(kill=KILL, only=st.one_of(st.none(), ROUTE), wait=st.booleans())
    def advance(self, kill: int | None, only: str | None, wait: bool) -> None:
        if wait:
            self.it.wait(10)
        self.it.kill_in = kill
        self._tell("advance", self.it.advance(only))

    @rule(mode=MODE, kill=KILL, accept=st.booleans())
    def rollback(self, mode: str, kill: int | None, accept: bool) -> None:
        if may_roll_back(self.it.m):
            self.it.kill_in = kill
            self._tell(f"rollback {mode}", self.it.rollback(mode, accept_unknown=accept))

    @rule(mode=MODE, steps=st.integers(0, 80), slow=st.sampled_from([0.0, 5.0]))
    def rollback_in_the_middle_of_an_advance(self, mode: Any, steps: int, slow: float) -> None:
        self._slow(slow)
        self.it.wait(10)
        self._tell("advance, then rollback", self.it.do(self._overtaken(mode, steps)))
        self._slow(0.0)

    @rule(steps=st.integers(0, 80), slow=st.sampled_from([0.0, 5.0]))
    def emergency_in_the_middle_of_a_rollback(self, steps: int, slow: float) -> None:
        if may_roll_back(self.it.m):
            self._slow(slow)
            self._tell("rollback, then emergency", self.it.do(self._hurried(steps)))
            self._slow(0.0)

    @rule(seconds=st.floats(0.1, 3.0))
    def rollback_with_a_limit(self, seconds: float) -> None:
        if may_roll_back(self.it.m):
            self._slow(2.0)
            self._tell("limited rollback", self.it.rollback("graceful", limit=seconds))
            self._slow(0.0)

    @rule()
    def resume(self) -> None:
        self._tell("resume", self.it.resume())

    @rule()
    def kill_at_rest(self) -> None:
        self.it.world.dead_engine = True
        self.it.start()

    # What the world does

    @rule(side=SIDE, health=st.sampled_from(list(Health)))
    def side_changes(self, side: SideName, health: Health) -> None:
        self.it.world.healths[side] = health

    @rule(side=SIDE)
    def side_lives(self, side: SideName) -> None:
        self.it.world.healths[side] = Health.ALIVE

    @rule(name=ROUTE, failing=st.sampled_from([0, 1, 3, 20]), deaf=st.booleans())
    def route_fails(self, name: str, failing: int, deaf: bool) -> None:
        route = self.it.world.routes[name]
        route.failing, route.deaf = failing, deaf

    @precondition(lambda self: self.it.m.armed is not None)
    @rule(name=ROUTE, weight=st.sampled_from([0, 30, 100]))
    def somebody_else_sets_it(self, name: str, weight: int) -> None:
        self.it.world.routes[name].weight = weight

    @rule(side=SIDE, how=st.sampled_from(["stuck", "half"]))
    def writer_does_not_listen(self, side: SideName, how: str) -> None:
        getattr(self.it.world.controls["train"], how).add(side)

    @rule(dataset=st.sampled_from(["ckpt", "logs"]))
    def sync_does_not_reach_zero(self, dataset: str) -> None:
        self.it.world.out_of_sync.add(dataset)
        self.it.world.unsettled.add(dataset)

    @rule()
    def faults_end(self) -> None:
        self._mend()

    @rule()
    def the_guard_looks(self) -> None:
        self.it.do(self._guard())

    # What always holds

    @invariant()
    def nothing_happened_that_must_not(self) -> None:
        assert not self.it.world.wrong, f"{self.it.world.wrong} {self._tail()}"

    @invariant()
    def only_the_tokens_writer_runs(self) -> None:
        m, running = self.it.m, {s for s, r in self.it.writers.items() if r}
        writers = {m.token(d).writer for d in ("ckpt", "logs")}
        if not m.unfenced and not m.unfenced_legacy:
            assert len(running) <= 1, f"two sides write: {self._tail()}"
        if "target" in running and not m.unfenced:
            assert "legacy" not in writers, f"the target writes without the token: {self._tail()}"
        if "legacy" in running and not m.unfenced_legacy:
            assert "target" not in writers, f"legacy writes without the token: {self._tail()}"

    @invariant()
    def the_journal_is_the_state(self) -> None:
        assert plain_state(fold(self.it.events)) == plain_state(self.it.m)

    @invariant()
    def nothing_is_left_open(self) -> None:
        assert not self.it.m.ops, self._tail()
        assert self.it.m.open_run is None, self._tail()
        assert self.it.m.state not in (State.SHIFTING, State.ROLLING_BACK)

    @invariant()
    def production_home_is_told_only_when_it_is(self) -> None:
        m = self.it.m
        if m.state is State.ROLLED_BACK:
            assert all(m.token(d).writer == "legacy" for d in ("ckpt", "logs"))
            assert not m.unfenced

    # How

    def _tail(self) -> str:
        """The journal's last events, for a failure's message."""
        return "\n" + "\n".join(f"{e.seq} {e.kind}: {describe(e)[0]}" for e in self.it.events[-60:])

    def _tell(self, what: str, ended: Any) -> None:
        note(f"{what}: {ended!r}; now {self.it.m.state}, {self.it.weights}, {self.it.writers}")

    def _slow(self, seconds: float) -> None:
        for route in self.it.world.routes.values():
            route.slow = seconds
        self.it.world.controls["train"].slow = seconds

    async def _overtaken(self, mode: Any, steps: int) -> Any:
        import asyncio

        engine = self.it.engine
        forward = engine.spawn(engine.advance(actor="test"), "forward")
        for _ in range(steps):
            await asyncio.sleep(0.05)
        ended = await engine.rollback(mode=mode, actor="test", reason="test") if may_roll_back(engine.migration) else None
        await asyncio.gather(forward, return_exceptions=True)
        return ended

    async def _hurried(self, steps: int) -> Any:
        import asyncio

        engine = self.it.engine
        graceful = engine.spawn(engine.rollback(mode="graceful", actor="test", reason="test"), "graceful")
        for _ in range(steps):
            await asyncio.sleep(0.05)
        if not may_roll_back(engine.migration):
            return await graceful
        ended = await engine.rollback(mode="emergency", actor="test", reason="test")
        await asyncio.gather(graceful, return_exceptions=True)
        return ended

    async def _guard(self) -> None:
        guard, engine = self.it.engine.guard, self.it.engine
        for name in self.it.world.routes:
            await guard._read_route(name)
        await guard._health()
        if engine.migration.state is State.RECONCILING:
            await guard._settle()

    def _mend(self) -> None:
        world = self.it.world
        for route in world.routes.values():
            route.failing, route.deaf, route.slow = 0, False, 0.0
        control = world.controls["train"]
        control.stuck.clear()
        control.half.clear()
        world.out_of_sync.clear()
        world.unsettled.clear()

    def _comes_home(self) -> None:
        """With both sides alive and nothing broken, a rollback brings everything home."""
        self._mend()
        self.it.kill_in = None
        self.it.world.healths = {"legacy": Health.ALIVE, "target": Health.ALIVE}
        for _ in range(3):
            self.it.do(self._guard())
            if may_roll_back(self.it.m) and self.it.m.state is not State.RECONCILING:
                # Where legacy may hold what target lacks, the only way home is the one that overwrites nothing.
                ended = self.it.rollback("emergency" if self.it.m.forced else "graceful")
                assert ended in (State.ROLLED_BACK, State.RECONCILING), f"{ended!r} {self._tail()}"
        if self.it.m.state is State.DECOMMISSIONED:
            return  # legacy is gone: there is no way home
        if self.it.m.armed is not None:  # else the routes are nobody's yet
            assert not any(self.it.weights.values()), self._tail()
        assert self.it.writers == {"legacy": True, "target": False}, self._tail()
        assert not self.it.m.has_effects, self._tail()
        self.nothing_happened_that_must_not()


def test_whatever_happens_production_comes_home_and_two_never_write() -> None:
    run_state_machine_as_test(Machine, settings=settings(max_examples=150, stateful_step_count=15, deadline=None))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_whatever_happens_for_long() -> None:
    run_state_machine_as_test(Machine, settings=settings(max_examples=5000, stateful_step_count=40, deadline=None))
