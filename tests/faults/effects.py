"""Effects as real ones behave: refused, late, unanswered, done in part, or done by a process that outlives the engine.

A world in memory for the real engine (`tests.faults.virtual`), with an oracle of its own: what must never be, is noted in `wrong` by
what is true here, whatever the engine believes.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from backends.cutover.migration import Migration
from backends.cutover.world import RoundEnd, SideHealth
from backends.engine.sides import SideWatch
from backends.errors import CouldNot, CutoverError
from backends.plan.models import Plan
from backends.traffic.base import Confirmation, ForeignChange, Observed, PlainRoute, RouteError
from backends.vocabulary import SIDES, SideName, State
from backends.workloads.base import Outcome, Standing, WorkloadError
from tests.backends.cutover.model_world import ModelControl, ModelWorld, plan_of

Way = Literal["at once", "refused", "late", "unanswered", "unanswered, then late", "in part", "orphaned"]
WAYS: tuple[Way, ...] = ("at once", "refused", "late", "unanswered", "unanswered, then late", "in part", "orphaned")
ANSWER = 2.0  # seconds after which a caller gives up waiting for an answer
LATE = 1.5  # seconds until a late effect is there, after its answer or the lack of one
DEAD_FOR = 8.0  # seconds after which a dead side must be known to be so: its probe's strikes, and a look on the way
HOSTS = 2  # of a workload, on each side


def effects_plan() -> Plan:
    """The model's plan, with probes of both sides and spacing enough to be seen."""
    probe = {"legacy": "http://legacy/healthz", "target": "http://target/healthz", "timeout": "1s"}
    common = {"command": {"set": ["x"], "get": ["x"]}, "soak": {"at_least": "5s"}, "probe": probe}
    chat = {"name": "chat", "workload": "chat", "steps": [50, 100]}
    jobs = {"name": "jobs", "workload": "train", "steps": [100]}
    return plan_of(routes=[chat | common, jobs | common])


class EffectsRoute(PlainRoute):
    """A weight at an authority, and what its clients follow. `gone`: the authority does not answer; `severed`: nor do its clients
    follow what it says."""

    kind = "model"

    def __init__(self, name: str, world: EffectsWorld) -> None:
        self.name = name
        self.weight = 0
        self.gone = False
        self.behind = False  # one of its authorities, alive, still says what was before
        self.raised_at = -1e9
        self.raised_to = 0
        self._world = world

    async def read(self) -> Observed:
        self._world.lives()
        await asyncio.sleep(0)
        if self.gone or self._world.cut_off:
            await asyncio.sleep(ANSWER)
            self._world.lives()
            raise RouteError(f"route {self.name}: its authority does not answer")
        return Observed(self.weight, f"holds {self.weight}")

    async def set(self, weight: int, expected: int | None) -> None:
        found = (await self.read()).weight
        if expected is not None and found not in (expected, weight):
            raise ForeignChange(self.name, expected, found)
        world, run = self._world, self._world.run_kind()

        def apply() -> None:
            world.note_weight(self, weight, weight, run)
            self.weight = weight

        def half() -> None:
            middle = (self.weight + weight) // 2  # one of two servers of a backend has it
            world.note_weight(self, middle, weight, run)
            self.weight = middle

        await world.effect(f"route {self.name}", apply, half, RouteError)

    async def confirm(self, weight: int) -> Confirmation:
        found = (await self.read()).weight
        if self.behind:
            return Confirmation(False, None, None, f"holds {found}; ns2 is behind")
        return Confirmation(found == weight, found == weight, found / 100, f"holds {found}")

    async def close(self) -> None:
        """Nothing is open."""


class EffectsControl(ModelControl):
    """A writer on two hosts of each side. `unreachable`: sides whose hosts cannot be reached."""

    def __init__(self, name: str, world: EffectsWorld) -> None:
        self.name = name
        self.running: dict[SideName, list[bool]] = {"legacy": [True] * HOSTS, "target": [False] * HOSTS}
        self.ran: dict[SideName, list[bool]] = {}  # what ran on a side when it died
        self.unreachable: set[SideName] = set()
        self._world = world

    def runs(self, side: SideName) -> bool:
        return any(self.running[side])

    async def _turn(self, side: SideName, running: bool) -> Outcome:
        self._world.lives()
        await self._reach(side)

        def hosts(count: int) -> Callable[[], None]:
            def apply() -> None:
                if self._world.dead_since[side] is not None:
                    return  # who is dead starts nothing, and has stopped already
                if running:
                    self._world.note_start(self, side)
                self.running[side][:count] = [running] * count
                self._world.note_stop(self, side, running)

            return apply

        await self._world.effect(f"writer {side}", hosts(HOSTS), hosts(1), WorkloadError)
        return Outcome("done")

    async def _reach(self, side: SideName) -> None:
        if side in self.unreachable or self._world.cut_off or self._world.dead_since[side] is not None:
            await asyncio.sleep(ANSWER)
            self._world.lives()
            raise WorkloadError(f"{self.name} on {side}: its hosts cannot be reached")

    async def resume(self, side: SideName, pinned: Mapping[str, Any]) -> Outcome:
        return await self._turn(side, True)

    async def look(self, side: SideName) -> Standing:
        self._world.lives()
        await asyncio.sleep(0)
        if side in self.unreachable or self._world.cut_off or self._world.dead_since[side] is not None:
            return Standing("unknown", "its hosts cannot be reached")
        return Standing("running" if self.runs(side) else "quiesced")


class StoreGone(CouldNot):
    """A store does not answer."""

    code = "store_gone"


class EffectsWorld(ModelWorld):
    """Outlives the engines that are killed in it."""

    def __init__(self, clock: Any, plan: Plan | None = None) -> None:
        super().__init__(plan or effects_plan())
        self.clock = clock
        self.sides: dict[SideName, SideWatch] = {}  # the engine's own, made anew with each
        self.killable: Callable[[str], None] = lambda point: None
        self.ways: dict[str, list[Way]] = {}  # how the next effects of a thing behave; then at once
        self.seen_ways: set[tuple[str, Way]] = set()
        self.dead_since: dict[SideName, float | None] = {"legacy": None, "target": None}
        self.silent: set[SideName] = set()  # sides whose probe does not answer
        self.stores_gone: set[SideName] = set()
        self.cut_off = False  # nothing outside the bastion can be reached
        self.routes_: dict[str, EffectsRoute] = {r.name: EffectsRoute(r.name, self) for r in self.plan.routes}
        self.controls_ = {w.name: EffectsControl(w.name, self) for w in self.plan.workloads if w.writes}
        self.data: dict[str, dict[str, set[int]]] = {
            d.name: {"legacy": set(), "target": set(), "gap": set()} for d in self.plan.datasets
        }
        self._object = itertools.count()

    # What the engine sees of it

    @property
    def migration(self) -> Migration:
        assert self.engine is not None
        return self.engine.migration

    @property
    def routes(self) -> Mapping[str, EffectsRoute]:
        return self.routes_

    @property
    def controls(self) -> Mapping[str, EffectsControl]:
        return self.controls_

    def observed_now(self) -> float:
        assert self.engine is not None
        return self.engine.observed_now()

    def wall_now(self) -> datetime:
        return self.clock.now(UTC)  # type: ignore[no-any-return]

    def side(self, side: SideName) -> SideHealth:
        return self.sides[side].health()

    async def look_at_side(self, side: SideName) -> SideHealth:
        self.lives()
        return await self.sides[side].look_now()

    async def orphans_gone(self) -> None:
        """No effect here is a child on the engine's own machine."""

    async def round_to_zero(self, dataset: str, *, reverse: bool) -> RoundEnd:
        self.lives()
        self.write()
        source, onto = ("target", "legacy") if reverse else ("legacy", "target")
        await self._reach_stores()
        if self.migration.token(dataset).writer == onto:
            self.wrong.append(f"{dataset} copied onto {onto}, which holds its token")
        for control in self.controls_.values():
            if control.runs(onto):  # type: ignore[arg-type]
                self.wrong.append(f"{dataset} copied onto {onto}, where {control.name} runs")
            if control.runs(source):  # type: ignore[arg-type]
                self.wrong.append(f"the last round of {dataset} ran while {control.name} still wrote on {source}")
        data = self.data[dataset]

        def apply() -> None:
            data[onto] |= data[source]

        def half() -> None:
            data[onto] |= set(sorted(data[source])[: len(data[source]) // 2])

        await self.effect(f"round {dataset}", apply, half, StoreGone)
        good = data[source] <= data[onto]
        return RoundEnd(good, good, f"{len(data[source] - data[onto])} to go")

    async def compare(self, dataset: str) -> RoundEnd:
        self.lives()
        await self._reach_stores()
        good = self.data[dataset]["target"] <= self.data[dataset]["legacy"]
        return RoundEnd(good, good, "equal" if good else "legacy lacks some")

    async def settle_gap(self, dataset: str) -> RoundEnd:
        self.lives()
        try:
            await self._reach_stores()
            data = self.data[dataset]

            def apply() -> None:
                data["gap"] |= data["target"] - data["legacy"]

            await self.effect(f"round {dataset}", apply, lambda: None, StoreGone)
        except CutoverError as error:
            return RoundEnd(False, False, f"not settled: {error.message}")
        return RoundEnd(True, True, "kept")

    async def keep_index(self, dataset: str, epoch: int) -> None:
        self.lives()
        await asyncio.sleep(0)

    # How effects come to be

    async def effect(self, what: str, apply: Callable[[], None], half: Callable[[], None], error: type[CutoverError]) -> None:
        """Do it the way that the test has asked for. The engine may be killed while it is under way."""
        waiting = self.ways.get(what)
        way: Way = waiting.pop(0) if waiting else "at once"
        self.seen_ways.add((what, way))
        self.write()
        loop = asyncio.get_running_loop()
        if way == "refused":
            raise error(f"{what}: refused")
        if way == "in part":
            half()
            self.killable(f"{what}, in part")
            raise error(f"{what}: done in part")
        delay = {"late": LATE, "unanswered, then late": ANSWER + LATE, "orphaned": LATE}.get(way, 0.0)
        if delay:
            loop.call_later(delay, apply)  # on the world's own time, whoever dies meanwhile
        else:
            apply()
        self.killable(f"{what}, in flight")
        if way in ("unanswered", "unanswered, then late"):
            await asyncio.sleep(ANSWER)
            self.lives()
            raise error(f"{what}: no answer within {ANSWER:g} s")
        await asyncio.sleep(LATE if way == "orphaned" else 0)
        self.lives()

    async def _reach_stores(self) -> None:
        gone: set[SideName] = self.stores_gone | {s for s in SIDES if self.dead_since[s] is not None}
        if gone or self.cut_off:
            await asyncio.sleep(ANSWER)
            self.lives()
            raise StoreGone(f"the store of {', '.join(sorted(gone)) or 'both sides'} does not answer")

    def write(self) -> None:
        """Who runs, writes: an object more in each dataset."""
        for control in self.controls_.values():
            for side in SIDES:
                if control.runs(side) and self.dead_since[side] is None:
                    for held in self.data.values():
                        held[side].add(next(self._object))

    def die(self, side: SideName) -> None:
        """The side's machines end, and its writers with them."""
        self.write()
        self.dead_since[side] = self.clock.monotonic()
        for control in self.controls_.values():
            control.ran[side] = control.running[side]
            control.running[side] = [False] * HOSTS

    def live_again(self, side: SideName) -> None:
        """It is back, and so is what ran there: nobody has stopped it since."""
        self.dead_since[side] = None
        for control in self.controls_.values():
            control.running[side] = control.ran[side]

    # The oracle

    def run_kind(self) -> str:
        """What the journal says is under way, at the moment when an effect is asked for."""
        run = self.migration.open_run
        return run.kind if run is not None else ""

    def note_weight(self, route: EffectsRoute, weight: int, goal: int, run: str) -> None:
        before, now = route.weight, self.clock.monotonic()
        rising: SideName | None = "target" if weight > before else "legacy" if weight < before else None
        if rising is None:
            return
        dead = self.dead_since[rising]
        if dead is not None and now - dead > DEAD_FOR:
            self.wrong.append(f"SR3: {route.name} {before} -> {weight} while {rising} had been dead for {now - dead:.0f} s")
        if rising == "target":
            if run == "rollback":
                self.wrong.append(f"SR6: {route.name} {before} -> {weight} by a rollback")
            is_again = goal == route.raised_to  # a step that is sent once more
            if now - route.raised_at < self.plan.windows.spacing and run == "advance" and not is_again:
                self.wrong.append(f"SR5: {route.name} raised again after {now - route.raised_at:.1f} s")
            route.raised_at, route.raised_to = now, goal

    def note_start(self, control: EffectsControl, side: SideName) -> None:
        other: SideName = "target" if side == "legacy" else "legacy"
        if control.runs(other) and not self.migration.unfenced:
            self.wrong.append(f"SR2: {control.name} started on {side} while it runs on {other}")

    def note_stop(self, control: EffectsControl, side: SideName, running: bool) -> None:
        """An emergency stops target only when its clients have gone."""
        run = self.migration.open_run
        if running or side != "target" or run is None or run.mode != "emergency":
            return
        workload = next(w for w in self.plan.workloads if w.name == control.name)
        for spec in self.plan.routes:
            if spec.workload == workload.name and self.routes_[spec.name].weight > 0:
                self.wrong.append(f"SR1: {control.name} stopped on target, where {spec.name} still sends clients")

    def check_rest(self) -> None:
        """What must hold whenever nothing is in flight."""
        m = self.migration
        for control in self.controls_.values():
            if control.runs("legacy") and control.runs("target") and not m.unfenced:
                self.wrong.append(f"SR2: {control.name} runs on both sides")
        if m.state is State.ROLLED_BACK:
            for name, held in self.data.items():
                if lost := held["target"] - held["legacy"] - held["gap"]:
                    self.wrong.append(f"rolled back, and {len(lost)} objects of {name} are on target alone")
