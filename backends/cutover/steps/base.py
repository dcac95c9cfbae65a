"""What a step is."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Protocol, cast

from backends.cutover.migration import Direction
from backends.cutover.world import World
from backends.vocabulary import SideName


@dataclass(frozen=True, slots=True)
class Seen:
    """What reading the world back says. `found` is a route's weight where one was read."""

    done: bool
    detail: str = ""
    found: int | None = None
    extra: tuple[tuple[str, Any], ...] = ()


class Step(Protocol):
    """One operation. `args` with `kind` rebuild it after a restart (`steps.build`)."""

    kind: ClassVar[str]
    outlives_us: ClassVar[bool]  # may the effect go on when the engine dies under it?

    @property
    def direction(self) -> Direction: ...
    @property
    def text(self) -> str:
        """What it does, in words for the operator."""
        ...

    @property
    def seconds(self) -> float:
        """Expected duration."""
        ...

    @property
    def limit(self) -> float:
        """Time limit of the whole effect, reading back included."""
        ...

    @property
    def needs(self) -> SideName | None:
        """The side without which it cannot come about, or must not: once that is seen dead nothing is waited for."""
        ...

    def args(self) -> dict[str, Any]: ...

    async def send(self, world: World) -> None: ...

    async def observe(self, world: World) -> Seen: ...


class Fields:
    """What most steps have in common: their dataclass fields are their args, and there is nothing to send."""

    __slots__ = ()

    @property
    def needs(self) -> SideName | None:
        return None

    def args(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(cast(Any, self))}

    async def send(self, world: World) -> None:
        """Nothing is changed, or all is done in `observe`, which is repeated until it is so."""
