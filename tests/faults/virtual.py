"""The real engine over the effects model, in virtual time: journal on disk, guard, watchers and recovery as in the real process.

A kill is a kill -9: nothing of the engine runs any more, and the next one finds the files as they were.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any
from unittest.mock import patch

from backends.cutover.events import Event
from backends.cutover.fold import fold
from backends.cutover.migration import Migration
from backends.cutover.story import describe
from backends.dataset_view import Lag
from backends.engine import journal as journal_module
from backends.engine.core import Engine
from backends.engine.journal import Head, Journal, read_events, verify_chain
from backends.engine.process import _recovered
from backends.engine.sides import SideWatch
from backends.errors import CutoverError
from backends.probes.endpoint import EndpointResult
from backends.vocabulary import SIDES, State
from tests.backends.cutover.model_world import BEGINNING, JumpingLoop, Killed, _Inline, fit
from tests.faults.effects import EffectsWorld

MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
LONGEST = 2 * 3600.0  # virtual seconds that anything may take
SETTLED = 40.0  # virtual seconds in which late effects land and the guard has seen them


class VirtualTime:
    """Stands where a module says `time`. `jumped` is how far the wall clock has been put."""

    CLOCK_BOOTTIME = time.CLOCK_BOOTTIME

    def __init__(self, loop: JumpingLoop) -> None:
        self._loop = loop
        self.jumped = 0.0

    def monotonic(self) -> float:
        return self._loop.now

    def clock_gettime(self, clock: int) -> float:
        return self._loop.now

    def time(self) -> float:
        return BEGINNING.timestamp() + self._loop.now + self.jumped

    def now(self, zone: tzinfo) -> datetime:
        """As `datetime.now`."""
        return datetime.fromtimestamp(self.time(), zone)


class DiskJournal(Journal):
    """The real journal. A killed engine writes nothing more, and `full` is a full disk."""

    def __init__(self, state: Path, world: EffectsWorld) -> None:
        super().__init__(state)
        self._thread = _Inline(1)
        self._world = world
        self.full = False

    async def append(self, *args: Any, **more: Any) -> Event:
        self._world.lives()
        await asyncio.sleep(0)
        self._world.lives()
        return await super().append(*args, **more)

    def _insert(self, *args: Any, **more: Any) -> Event:
        if self.full:
            raise sqlite3.OperationalError("database or disk is full")
        return super()._insert(*args, **more)

    def die(self) -> None:
        """Leave the files as a kill does: nothing is folded back into the database."""
        kept = self._state.with_name("kept")
        shutil.copytree(self._state, kept)
        self._close()
        shutil.rmtree(self._state)
        kept.rename(self._state)


class _Followers:
    def __init__(self, world: EffectsWorld) -> None:
        self._world = world

    def reverse_lag(self) -> Lag:
        """As it truly is, and only while it can be seen."""
        world = self._world
        if world.dead_since["target"] is not None or world.cut_off or world.stores_gone:
            return Lag()
        missing = sum(len(held["target"] - held["legacy"]) for held in world.data.values())
        return Lag(objects=missing, bytes=0, seconds=0.0)

    def forward_gap(self, names: list[str]) -> Lag:
        """What legacy alone holds."""
        missing = sum(len(self._world.data[n]["legacy"] - self._world.data[n]["target"]) for n in names)
        return Lag(objects=missing, bytes=0, seconds=0.0)


@dataclass(frozen=True, slots=True)
class Saved:
    """A moment to begin from, again and again."""

    state: Path
    now: float
    weights: dict[str, int]
    running: dict[str, dict[str, list[bool]]]
    data: dict[str, dict[str, set[int]]]


class EffectsEngine:
    """The real engine on an effects world, on a loop of its own. `at` does something at a point that it passes."""

    def __init__(self, saved: Saved | None = None) -> None:
        self.loop = JumpingLoop()
        self.time = VirtualTime(self.loop)
        self.folder = Path(tempfile.mkdtemp(prefix="cutover-faults-", dir=MEMORY))
        self.state = self.folder / "state"
        self.world = EffectsWorld(self.time)
        self.world.killable = self.point
        self.engine: Engine
        self.journal: DiskJournal
        self.background: list[asyncio.Task[Any]] = []
        self.points: list[str] = []
        self.kills = 0
        self._due: dict[int, Callable[[], None]] = {}
        self._patches = ExitStack()
        self._patch()
        if saved is None:
            self.state.mkdir()
        else:
            self._restore(saved)
        self.start()

    def close(self) -> None:
        """Everything of it ends; no file is left."""
        self.world.dead_engine = True
        self.run(self._bury())
        self.journal._close()
        self._patches.close()
        self.loop.close()
        shutil.rmtree(self.folder)

    def _patch(self) -> None:
        """Time, chance and death are the test's; everything else is the engine's own."""
        enter = self._patches.enter_context
        for module in ("guard", "clock"):
            enter(patch(f"backends.engine.{module}.time", self.time))
        enter(patch("backends.engine.clock.datetime", self.time))
        enter(patch("backends.engine.sides.probe_url", self._probe))
        enter(patch("backends.engine.journal.write_head", self._write_head))
        for name, module in list(sys.modules.items()):
            if name.startswith("backends.") and not name.endswith("failpoints") and hasattr(module, "failpoint"):
                enter(patch(f"{name}.failpoint", self.point))

    def _write_head(self, state: Path, head: Head) -> None:
        self.point("journal.before-head")
        _WRITE_HEAD(state, head)

    async def _probe(self, url: str, timeout: float) -> EndpointResult:
        side = "legacy" if "legacy" in url else "target"
        await asyncio.sleep(0.02)
        if side in self.world.silent or self.world.cut_off:
            await asyncio.sleep(timeout)
            return EndpointResult(False, None, timeout, f"{url} does not answer", False, "timeout")
        if self.world.dead_since[side] is not None:  # type: ignore[index]
            return EndpointResult(False, None, 0.0, f"{url} refuses the connection", False, "refused")
        return EndpointResult(True, 200, 0.0, None, True, "ok")

    # Life and death

    def start(self) -> None:
        """A new engine on the journal of the one before."""
        self.run(self._start())

    async def _start(self) -> None:
        world = self.world
        world.dead_engine = False
        self.journal = DiskJournal(self.state, world)
        engine = Engine(self.state, self.journal, await self.journal.open())
        fit(engine, world, _Followers(world))
        self.journal.plan_hash = engine.plan_hash
        world.sides = {side: SideWatch(side, world.plan, None) for side in SIDES}  # type: ignore[arg-type]
        self.engine = world.engine = engine
        if not engine.migration.name:
            await engine.record("created", {"name": "model"})
            names = {"routes": [r.name for r in engine.plan.routes], "datasets": [d.name for d in engine.plan.datasets]}
            await engine.record("plan.loaded", {"path": "plan.yaml", "hash": engine.plan_hash, "text": ""} | names)
        bodies = [
            engine.guard.run(),
            *(engine.guard.watch_route(n) for n in world.routes),
            *(w.run() for w in world.sides.values()),
        ]
        self.background = [self.loop.create_task(self._kept_up(body)) for body in bodies]
        await _recovered(engine)
        await self.idle()

    async def _kept_up(self, body: Coroutine[Any, Any, None]) -> None:
        try:
            await body
        except Killed:
            return

    async def idle(self) -> None:
        """Until nothing is in flight."""
        while self.engine.tasks and not self.world.dead_engine:
            await asyncio.gather(*self.engine.tasks, return_exceptions=True)
            await asyncio.sleep(0)
        self.world.lives()

    async def _bury(self) -> None:
        while alive := [t for t in (*self.engine.tasks, *self.background) if not t.done()]:
            for task in sorted(alive, key=asyncio.Task.get_name):
                task.cancel()
            await asyncio.gather(*alive, return_exceptions=True)
            await asyncio.sleep(0)

    def die(self) -> None:
        """kill -9, here and now."""
        self.kills += 1
        self.world.dead_engine = True
        raise Killed

    def point(self, name: str) -> None:
        """Stands in for the engine's failpoints, and for those of the model: an effect in flight, a head not yet written."""
        if self.world.dead_engine:
            raise Killed
        number = len(self.points)
        self.points.append(name)
        if (action := self._due.pop(number, None)) is not None:
            action()

    def at(self, number: int, action: Callable[[], None]) -> None:
        """Do this at the `number`-th point from now."""
        self._due[len(self.points) + number] = action

    def forget_plans(self) -> None:
        """What is still to be done at points that were never reached, is not."""
        self._due.clear()

    def run(self, body: Coroutine[Any, Any, Any]) -> Any:
        async def limited() -> Any:
            async with asyncio.timeout(LONGEST):
                return await body

        return self.loop.run_until_complete(limited())

    def do(self, body: Coroutine[Any, Any, Any]) -> Any:
        """A command to its end; an engine that is killed by it is started again. Returns what it raised, if it did."""
        ended: Any
        try:
            ended = self.run(self._done(body))
        except Killed as killed:
            ended = killed
        except CutoverError as error:
            ended = error
        if self.world.dead_engine:
            self.revive()
            return Killed()
        return ended

    async def _done(self, body: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await body
        finally:
            if not self.world.dead_engine:
                await self.idle()

    def revive(self) -> None:
        """What is left of a killed engine is cleared away, and the next one starts: at once, with orphans still at work."""
        while True:
            self.run(self._bury())
            self.journal.die()
            try:
                return self.start()
            except Killed:
                continue

    # Acts

    def advance(self, only: str | None = None) -> Any:
        return self.do(self.engine.advance(actor="test", only=only))

    def rollback(self, mode: Any = "graceful", **more: Any) -> Any:
        return self.do(self.engine.rollback(mode=mode, actor="test", reason="test", **more))

    def wait(self, seconds: float) -> None:
        """Time passes, and everything runs."""
        self.do(asyncio.sleep(seconds))

    def freeze(self, seconds: float) -> None:
        """The engine is stopped (SIGSTOP) while the world goes on."""
        self.loop.now += seconds
        dead = self.world.dead_since  # between a look and what follows from it nobody could have known
        dead.update({side: since + seconds for side, since in dead.items() if since is not None})

    # What is

    @property
    def m(self) -> Migration:
        return self.engine.migration

    @property
    def weights(self) -> dict[str, int]:
        return {name: route.weight for name, route in self.world.routes.items()}

    @property
    def writers(self) -> dict[str, bool]:
        return {side: self.world.controls_["train"].runs(side) for side in SIDES}

    def events(self) -> list[Event]:
        """What the journal on disk says, its chain checked."""
        verify_chain(self.state)
        return read_events(self.state)

    def tail(self, count: int = 60) -> str:
        """The journal's last events, for a failure's message."""
        told = [e for e in self.events() if e.kind not in ("tick", "side")]
        return "\n" + "\n".join(f"{e.seq} {e.kind}: {describe(e)[0]}" for e in told[-count:])

    def settle(self) -> None:
        """Late effects land, and the guard has looked."""
        self.wait(SETTLED)
        self.world.check_rest()

    def to(self, state: State) -> None:
        """Forward to this state, without faults."""
        for _ in range(20):
            if self.m.state is state:
                return
            self.wait(12)
            ended = self.advance()
            assert not isinstance(ended, Exception | Killed), ended
        raise AssertionError(f"{self.m.state}, not {state}")

    # Moments

    def save(self, into: Path) -> Saved:
        """This moment, with nothing in flight."""
        shutil.copytree(self.state, into)
        world = self.world
        running = {n: {s: list(r) for s, r in c.running.items()} for n, c in world.controls_.items()}
        data = {n: {s: set(o) for s, o in held.items()} for n, held in world.data.items()}
        return Saved(into, self.loop.now, self.weights, running, data)  # type: ignore[arg-type]

    def _restore(self, saved: Saved) -> None:
        shutil.copytree(saved.state, self.state)
        self.loop.now = saved.now
        world = self.world
        for name, weight in saved.weights.items():
            world.routes_[name].weight = weight
        for name, sides in saved.running.items():
            world.controls_[name].running = {s: list(r) for s, r in sides.items()}  # type: ignore[misc]
        world.data = {n: {s: set(o) for s, o in held.items()} for n, held in saved.data.items()}


_WRITE_HEAD = journal_module.write_head


@contextmanager
def effects_engine(saved: Saved | None = None) -> Iterator[EffectsEngine]:
    """An engine over the model, from a moment; nothing that must never be has been at its end."""
    made = EffectsEngine(saved)
    try:
        yield made
        assert not made.world.wrong, f"{made.world.wrong} {made.tail()}"
    finally:
        made.close()


def plain_state(m: Migration) -> dict[str, str]:
    """A state as text, to compare two."""
    return {name: repr(sorted(v) if isinstance(v := getattr(m, name), set) else v) for name in m.__slots__}


def assert_known(it: EffectsEngine) -> None:
    """The journal's fold is the live state, and is the world: or where it is not, that is known, and held."""
    told, live = plain_state(fold(it.events())), plain_state(it.m)
    assert told == live, {name: (told[name], live[name]) for name in told if told[name] != live[name]}
    assert not it.m.ops, it.tail()
    assert it.m.open_run is None, it.tail()
    for name, weight in it.weights.items():
        route = it.m.route(name)
        if route.confirmed != weight:
            assert route.foreign is not None, f"{name} holds {weight}, not {route.confirmed} {it.tail()}"
            assert it.m.is_held, it.tail()
