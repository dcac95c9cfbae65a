"""What a round has to do, spooled to disk while both sides are still being listed.

A temporary SQLite table beside the index (it goes with the connection, and leaves no trace of a dry run), so that memory stays
flat at any number of objects.
"""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from backends.stores.base import ObjectInfo
from backends.transfer.index import Index, key_of
from backends.transfer.merge import order_of

if TYPE_CHECKING:
    from backends.snapshot import SideName

Action = Literal["copy", "compare", "lost"]
_rounds = itertools.count(1)

_SCHEMA = """
CREATE TEMP TABLE IF NOT EXISTS work (id INTEGER PRIMARY KEY, round INTEGER, action TEXT, key BLOB, size INTEGER, mtime REAL,
    mtime_ns INTEGER, etag TEXT, version TEXT)
"""
_COLUMNS = "round, action, key, size, mtime, mtime_ns, etag, version"
_ORDERS = {
    (False, False): "id",
    (True, False): "mtime DESC, key",
    (False, True): "folder, key",
    (True, True): "newest DESC, folder, key",
}


@dataclass(frozen=True, slots=True)
class Work:
    """One object to copy; to `compare` first, because both sides have it in the same size and the index does not know that they
    are equal; or `lost`: the index knows that it was copied, and the target does not list it."""

    id: int
    action: Action
    source: ObjectInfo


@dataclass(frozen=True, slots=True)
class Left:
    """What is still to do."""

    objects: int
    bytes: int
    oldest: datetime | None


class WorkList:
    """One round's work."""

    def __init__(self, index: Index) -> None:
        self._db = index.database
        self._round = next(_rounds)

    async def open(self) -> None:
        await self._db.call(lambda db: db.execute(_SCHEMA))

    async def close(self) -> None:
        await self._db.call(lambda db: db.execute("DELETE FROM temp.work WHERE round=?", (self._round,)))

    async def add(self, items: Iterable[tuple[Action, ObjectInfo]]) -> None:
        rows = [self._values(action, info) for action, info in items]
        query = f"INSERT INTO temp.work ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?)"
        await self._db.call(lambda db: db.executemany(query, rows))

    def _values(self, action: Action, info: ObjectInfo) -> tuple[Any, ...]:
        mtime = info.mtime.timestamp() if info.mtime else None
        return (self._round, action, order_of(info.key), info.size, mtime, info.mtime_ns, info.etag, info.version)

    async def arrange(self, *, newest_first: bool, folders: bool) -> None:
        """Put the work in the order in which it is to be done, by key unless asked otherwise. A folder stays together."""
        if not (newest_first or folders):
            return
        order = _ORDERS[newest_first, folders]

        def work(db: sqlite3.Connection) -> None:
            db.create_function("folder_of", 1, _folder_of, deterministic=True)
            last = db.execute("SELECT coalesce(max(id), 0) FROM temp.work").fetchone()[0]
            inner = f"SELECT id, {_COLUMNS}, folder_of(key) AS folder FROM temp.work WHERE round=? AND id<=?"
            outer = f"SELECT *, max(mtime) OVER (PARTITION BY folder) AS newest FROM ({inner})"
            db.execute(
                f"INSERT INTO temp.work ({_COLUMNS}) SELECT {_COLUMNS} FROM ({outer}) ORDER BY {order}", (self._round, last)
            )
            db.execute("DELETE FROM temp.work WHERE round=? AND id<=?", (self._round, last))

        await self._db.call(work)

    async def items(self, page: int = 256) -> AsyncIterator[list[Work]]:
        """The work in its order, a page at a time."""
        after = 0
        query = f"SELECT id, {_COLUMNS} FROM temp.work WHERE round=? AND id>? ORDER BY id LIMIT ?"
        while True:
            bounds = (self._round, after, page)
            found = await self._db.call(lambda db, bounds=bounds: db.execute(query, bounds).fetchall())  # type: ignore[misc]
            if not found:
                return
            after = found[-1][0]
            yield [_work(values) for values in found]

    def done(self, item: Work) -> None:
        """Equal on both sides now, or gone from the source."""
        self._db.post_row("DELETE FROM temp.work WHERE id=?", (item.id,))

    async def oldest(self) -> datetime | None:
        """When the oldest object that is still to be done was modified."""
        query = "SELECT min(mtime) FROM temp.work WHERE round=?"
        oldest = await self._db.call(lambda db: db.execute(query, (self._round,)).fetchone()[0])
        return None if oldest is None else datetime.fromtimestamp(oldest, UTC)

    async def resumable(self, dataset: str, side: SideName) -> dict[str, int]:
        """Of what is to be done, the objects of which parts arrived on `side` in an earlier run; bytes."""
        parts = "parts WHERE dataset=? AND side=? AND etag!=''"
        query = f"""
            SELECT w.key, min(w.size, p.arrived) FROM (SELECT key, sum(size) AS arrived FROM {parts} GROUP BY key) AS p
            JOIN temp.work AS w ON w.key = p.key WHERE w.round=? AND w.action != 'compare' AND w.key IN (SELECT key FROM {parts})
        """
        where = (dataset, side)
        found = await self._db.call(lambda db: db.execute(query, (*where, self._round, *where)).fetchall())
        return {key_of(key): arrived for key, arrived in found}

    async def left(self) -> Left:
        query = "SELECT count(*), coalesce(sum(size), 0), min(mtime) FROM temp.work WHERE round=?"
        objects, size, oldest = await self._db.call(lambda db: db.execute(query, (self._round,)).fetchone())
        return Left(objects, size, None if oldest is None else datetime.fromtimestamp(oldest, UTC))


def _folder_of(key: bytes) -> bytes:
    return key.rpartition(b"/")[0]


def _work(values: Any) -> Work:
    ident, _, action, key, size, mtime, mtime_ns, etag, version = values
    instant = None if mtime is None else datetime.fromtimestamp(mtime, UTC)
    return Work(ident, action, ObjectInfo(key_of(key), size, instant, mtime_ns, etag, version))
