"""What a route is: a weight on the target, 0..100, that is set absolutely and read back twice, from the authority (who decides)
and at the data plane (where clients go)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from backends.errors import CouldNot
from backends.vocabulary import SideName


class RouteError(CouldNot):
    """The route's authority could not be asked or told."""

    code = "route_error"


class ForeignChange(RouteError):
    """The authority holds another weight than ours: somebody else set it."""

    code = "foreign_change"

    def __init__(self, route: str, expected: int, found: int, foreign: str = "") -> None:
        seen = foreign or f"has weight {found} on target"
        super().__init__(
            f"route {route} {seen}, not {'weight ' * bool(foreign)}{expected}: somebody else set it",
            hint="see `cutover history`; resume once it is settled",
        )
        self.expected = expected
        self.found = found


@dataclass(frozen=True, slots=True)
class Observed:
    """`weight` as the authority says, percent on the target; `detail` says how it was seen, in words. `foreign` says, in words that go
    on after the route's name, what stands there where it is nothing that we would set: then `weight` is only near it."""

    weight: int
    detail: str = ""
    foreign: str = ""

    def is_at(self, weight: int) -> bool:
        """Is it this weight, and in the form in which we set it?"""
        return self.weight == weight and not self.foreign


@dataclass(frozen=True, slots=True)
class Confirmation:
    """`data_plane` is None where the plan gives no way to look; `share` of the asked clients seen on the target."""

    authority: bool
    data_plane: bool | None
    share: float | None = None
    detail: str = ""

    @property
    def is_confirmed(self) -> bool:
        return self.authority and self.data_plane is not False


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that a route found of itself before it is armed. `good` is None where it could not be told; `cure` says what to do."""

    good: bool | None
    text: str
    cure: str = ""


@dataclass(frozen=True, slots=True)
class Clients:
    """Who may still reach the target: open `sessions` where they are counted, and for how many `seconds` an answer that was given out before
    may still be used."""

    sessions: int | None = None
    seconds: float = 0.0
    detail: str = ""

    @property
    def has_left(self) -> bool:
        """Nobody is left, as far as can be known."""
        return self.sessions in (None, 0) and self.seconds <= 0


@dataclass(frozen=True, slots=True)
class LongAnswer:
    """An answer of DNS with a longer TTL than the plan's, which somebody else had set: for how many seconds (`left` of `ttl`) it may still be
    used, and whether it names target. It is given out as long as `left` does not fall."""

    ttl: float
    left: float
    names_target: bool


@dataclass(frozen=True, slots=True)
class RouteHealth:
    """What a route's authority knows of a side by its own checks."""

    is_alive: bool
    detail: str = ""


class Route(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def look_every(self) -> float:
        """Seconds between two looks at the authority while nothing moves; APIs that count requests want more."""
        ...

    async def read(self) -> Observed:
        """Ask the authority. Raises `RouteError`."""
        ...

    async def set(self, weight: int, expected: int | None) -> None:
        """Set the weight absolutely; safe to repeat. With `expected`, raises `ForeignChange` where the authority holds neither it nor
        `weight`; without, takes what is there."""
        ...

    async def confirm(self, weight: int) -> Confirmation:
        """Look once at authority and data plane; the caller repeats until its deadline."""
        ...

    async def pin(self) -> dict[str, Any]:
        """What must be known after a restart, or come back on a rollback, beside the weight; JSON, journaled at arming."""
        ...

    def restore(self, pinned: Mapping[str, Any]) -> None:
        """What was pinned, when it is armed and when an engine starts."""
        ...

    def long_answer(self) -> LongAnswer | None:
        """What was last seen of a TTL that somebody else raised; None where no such answer may be used any more."""
        ...

    def recall(self, long: LongAnswer) -> None:
        """What an engine before us had seen of that, when an engine starts."""
        ...

    async def clients(self) -> Clients:
        """Who may still reach the target. Raises `RouteError`."""
        ...

    async def expel(self) -> None:
        """Send away who is left on the target, where that can be done. Raises `RouteError`."""
        ...

    async def health(self, side: SideName) -> RouteHealth | None:
        """What the authority itself knows of a side; None where it knows nothing. Raises `RouteError`."""
        ...

    async def preflight(self) -> tuple[Finding, ...]:
        """What has to be so, and what one should know, before the route is armed. Raises `RouteError`."""
        ...

    async def close(self) -> None: ...


class PlainRoute:
    """What a route does that has nothing beside its weight."""

    look_every = 1.0

    async def pin(self) -> dict[str, Any]:
        return {}

    def restore(self, pinned: Mapping[str, Any]) -> None:
        """Nothing was pinned."""

    def long_answer(self) -> LongAnswer | None:
        return None

    def recall(self, long: LongAnswer) -> None:
        """Nobody keeps an answer."""

    async def clients(self) -> Clients:
        return Clients()

    async def expel(self) -> None:
        """Nobody can be sent away."""

    async def health(self, side: SideName) -> RouteHealth | None:
        return None

    async def preflight(self) -> tuple[Finding, ...]:
        return ()


@runtime_checkable
class HasTtl(Protocol):
    """A route by DNS: what it answers may be kept for a while."""

    async def ttl(self) -> tuple[int, str]:
        """The longest TTL, in seconds, that any authority gives out, and that in words. Raises `RouteError`."""
        ...

    async def set_ttl(self, ttl: int) -> None:
        """Another TTL for what is there. Safe to repeat. Raises `RouteError`."""
        ...
