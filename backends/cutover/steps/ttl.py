"""The TTL of a route's record: noted before it is changed, lowered ahead of a cutover, given back by a rollback."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from backends.cutover.migration import Direction
from backends.cutover.steps.base import Fields, Seen
from backends.cutover.world import World
from backends.traffic.base import HasTtl, RouteError


def _with_ttl(world: World, route: str) -> HasTtl:
    found = world.routes[route]
    if not isinstance(found, HasTtl):
        raise RouteError(f"route {route} has no TTL")
    return found


@dataclass(frozen=True, slots=True)
class NoteTtl(Fields):
    """Take the present TTL into the journal, so that it is known whatever becomes of us."""

    route: str
    direction: Direction = "forward"
    kind: ClassVar[str] = "note_ttl"
    outlives_us: ClassVar[bool] = False

    @property
    def text(self) -> str:
        return f"route {self.route}: note its TTL"

    @property
    def seconds(self) -> float:
        return 0.5

    @property
    def limit(self) -> float:
        return 30.0

    async def observe(self, world: World) -> Seen:
        ttl, detail = await _with_ttl(world, self.route).ttl()
        return Seen(True, detail, extra=(("ttl", ttl),))


@dataclass(frozen=True, slots=True)
class SetTtl(Fields):
    """Forward: no authority gives the record out for longer than `ttl` seconds any more. Backward: `ttl` is what it was; where that cannot
    be set it is told and left, since a short TTL blocks nobody."""

    route: str
    ttl: int
    direction: Direction = "forward"
    kind: ClassVar[str] = "ttl"
    outlives_us: ClassVar[bool] = False

    @property
    def text(self) -> str:
        return f"route {self.route}: TTL {'back to' if self.direction == 'backward' else 'down to'} {self.ttl} s"

    @property
    def seconds(self) -> float:
        return 1.0

    @property
    def limit(self) -> float:
        return 120.0 if self.direction == "forward" else 30.0

    async def send(self, world: World) -> None:
        if self.direction != "forward":
            return
        route = _with_ttl(world, self.route)
        now, detail = await route.ttl()
        noted = world.migration.ttls.get(self.route)
        if noted is None or now > max(noted.before, self.ttl):
            raise RouteError(f"route {self.route}: {detail}, which was not noted: somebody raised it", hint="advance again")
        if now > self.ttl:
            await route.set_ttl(self.ttl)

    async def observe(self, world: World) -> Seen:
        route = _with_ttl(world, self.route)
        if self.direction != "forward":
            return await self._put_back(route)
        now, detail = await route.ttl()
        return Seen(now <= self.ttl, detail, extra=(("ttl", now),))

    async def _put_back(self, route: HasTtl) -> Seen:
        try:
            await route.set_ttl(self.ttl)
        except RouteError as error:
            return Seen(True, f"left as it is: {error.message}", extra=(("left", True),))
        return Seen(True, f"{self.ttl} s again", extra=(("left", False),))
