"""The lease in an engine's life: taken before anything is written down, watched, and given up at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from backends.cutover.events import Kind
from backends.cutover.migration import Migration
from backends.engine.journal import Head
from backends.engine.lease import Holder, Lease, Standing
from backends.engine.lease_place import place_of
from backends.engine.snapshots import may_roll_back
from backends.plan.models import Lease as LeaseSpec

if TYPE_CHECKING:
    from backends.engine.core import Engine

LOOK = 0.5


@asynccontextmanager
async def leased(engine: Engine, *, take_over: bool) -> AsyncIterator[None]:
    """Hold the lease where the plan has a place for one. Raises `LeaseHeld`, `LeaseElsewhere`, `JournalBroken`."""
    spec = engine.plan.lease
    place = place_of(engine.plan, ssh=engine.world.ssh, base=engine.base)
    if place is None or not isinstance(spec, LeaseSpec):
        yield
        return
    try:
        lease = Lease(
            place,
            engine.plan.name,
            spec.duration,
            await asyncio.to_thread(Holder.of, Path(engine.state_dir)),
            standing=lambda: standing_of(engine.migration, engine.journal.head),
            hash_at=engine.journal.hash_at,
        )
        await lease.take(by_name=take_over)
        engine.keep_lease(lease)
        try:
            yield
        finally:
            await lease.release()
    finally:
        await place.close()


def standing_of(m: Migration, head: Head) -> Standing:
    """What the lease tells of the migration to who comes next."""
    return Standing(head.seq, head.hash if head.seq else "", m.state.value, may_roll_back(m))


async def watch_lease(engine: Engine, lease: Lease) -> None:
    """Renew it, tell what becomes of it, and end the engine when somebody else has it: from then on it may not act."""
    if lease.taken_from:
        await engine.record(Kind.LEASE, {"text": f"the lease was taken over from {lease.taken_from}"})
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(lease.run(), name="lease, renewed")
        telling = group.create_task(_tell(engine, lease), name="lease, told")
        await lease.gone.wait()
        telling.cancel()
        try:
            await engine.record(Kind.ENGINE_STOPPED, {"reason": lease.note})
        finally:
            engine.stopping.set()
        keeping.cancel()


async def _tell(engine: Engine, lease: Lease) -> None:
    """Each time that it is no longer ours for certain, and when it is again: once, into the journal."""
    was_held = True
    while True:
        if lease.is_held is not was_held:
            was_held = lease.is_held
            text = f"the lease at {lease.view().place} is ours again" if was_held else lease.note
            await engine.record(Kind.LEASE, {"text": text})
            engine.touch()
        await asyncio.sleep(LOOK)
