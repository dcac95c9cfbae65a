"""Give a route a weight on the target, and see that clients have left a side."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import ClassVar

from backends.cutover.migration import Direction
from backends.cutover.steps.base import Fields, Seen
from backends.cutover.world import World
from backends.vocabulary import SideName

LOOK = 0.2  # seconds between two looks at who is left


@dataclass(frozen=True, slots=True)
class SetWeight(Fields):
    """Set a route's weight on the target, absolutely. `expected` is what the authority should hold before; None takes what is there."""

    route: str
    weight: int  # 0..100
    expected: int | None = None
    direction: Direction = "forward"
    limit: float = 20.0  # seconds until it has to be seen everywhere; DNS takes longer (`forward.weight_limit`)
    kind: ClassVar[str] = "weight"
    outlives_us: ClassVar[bool] = False

    @property
    def text(self) -> str:
        return f"route {self.route}: weight {self.weight} % on target"

    @property
    def seconds(self) -> float:
        return 1.0

    @property
    def needs(self) -> SideName | None:
        if self.direction == "forward":
            return None
        return "legacy" if self.direction == "backward" else "target"

    async def send(self, world: World) -> None:
        await world.routes[self.route].set(self.weight, self.expected)

    async def observe(self, world: World) -> Seen:
        seen = await world.routes[self.route].confirm(self.weight)
        found = self.weight if seen.authority else (await world.routes[self.route].read()).weight
        return Seen(seen.is_confirmed, seen.detail, found)


@dataclass(frozen=True, slots=True)
class CheckRoute(Fields):
    """See that a route's authority answers before its writer is stopped on target: while clients cannot be led away, target serves on."""

    route: str
    direction: Direction = "backward"
    limit: float = 10.0
    kind: ClassVar[str] = "check_route"
    outlives_us: ClassVar[bool] = False

    @property
    def text(self) -> str:
        return f"see that route {self.route} can be moved"

    @property
    def seconds(self) -> float:
        return 0.2

    async def observe(self, world: World) -> Seen:
        seen = await world.routes[self.route].read()
        return Seen(True, f"its authority {seen.foreign or f'holds {seen.weight}'}", seen.weight)


@dataclass(frozen=True, slots=True)
class Expel(Fields):
    """Wait so long for the target's sessions of a route to end by themselves, then send away who is left."""

    route: str
    wait: float = 30.0  # seconds; 0 in an emergency
    direction: Direction = "backward"
    kind: ClassVar[str] = "expel"
    outlives_us: ClassVar[bool] = False

    @property
    def text(self) -> str:
        patience = f"after {self.wait:.0f} s at most" if self.wait else "now"
        return f"route {self.route}: end what is left of target's sessions, {patience}"

    @property
    def seconds(self) -> float:
        return 0.5  # where no session outlasts a request; one that does is waited for

    @property
    def limit(self) -> float:
        return self.wait + 20.0

    @property
    def needs(self) -> SideName | None:
        return "legacy"  # where else would they go

    async def send(self, world: World) -> None:
        route = world.routes[self.route]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.wait):
                while not (await route.clients()).has_left:  # noqa: ASYNC110 - sessions of another program
                    await asyncio.sleep(LOOK)
        await route.expel()

    async def observe(self, world: World) -> Seen:
        route = world.routes[self.route]
        left = await route.clients()
        if not left.has_left:
            return Seen(False, left.detail)
        seen = await route.confirm(0)
        return Seen(seen.is_confirmed, f"{left.detail}; {seen.detail}")


@dataclass(frozen=True, slots=True)
class Drain(Fields):
    """Wait until no client of a route is on the target any more: no session, no answer of DNS that may still be used."""

    route: str
    direction: Direction = "backward"
    limit: float = 30.0
    expected_seconds: float = 0.2
    kind: ClassVar[str] = "drain"
    outlives_us: ClassVar[bool] = False

    @property
    def text(self) -> str:
        return f"route {self.route}: drain clients from target"

    @property
    def seconds(self) -> float:
        return self.expected_seconds

    @property
    def needs(self) -> SideName | None:
        return "legacy"

    async def observe(self, world: World) -> Seen:
        route = world.routes[self.route]
        seen = await route.confirm(0)
        if not seen.authority:
            # Somebody has set it meanwhile: that never blocks a rollback.
            await route.set(0, None)
            return Seen(False, f"{seen.detail}: set to 0 again")
        left = await route.clients()
        if not left.has_left:
            return Seen(False, left.detail)
        if seen.data_plane is None:
            return Seen(seen.authority, "the plan gives no way to look at clients")
        return Seen(seen.is_confirmed, seen.detail)
