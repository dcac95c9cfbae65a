"""A world in memory for the real engine: routes, writers, sides and faults that a test turns as it likes, and a loop whose time jumps.

Every effect is checked where it happens: what must never be, is noted in `World.wrong`.
"""

from __future__ import annotations

import asyncio
import json
import selectors
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from backends.cutover.events import Event
from backends.cutover.fold import apply
from backends.cutover.migration import Migration
from backends.cutover.preflight import Proof, measured_items
from backends.cutover.world import RoundEnd, SideHealth
from backends.engine.core import Engine
from backends.engine.guard import Guard
from backends.engine.process import _recovered
from backends.engine.runner import Runner
from backends.errors import CouldNot
from backends.plan.models import Plan
from backends.snapshot import GateView, Health, Lag, SideName
from backends.traffic.base import Clients, Confirmation, ForeignChange, Observed, PlainRoute, RouteError
from backends.workloads.base import NoWay, Outcome, Standing, WorkloadError

T = TypeVar("T")
BEGINNING = datetime(2026, 3, 14, tzinfo=UTC)


class Killed(BaseException):
    """The engine's process ends here."""


class JumpingLoop(asyncio.SelectorEventLoop):
    """Where everything waits for time, time jumps: hours of timeouts and pauses take no time."""

    def __init__(self) -> None:
        self.now = 1000.0
        super().__init__(_JumpingSelector(self))
        self.set_default_executor(_Inline(1))

    def time(self) -> float:
        return self.now


class _Inline(ThreadPoolExecutor):
    """Does at once what is given to a thread, so that each run is like the one before."""

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - as a pool does
            future.set_exception(error)
        return future


class _JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: JumpingLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0 if timeout is not None else None)
        if not ready and timeout is not None and timeout > 0:
            self._loop.now += timeout
        return ready


def plan_of(**more: Any) -> Plan:
    """A route whose workload writes nothing, and one whose workload writes two datasets."""
    plan: dict[str, Any] = {
        "version": 1,
        "name": "model",
        "legacy": {"provider": "old"},
        "target": {"provider": "new"},
        "stores": {"old": {"url": "file:///old"}, "new": {"url": "file:///new"}},
        "datasets": [{"name": n, "from": "old", "to": "new", "reverse": True} for n in ("ckpt", "logs")],
        "workloads": [
            {"name": "chat", "class": "batch"},
            {"name": "train", "class": "training", "writes": ["ckpt", "logs"], "quiesce": {"systemd": "train", "timeout": "20s"}},
        ],
        "routes": [
            {
                "name": "chat",
                "workload": "chat",
                "command": {"set": ["x"], "get": ["x"]},
                "steps": [50, 100],
                "soak": {"at_least": "5s"},
            },
            {
                "name": "jobs",
                "workload": "train",
                "command": {"set": ["x"], "get": ["x"]},
                "steps": [100],
                "soak": {"at_least": "5s"},
            },
        ],
        "windows": {"dual": "20s", "retire": "20s", "spacing": "2s"},
    }
    return Plan.model_validate(plan | more)


class ModelRoute(PlainRoute):
    """A weight. `failing`: how many calls still fail; `slow`: seconds until the authority answers; `deaf`: it takes nothing."""

    kind = "model"

    def __init__(self, name: str, world: ModelWorld, *, keeps: bool = False) -> None:
        self.name = name
        self.weight = 0
        self.keeps = keeps  # clients on target, until they are sent away, and legacy's weights beside its own
        self.sessions = 0
        self.pinned: dict[str, Any] = {}
        self.failing = 0
        self.slow = 0.0
        self.deaf = False
        self._world = world

    async def read(self) -> Observed:
        self._world.lives()
        if self.failing:
            self.failing -= 1
            raise RouteError(f"{self.name} does not answer")
        return Observed(self.weight)

    async def set(self, weight: int, expected: int | None) -> None:
        found = (await self.read()).weight
        if expected is not None and found not in (expected, weight):
            raise ForeignChange(self.name, expected, found)
        if self.slow:
            await asyncio.sleep(self.slow)
            self._world.lives()
        if self.deaf:
            return
        self._world.note_weight(self.name, self.weight, weight)
        self.weight = weight
        if self.keeps and weight:
            self.sessions = 3

    async def pin(self) -> dict[str, Any]:
        await self.read()
        return {"l0": 100} if self.keeps else {}

    def restore(self, pinned: Mapping[str, Any]) -> None:
        self.pinned = dict(pinned)

    async def clients(self) -> Clients:
        await self.read()
        return Clients(sessions=self.sessions) if self.keeps else Clients()

    async def expel(self) -> None:
        await self.read()
        if self.weight:
            self._world.wrong.append(f"{self.name}: sessions ended on target while it has {self.weight} %")
        self.sessions = 0

    async def confirm(self, weight: int) -> Confirmation:
        found = (await self.read()).weight
        return Confirmation(found == weight, None, None, f"holds {found}")

    async def close(self) -> None:
        """Nothing is open."""


class ModelControl:
    """A writer a side. `stuck`: sides whose writer cannot be stopped or started just now."""

    def __init__(self, name: str, world: ModelWorld) -> None:
        self.name = name
        self.running: dict[SideName, bool] = {"legacy": True, "target": False}
        self.stuck: set[SideName] = set()
        self.half: set[SideName] = set()  # stops, and says that it failed
        self.slow = 0.0
        self._world = world

    async def quiesce(self, side: SideName) -> Outcome:
        return await self._turn(side, False)

    async def resume(self, side: SideName, pinned: Mapping[str, Any]) -> Outcome:
        if side not in self.stuck:
            self._world.note_writer(side, self.running)
        return await self._turn(side, True)

    async def _turn(self, side: SideName, running: bool) -> Outcome:
        self._world.lives()
        if self.slow:
            await asyncio.sleep(self.slow)
            self._world.lives()
        if side in self.half:
            self.running[side] = running
            raise WorkloadError(f"{self.name} on {side}: one host did not answer")
        if side in self.stuck:
            raise WorkloadError(f"{self.name} on {side} does not listen")
        self.running[side] = running
        return Outcome("done")

    async def look(self, side: SideName) -> Standing:
        self._world.lives()
        if side in self.stuck or side in self.half:
            return Standing("unknown")
        return Standing("running" if self.running[side] else "quiesced")

    async def stop_new_work(self, side: SideName) -> Outcome:
        raise NoWay(f"{self.name}: nothing says how")

    async def drain(self, side: SideName) -> Outcome:
        return await self.stop_new_work(side)

    async def pin(self, side: SideName) -> dict[str, Any]:
        return {}

    async def step(self, side: SideName) -> int | None:
        return None

    async def close(self) -> None:
        """Nothing is kept open."""


class ModelWorld:
    """Outlives the engines that are killed in it."""

    def __init__(self, plan: Plan | None = None) -> None:
        self.plan = plan or plan_of()
        self.engine: Engine | None = None
        self.dead_engine = False
        self.wrong: list[str] = []
        self.healths: dict[SideName, Health] = {"legacy": Health.ALIVE, "target": Health.ALIVE}
        self.ages: dict[SideName, float | None] = {"legacy": 0.0, "target": 0.0}
        self._routes = {r.name: ModelRoute(r.name, self, keeps=r.haproxy is not None) for r in self.plan.routes}
        self._controls = {w.name: ModelControl(w.name, self) for w in self.plan.workloads if w.writes}
        self.out_of_sync: set[str] = set()
        self.unsettled: set[str] = set()
        self.settled: list[str] = []
        self.comparing = 0.0  # seconds that a comparison takes
        self.rounds: list[tuple[str, bool]] = []
        self.now = 0.0
        self.wall = BEGINNING
        self.lowered: list[float] = []
        self.proofs = {name: Proof(True, "model", at=float("inf")) for name in measured_items(self.plan)}
        self.lone = Migration()  # where no engine is: tests of pure functions

    @property
    def migration(self) -> Migration:
        return self.engine.migration if self.engine is not None else self.lone

    @property
    def routes(self) -> Mapping[str, ModelRoute]:
        return self._routes

    @property
    def controls(self) -> Mapping[str, ModelControl]:
        return self._controls

    def lives(self) -> None:
        """What a killed engine had begun goes no further."""
        if self.dead_engine:
            raise Killed

    def note_weight(self, name: str, before: int, after: int) -> None:
        rising: SideName | None = "target" if after > before else "legacy" if after < before else None
        if rising is not None and self.healths[rising] is Health.DEAD:
            self.wrong.append(f"{name} {before} -> {after} while {rising} is dead")

    def note_writer(self, side: SideName, running: dict[SideName, bool]) -> None:
        other: SideName = "target" if side == "legacy" else "legacy"
        if running[other] and not self.migration.unfenced and not self.migration.unfenced_legacy:
            self.wrong.append(f"writer started on {side} while it runs on {other}")

    def side(self, side: SideName) -> SideHealth:
        return SideHealth(self.healths[side], self.ages[side], f"model says {self.healths[side]}")

    async def look_at_side(self, side: SideName) -> SideHealth:
        self.lives()
        return self.side(side)

    def observed_now(self) -> float:
        return self.engine.observed_now() if self.engine is not None else self.now

    def wall_now(self) -> datetime:
        return self.wall

    async def orphans_gone(self) -> None:
        """A killed engine leaves none here."""

    async def round_to_zero(self, dataset: str, *, reverse: bool) -> RoundEnd:
        self.lives()
        self.rounds.append((dataset, reverse))
        onto = "legacy" if reverse else "target"
        if self.migration.token(dataset).writer == onto:
            self.wrong.append(f"{dataset} copied onto {onto}, which writes it")
        good = dataset not in self.out_of_sync
        return RoundEnd(good, good, "model round")

    async def compare(self, dataset: str) -> RoundEnd:
        self.lives()
        await asyncio.sleep(self.comparing)
        return RoundEnd(True, True, "equal")

    async def restore(self, dataset: str) -> RoundEnd:
        self.lives()
        return RoundEnd(True, True, "restored")

    async def settle_gap(self, dataset: str) -> RoundEnd:
        self.lives()
        good = dataset not in self.unsettled
        if good:
            self.settled.append(dataset)
        return RoundEnd(good, good, "kept" if good else "target does not answer")

    async def verify_archive(self, dataset: str) -> None:
        self.lives()
        if dataset in self.out_of_sync:
            raise CouldNot(f"archive {dataset}: 1 of 2 equal")

    async def lower_legacy(self, to: float) -> None:
        self.lives()
        if self.healths["target"] is not Health.ALIVE:
            self.wrong.append(f"legacy lowered to {to} while target is {self.healths['target']}")
        self.lowered.append(to)

    async def legacy_lowered(self, to: float) -> tuple[bool, str]:
        self.lives()
        return to in self.lowered, "model"

    async def keep_index(self, dataset: str, epoch: int) -> None:
        self.lives()


class ModelJournal:
    """Events in memory, through JSON as in the real one. `full`: nothing can be written."""

    def __init__(self, world: ModelWorld, events: list[Event], loop: JumpingLoop) -> None:
        self.events = events
        self.emergency = None
        self.released = False
        self.plan_hash = ""
        self._world = world
        self._loop = loop

    async def append(self, kind: str, data: dict[str, Any], *, actor: str, observed: float, may_spill: bool = False) -> Event:
        self._world.lives()
        await asyncio.sleep(0)
        self._world.lives()
        body = json.loads(json.dumps(data, default=str, allow_nan=False))
        at = BEGINNING + timedelta(seconds=self._loop.now)
        event = Event(len(self.events) + 1, at, actor, str(kind), body, self.plan_hash, round(observed, 3))
        self.events.append(event)
        return event


class _Clock:
    def __init__(self, loop: JumpingLoop, before: float) -> None:
        self._loop, self._before, self._start = loop, before, loop.now

    def now(self) -> float:
        return self._before + self._loop.now - self._start

    def uptime(self) -> float:
        return 1000.0 + self._loop.now - self._start

    def wall_jump(self) -> float:
        return 0.0

    def stamp(self) -> float:
        return self._loop.now

    def stamp_of(self, observed: float) -> float:
        return self.stamp() - (self.now() - observed)


class _Judge:
    def __init__(self) -> None:
        self.views: tuple[GateView, ...] = ()

    def gates(self) -> tuple[GateView, ...]:
        return self.views

    def samples_since(self, workload: str, since: float) -> int | None:
        return None

    def forget(self) -> None:
        """Nothing is kept."""


class _Preflight:
    async def prove(self) -> None:
        """`ModelWorld.proofs` holds what a test says."""


class _Followers:
    lag = Lag(objects=0, bytes=0, seconds=0.0)

    def reverse_lag(self) -> Lag:
        return self.lag

    def forward_gap(self, names: list[str]) -> Lag:
        return self.lag


def fit(engine: Engine, world: Any, followers: Any) -> None:
    """Give an engine a model world, as `Engine.adopt_plan` gives it the real one."""
    engine.plan, engine.base, engine.plan_hash = world.plan, Path("/nowhere"), "0" * 64
    engine.world, engine.runner = world, Runner(engine, world)
    engine.judge, engine.followers = _Judge(), followers  # type: ignore[assignment]
    engine.guard = Guard(engine)
    engine.preflight = _Preflight()  # type: ignore[assignment]


class ModelEngine:
    """The real `Engine` on a model world, killed and started again at will. Everything runs on a loop of its own."""

    def __init__(self, plan: Plan | None = None) -> None:
        self.loop = JumpingLoop()
        self.world = ModelWorld(plan)
        self.events: list[Event] = []
        self.engine: Engine
        self.kill_in: int | None = None  # failpoints still to be passed
        self.start()

    def start(self) -> None:
        """A new engine on the journal of the one before."""
        self.run(self._start())

    async def _start(self) -> None:
        self.world.dead_engine = False
        world: Any = self.world
        journal: Any = ModelJournal(self.world, self.events, self.loop)
        engine = Engine(Path("/nowhere"), journal, self.events)
        clock: Any = _Clock(self.loop, engine.migration.observed)
        engine.clock = clock
        fit(engine, world, _Followers())
        self.engine = self.world.engine = engine
        for name, route in self.world.routes.items():  # as `LiveWorld` does
            route.restore(engine.migration.armed.pins.get(name, {}) if engine.migration.armed is not None else {})
        if not self.events:
            await engine.record("created", {"name": "model"})
            names = {"routes": [r.name for r in engine.plan.routes], "datasets": [d.name for d in engine.plan.datasets]}
            await engine.record("plan.loaded", {"path": "plan.yaml", "hash": engine.plan_hash, "text": ""} | names)
        await _recovered(engine)
        await self.idle()

    async def idle(self) -> None:
        """Until nothing is in flight."""
        while self.engine.tasks:
            await asyncio.gather(*self.engine.tasks, return_exceptions=True)
            await asyncio.sleep(0)
        if self.world.dead_engine:
            raise Killed

    def failpoint(self, name: str) -> None:
        """Stands in for the engine's own."""
        if self.kill_in is None:
            return
        self.kill_in -= 1
        if self.kill_in < 0:
            self.kill_in = None
            self.world.dead_engine = True
            raise Killed

    @contextmanager
    def failpoints(self) -> Iterator[None]:
        """While entered, the engine's failpoints are ours."""
        from unittest.mock import patch

        with patch("backends.engine.runner.failpoint", self.failpoint), patch("backends.engine.moves.failpoint", self.failpoint):
            yield

    def run(self, body: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(body)

    def do(self, body: Coroutine[Any, Any, Any]) -> Any:
        """A command to its end; an engine that is killed by it is started again. Returns what it raised, if it did."""
        try:
            return self.run(self._done(body))
        except Killed:
            self.run(self._bury())
            self._revive()
            return Killed()
        except Exception as error:  # noqa: BLE001 - handed to the caller
            return error

    async def _done(self, body: Coroutine[Any, Any, Any]) -> Any:
        try:
            return await body
        finally:
            await self.idle()

    async def _bury(self) -> None:
        while self.engine.tasks:
            for task in sorted(self.engine.tasks, key=asyncio.Task.get_name):
                task.cancel()
            await asyncio.gather(*self.engine.tasks, return_exceptions=True)
            await asyncio.sleep(0)

    def _revive(self) -> None:
        while True:
            try:
                return self.start()
            except Killed:
                self.run(self._bury())

    def wait(self, seconds: float) -> None:
        """Time passes."""
        self.loop.now += seconds

    def close(self) -> None:
        self.world.dead_engine = True
        self.run(self._bury())
        self.loop.close()

    @property
    def m(self) -> Migration:
        return self.engine.migration

    @property
    def weights(self) -> dict[str, int]:
        return {name: route.weight for name, route in self.world.routes.items()}

    @property
    def writers(self) -> dict[SideName, bool]:
        return dict(self.world.controls["train"].running)

    def advance(self, only: str | None = None) -> Any:
        return self.do(self.engine.advance(actor="test", only=only))

    def rollback(self, mode: Any = "graceful", **more: Any) -> Any:
        return self.do(self.engine.rollback(mode=mode, actor="test", reason="test", **more))

    def resume(self) -> Any:
        return self.do(self.engine.resume(actor="test", reason="test"))

    def to_dual(self) -> None:
        """Planned to dual."""
        for _ in range(6):
            self.wait(10)
            ended = self.advance()
            assert not isinstance(ended, Exception), ended


def story(*events: tuple[str, dict[str, Any]], migration: Migration | None = None) -> Migration:
    """A state from short events."""
    m = migration or Migration()
    for number, (kind, data) in enumerate(events, m.seq + 1):
        apply(m, Event(number, BEGINNING, "test", kind, data, observed=float(number)))
    return m
