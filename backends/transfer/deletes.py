"""What the target holds of ours and legacy no longer has: found in forward rounds, deleted by plan, and only after the commit.

Only what our own index copied, is unchanged since, and has vanished from legacy is ever deleted. An object that was found on the target
and proven equal, but not sent by us, is `adopted` and stays. So does what is excluded, what the target alone ever had, and what a later
look finds changed. A round with a failure, a folder that waits or a listing that met something it could not give deletes nothing.
`max_delete` counts over a day, so that round after round cannot empty what one round may not.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from typing import TYPE_CHECKING

from backends.errors import CouldNot
from backends.transfer.copier import reason_of
from backends.transfer.exclude import matcher
from backends.transfer.index import key_of
from backends.transfer.merge import first_error, order_of
from backends.transfer.models import DELETES_LISTED, Deletes, Failure

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Iterable

    from backends.stores.base import ObjectInfo
    from backends.transfer.carry import Done
    from backends.transfer.index import Index
    from backends.transfer.merge import Pair
    from backends.transfer.models import RoundOptions
    from backends.transfer.passage import Passage

DAY = 86_400.0
_PAGE = 256
_numbers = itertools.count(1)
_SCHEMA = """
CREATE TEMP TABLE IF NOT EXISTS doomed (id INTEGER PRIMARY KEY, round INTEGER, marker INTEGER, key BLOB, size INTEGER, identity TEXT)
"""


async def adopt(index: Index, dataset: str, found: Iterable[ObjectInfo]) -> None:
    """Note that these objects of the target were there before us."""
    rows = [(dataset, order_of(info.key), info.identity) for info in found]
    await index.database.call(lambda db: db.executemany("INSERT OR REPLACE INTO adopted VALUES (?,?,?)", rows))


class Doomed:
    """Takes the merged listings; then says what might go, and deletes it."""

    def __init__(self, passage: Passage, options: RoundOptions, workers: int) -> None:
        self._passage = passage
        self._options = options
        self._workers = workers
        self._db = passage.index.database
        self._round = next(_numbers)
        self._is_marker = matcher(options.markers)
        self._held = 0  # objects that the target listed
        self._kept = 0
        self._deleted = 0

    @property
    def deleted(self) -> int:
        return self._deleted

    async def open(self) -> None:
        await self._db.call(lambda db: db.execute(_SCHEMA))

    async def close(self) -> None:
        await self._db.call(lambda db: db.execute("DELETE FROM temp.doomed WHERE round=?", (self._round,)))

    async def take(self, pairs: list[Pair]) -> None:
        """Note what only the target lists and is, by the index, a copy of ours and unchanged."""
        self._held += sum(1 for _, target in pairs if target is not None)
        alone = [target for source, target in pairs if source is None and target is not None]
        if not alone:
            return
        dataset, bounds = self._passage.dataset, (order_of(alone[0].key), order_of(alone[-1].key))

        def ours(db: sqlite3.Connection) -> dict[bytes, str]:
            query = """SELECT o.key, o.target_id FROM objects AS o LEFT JOIN adopted AS a ON a.dataset = o.dataset AND a.key = o.key
                WHERE o.dataset=? AND o.key BETWEEN ? AND ? AND (a.identity IS NULL OR a.identity != o.target_id)"""
            return dict(db.execute(query, (dataset, *bounds)).fetchall())

        known = await self._db.call(ours)
        rows = [
            (self._round, int(self._is_marker(info.key)), key, info.size, info.identity)
            for info, key in ((info, order_of(info.key)) for info in alone)
            if known.get(key) == info.identity
        ]
        query = "INSERT INTO temp.doomed (round, marker, key, size, identity) VALUES (?,?,?,?,?)"
        await self._db.call(lambda db: db.executemany(query, rows))

    async def settle(self, done: Done, *, legacy_listed: int) -> Deletes:
        """Delete what may go; what was found, and why it was left. In a dry run nothing is deleted."""
        objects, size, before = await self._db.call(self._count)
        if objects == 0:
            return Deletes()
        listed = tuple(await self._db.call(self._list))
        rule, reason = self._barred(objects, before, done, legacy_listed)
        if not reason and not self._options.dry_run:
            await self._delete_all(done)
        return Deletes(objects, size, self._kept, rule, reason, listed)

    def _count(self, db: sqlite3.Connection) -> tuple[int, int, int]:
        query = "SELECT count(*), coalesce(sum(size), 0) FROM temp.doomed WHERE round=?"
        objects, size = db.execute(query, (self._round,)).fetchone()
        query = "SELECT count(*) FROM deletions WHERE dataset=? AND deleted_at>?"
        before = db.execute(query, (self._passage.dataset, time.time() - DAY)).fetchone()[0]
        return objects, size, before

    def _list(self, db: sqlite3.Connection) -> list[str]:
        query = "SELECT key FROM temp.doomed WHERE round=? ORDER BY key LIMIT ?"
        return [key_of(row[0]) for row in db.execute(query, (self._round, DELETES_LISTED))]

    def _barred(self, objects: int, before: int, done: Done, legacy_listed: int) -> tuple[str, str]:
        """(rule, reason) why nothing is deleted now; ("", "") where it may be."""
        if self._options.delete_barred:
            return "SR4", self._options.delete_barred
        if legacy_listed == 0:
            return "", "legacy's listing is empty"
        most = share_of(self._held + before, self._options.max_delete)
        if objects + before > most:
            day = f", {before} deleted in the last 24 h" if before else ""
            text = f"{objects} of {self._held} objects would be deleted{day}; max_delete ({self._options.max_delete:.4g}) allows {most}"
            return "MAX_DELETE", text
        if done.failures:
            return "", "objects of this round failed"
        if done.waiting or done.was_cut:
            return "", "this round left objects for the next"
        return "", ""

    async def _delete_all(self, done: Done) -> None:
        """Markers before what they speak of: a marker without its objects is never seen."""
        for marker in (1, 0):
            async for page in self._pages(marker):
                todo = iter(page)
                try:
                    async with asyncio.TaskGroup() as group:
                        for _ in range(min(self._workers, len(page))):
                            group.create_task(self._some(todo, done))
                except BaseExceptionGroup as errors:
                    raise first_error(errors) from errors

    async def _pages(self, marker: int) -> AsyncIterator[list[tuple[bytes, int, str]]]:
        after = 0
        query = "SELECT id, key, size, identity FROM temp.doomed WHERE round=? AND marker=? AND id>? ORDER BY id LIMIT ?"
        while True:
            bounds = (self._round, marker, after, _PAGE)
            found = await self._db.call(lambda db, bounds=bounds: db.execute(query, bounds).fetchall())  # type: ignore[misc]
            if not found:
                return
            after = found[-1][0]
            yield [row[1:] for row in found]

    async def _some(self, todo: Iterable[tuple[bytes, int, str]], done: Done) -> None:
        for key, size, identity in todo:
            try:
                await self._delete(key, size, identity)
            except (CouldNot, TimeoutError) as error:
                reason = reason_of(error) if isinstance(error, CouldNot) else "timed out"
                done.failures.append(Failure(key_of(key), f"not deleted: {reason}"))

    async def _delete(self, order: bytes, size: int, identity: str) -> None:
        """One object, after a last look at both sides."""
        p, key = self._passage, key_of(order)
        async with p.streams:
            source = await p.call(lambda: p.source.head(key))
            target = await p.call(lambda: p.target.head(key))
            if source is not None or target is None or target.identity != identity:
                self._kept += 1
                return
            await p.call(lambda: p.target.delete(key))
        self._deleted += 1
        values = (p.dataset, order, size, identity, time.time())

        def forget(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM objects WHERE dataset=? AND key=?", (p.dataset, order))
            db.execute("INSERT INTO deletions VALUES (?,?,?,?,?)", values)

        self._db.post(forget)


def share_of(objects: int, share: float) -> int:
    """The most objects that are no more than this share. Exact where the share of a plan (`1%`) is: 1 % of 100 is 1."""
    return math.floor(objects * share + 1e-9)
