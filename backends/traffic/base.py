"""What a route is: a weight on the target, 0..100, that is set absolutely and read back twice, from the authority (who decides)
and at the data plane (where clients go)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from backends.errors import CouldNot


class RouteError(CouldNot):
    """The route's authority could not be asked or told."""

    code = "route_error"


class ForeignChange(RouteError):
    """The authority holds another weight than ours: somebody else set it."""

    code = "foreign_change"

    def __init__(self, route: str, expected: int, found: int) -> None:
        super().__init__(
            f"route {route} has weight {found} on target, not {expected}: somebody else set it",
            hint="see `cutover history`; resume once it is settled",
        )
        self.expected = expected
        self.found = found


@dataclass(frozen=True, slots=True)
class Observed:
    """`weight` as the authority says, percent on the target; `detail` says how it was seen, in words."""

    weight: int
    detail: str = ""


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


class Route(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...

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

    async def close(self) -> None: ...
