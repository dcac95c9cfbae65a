"""Snapshots that are no longer kept: exactly what their manifest lists is deleted, where it still is what was written.

What somebody else has put into the folder or written over stays, and is told. Safe to repeat: what has gone already is fine. Folders of a
tree stay, empty.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from backends.escape import plain
from backends.transfer.backup import Places, manifest_sum
from backends.transfer.errors import BackupBroken
from backends.transfer.index import Row
from backends.transfer.merge import first_error
from backends.transfer.passage import Passage

_PAGE = 1000
_AT_ONCE = 10


@dataclass(slots=True)
class Removed:
    """Objects and bytes that were deleted or had gone; `left`: how many are not what was written there."""

    objects: int = 0
    bytes: int = 0
    left: int = 0


async def require_ours(places: Places, wanted: str, where: str) -> None:
    """Raises `BackupBroken` where the manifest's sum or the folder are not those that the journal has of this backup."""
    if places.place is None or places.place.url != where:
        raise BackupBroken(f"backup {places.number} of {places.dataset} was taken elsewhere: {plain(where, 200)}")
    if (await manifest_sum(places))[2] != wanted:
        raise BackupBroken(f"the manifest of backup {places.number} of {places.dataset} is not the one that was taken")


async def remove(places: Places) -> Removed:
    """Delete the snapshot of this number. Raises `CouldNot` where the store does not do it: ask again."""
    place = places.kept
    p, done, after = places.passage(place, places.manifest), Removed(), ""
    while rows := await places.index.rows_after(places.manifest, after, _PAGE):
        for start in range(0, len(rows), _AT_ONCE):
            try:
                async with asyncio.TaskGroup() as group:
                    for row in rows[start : start + _AT_ONCE]:
                        group.create_task(_delete(p, row, done))
            except BaseExceptionGroup as errors:
                raise first_error(errors) from errors
        after = rows[-1].key
    return done


async def _delete(p: Passage, row: Row, done: Removed) -> None:
    """One object, after a look at it."""
    info = await p.call(lambda: p.source.head(row.key))
    if info is not None and info.identity != row.target_id:
        done.left += 1
        return
    if info is not None:
        await p.call(lambda: p.source.delete(row.key))
    done.objects, done.bytes = done.objects + 1, done.bytes + row.size
