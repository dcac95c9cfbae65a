"""The seat: the right to command the engine. One operator holds it; a free one goes to whoever commands first; it can be taken over,
which both are told. Held by a uid, since nothing else is verified: every console and script of that uid is its holder.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.cutover.events import Kind
from backends.cutover.migration import Migration
from backends.engine.callers import Caller
from backends.errors import RefusedByRule

if TYPE_CHECKING:
    from backends.engine.core import Engine


def holds_seat(m: Migration, caller: Caller) -> bool:
    """Is the seat this caller's? An older journal knows the holder by name alone."""
    if m.seat is None:
        return False
    return m.seat_uid == caller.uid if m.seat_uid is not None else m.seat.split(" ")[0] == caller.user


async def require_seat(engine: Engine, caller: Caller) -> None:
    """Let go on who holds the seat; a free one is taken by that. Raises `RefusedByRule` where somebody else has it."""
    m = engine.migration
    if m.seat is None:
        await take_seat(engine, caller)
    elif not holds_seat(m, caller):
        raise RefusedByRule("SEAT", f"the seat is held by {m.seat}", hint="cutover seat --take takes it over; both are told")


async def take_seat(engine: Engine, caller: Caller) -> None:
    """The seat is this caller's from now on."""
    m = engine.migration
    over = m.seat if m.seat is not None and not holds_seat(m, caller) else None
    data = {"holder": caller.text, "uid": caller.uid, "from": over}
    await engine.record(Kind.SEAT, data, actor=caller.text)


async def give_seat(engine: Engine, caller: Caller) -> None:
    """Leave the seat free. Only its holder can."""
    m = engine.migration
    if m.seat is not None and not holds_seat(m, caller):
        raise RefusedByRule("SEAT", f"the seat is held by {m.seat}", hint="cutover seat --take takes it over; both are told")
    await engine.record(Kind.SEAT, {"holder": None, "uid": None, "from": None}, actor=caller.text)
