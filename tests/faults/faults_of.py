"""What goes wrong during a rollback: each fault as it begins, and as it is mended."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from backends.errors import CutoverError
from backends.vocabulary import SIDES, SideName
from tests.faults.virtual import EffectsEngine

HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class Fault:
    """`name` as the table has it, `short` for the matrix."""

    name: str
    short: str
    begin: Callable[[EffectsEngine], None]
    mend: Callable[[EffectsEngine], None] = lambda it: None


def _dies(side: SideName) -> Fault:
    return Fault(f"{side} dies", side, lambda it: it.world.die(side), lambda it: it.world.live_again(side))


def _authorities(gone: bool) -> Callable[[EffectsEngine], None]:
    def act(it: EffectsEngine) -> None:
        for route in it.world.routes_.values():
            route.gone = gone

    return act


def _ssh(*sides: SideName) -> Callable[[EffectsEngine], None]:
    def act(it: EffectsEngine) -> None:
        for control in it.world.controls_.values():
            control.unreachable = set(sides)

    return act


def _stores(*sides: SideName) -> Callable[[EffectsEngine], None]:
    def act(it: EffectsEngine) -> None:
        it.world.stores_gone = set(sides)

    return act


def _disk(full: bool) -> Callable[[EffectsEngine], None]:
    def act(it: EffectsEngine) -> None:
        it.journal.full = full

    return act


def _clock(seconds: float) -> Callable[[EffectsEngine], None]:
    def act(it: EffectsEngine) -> None:
        it.time.jumped += seconds

    return act


def _cut(side: SideName) -> Fault:
    def begin(it: EffectsEngine) -> None:
        it.world.silent.add(side)
        it.world.stores_gone.add(side)
        for control in it.world.controls_.values():
            control.unreachable.add(side)

    def mend(it: EffectsEngine) -> None:
        it.world.silent.discard(side)
        it.world.stores_gone.discard(side)
        for control in it.world.controls_.values():
            control.unreachable.discard(side)

    return Fault(f"the network between bastion and {side} is cut", f"cut {side}", begin, mend)


def _commands(it: EffectsEngine) -> None:
    """Somebody else holds, lifts it, advances and asks for the rollback once more, all at once."""
    engine = it.engine
    asked: list[Coroutine[Any, Any, Any]] = [
        engine.advance(actor="other"),
        engine.resume(actor="other", reason="mine"),
        engine.rollback(mode="graceful", actor="other", reason="mine too"),
    ]

    async def told(body: Coroutine[Any, Any, Any]) -> None:
        try:
            await body
        except CutoverError:
            return

    for body in asked:
        engine.spawn(told(body), "other")


def _by_hand(it: EffectsEngine) -> None:
    it.world.routes_["chat"].weight = 30


FAULTS: tuple[Fault, ...] = (
    *(_dies(side) for side in SIDES),
    Fault("the routes' authorities cannot be reached", "authority", _authorities(True), _authorities(False)),
    Fault("SSH is gone", "ssh", _ssh(*SIDES), _ssh()),
    Fault("target's store is gone", "store", _stores("target"), _stores()),
    Fault("the disk is full", "disk", _disk(True), _disk(False)),
    Fault("the wall clock jumps an hour ahead", "+1 h", _clock(HOUR)),
    Fault("the wall clock jumps an hour back", "-1 h", _clock(-HOUR)),
    Fault("the engine is stopped for 60 s (SIGSTOP)", "stopped", lambda it: it.freeze(60.0)),
    Fault("a second operator gives commands", "commands", _commands),
    Fault("a second operator sets a route by hand", "by hand", _by_hand),
    *(_cut(side) for side in SIDES),
)
BY_SHORT = {fault.short: fault for fault in FAULTS}
