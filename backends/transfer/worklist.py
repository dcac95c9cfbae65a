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
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import orjson

from backends.stores.base import ObjectInfo
from backends.transfer.database import Many
from backends.transfer.index import Index, key_of
from backends.transfer.merge import order_of
from backends.transfer.models import Waiting

if TYPE_CHECKING:
    from backends.transfer.units import Units
    from backends.vocabulary import SideName

Action = Literal["copy", "compare", "lost"]
_rounds = itertools.count(1)

_SCHEMA = """
CREATE TEMP TABLE IF NOT EXISTS work (id INTEGER PRIMARY KEY, round INTEGER, action TEXT, key BLOB, size INTEGER, mtime INTEGER,
    mtime_ns INTEGER, etag TEXT, version TEXT, unit BLOB, last INTEGER DEFAULT 0)
"""
_COLUMNS = "round, action, key, size, mtime, mtime_ns, etag, version"
_PAGE_OF_WORK = """
    SELECT json_group_array(json_array(id, action, hex(key), size, mtime, mtime_ns, etag, version, CASE WHEN unit IS NULL THEN NULL ELSE hex(unit) END, last)) FROM
    (SELECT * FROM temp.work WHERE round=? AND id>? AND last<{waits} ORDER BY id LIMIT ?)
"""
_ADD = Many(f"INSERT INTO temp.work ({_COLUMNS}) VALUES ", 8)
_DONE = Many("DELETE FROM temp.work WHERE id IN (VALUES ", 1, ")")
_BIG = 4  # an object of more than the work's bytes / (4 x streams) is begun first
_PAGE = 2000
_MICRO = 1_000_000  # a second in `mtime`
WAITS = 3  # `last` of what waits for another round; one more for markers above folders


class Work(NamedTuple):
    """One object to copy; to `compare` first, because both sides have it in the same size and the index does not know that they
    are equal; or `lost`: the index knows that it was copied, and the target does not list it."""

    id: int
    action: Action
    source: ObjectInfo
    unit: bytes | None = None  # the folder that is copied whole, see `units.Place`
    last: int = 0


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
        await self._db.call(lambda db: _ADD.execute(db, rows))

    def _values(self, action: Action, info: ObjectInfo) -> tuple[Any, ...]:
        mtime = round(info.mtime.timestamp() * _MICRO) if info.mtime else None
        return (self._round, action, order_of(info.key), info.size, mtime, info.mtime_ns, info.etag, info.version)

    async def arrange(self, *, newest_first: bool, parallel: int) -> None:
        """Put the work in the order in which it is to be done: the newest first, or by key, what is large before that.

        Objects of more than a quarter of a stream's share of all bytes are begun first, the largest before, and the others fill the
        streams beside them: so the end of the round waits for no single one.
        """
        if newest_first:
            await self._reorder("mtime DESC, key")
            return
        query = "SELECT sum(size), max(size) FROM temp.work WHERE round=?"
        total, largest = await self._db.call(lambda db: db.execute(query, (self._round,)).fetchone())
        share = (total or 0) / (_BIG * parallel)
        if largest and largest > share:
            await self._reorder(f"CASE WHEN size > {share:.1f} THEN size ELSE 0 END DESC, key")

    async def arrange_units(self, units: Units, *, newest_first: bool, quiet_before: float) -> list[Waiting]:
        """Put the work in the order of its folders, each whole, its markers last; take out what has to wait.

        A folder of which an object was modified after `quiet_before` (a time) waits, and so does a marker above folders. Where a folder
        has no marker to be copied, the object modified last is taken for it.
        """
        await self.place(units)

        def work(db: sqlite3.Connection) -> list[Any]:
            mine = (self._round,)
            db.execute(_MARK_NEWEST, (*mine, *mine))
            db.execute(_MARK_WAITING, (*mine, *mine, quiet_before * _MICRO))
            return db.execute(_TOLD_WAITING, mine).fetchall()

        waiting = await self._db.call(work)
        newest = "newest DESC, " if newest_first else ""
        await self._reorder(
            f"last >= 2, CASE WHEN last >= 2 THEN -depth END, {newest}coalesce(unit, key), last, CASE last WHEN 0 THEN 0 ELSE -depth END, "
            "mtime, key",
            with_units=True,
        )
        return [Waiting(key_of(unit), "modified a moment ago: it may still be being written") for (unit,) in waiting]

    async def keep_failed(self, failed: Iterable[str]) -> None:
        """Keep only the folders in which one of these objects is, and those of them that are in none. Never a marker above folders: what
        else may be missing below it is not looked at."""
        keys = [(order_of(key),) for key in failed]

        def work(db: sqlite3.Connection) -> None:
            _ask(db, keys)
            db.execute(_KEEP_FAILED, (self._round, self._round))

        await self._db.call(work)

    async def place(self, units: Units) -> None:
        """Note where each object stands."""
        async for page in self.items(_PAGE):
            places = await units.places([item.source.key for item in page])
            rows = [(place.unit, place.last, item.id) for place, item in zip(places, page, strict=True)]
            await self._db.call(
                lambda db, rows=rows: db.executemany("UPDATE temp.work SET unit=?, last=? WHERE id=?", rows)  # type: ignore[misc]
            )

    async def _reorder(self, order: str, *, with_units: bool = False) -> None:
        def work(db: sqlite3.Connection) -> None:
            db.create_function("depth_of", 1, _depth_of, deterministic=True)
            last = db.execute("SELECT coalesce(max(id), 0) FROM temp.work").fetchone()[0]
            rows = "SELECT * FROM temp.work WHERE round=? AND id<=?"
            if with_units:
                rows = f"SELECT *, depth_of(key) AS depth, max(mtime) OVER (PARTITION BY coalesce(unit, key)) AS newest FROM ({rows})"
            into = f"INSERT INTO temp.work ({_COLUMNS}, unit, last) SELECT {_COLUMNS}, unit, last"
            db.execute(f"{into} FROM ({rows}) ORDER BY {order}", (self._round, last))
            db.execute("DELETE FROM temp.work WHERE round=? AND id<=?", (self._round, last))

        await self._db.call(work)

    async def items(self, page: int = 256) -> AsyncIterator[list[Work]]:
        """The work in its order, a page at a time, without what waits."""
        after = 0
        query = _PAGE_OF_WORK.format(waits=WAITS)
        while True:
            bounds = (self._round, after, page)
            # One row for all: each row that is fetched takes the interpreter's lock from the loop.
            text = await self._db.call(lambda db, bounds=bounds: db.execute(query, bounds).fetchone()[0])  # type: ignore[misc]
            found = orjson.loads(text)
            if not found:
                return
            after = found[-1][0]
            yield [_work(*values) for values in found]

    async def waiting(self) -> tuple[int, int, int]:
        """(objects, objects to copy, their bytes) that wait for another round."""
        query = f"""SELECT count(*), count(CASE WHEN action != 'compare' THEN 1 END),
            coalesce(sum(CASE WHEN action != 'compare' THEN size END), 0) FROM temp.work WHERE round=? AND last>={WAITS}"""
        objects, to_copy, size = await self._db.call(lambda db: db.execute(query, (self._round,)).fetchone())
        return objects, to_copy, size

    async def keys_among(self, keys: Iterable[str]) -> set[str]:
        """Those of these objects that are still to be done."""
        wanted = [(order_of(key),) for key in keys]

        def work(db: sqlite3.Connection) -> set[str]:
            _ask(db, wanted)
            query = "SELECT key FROM temp.work WHERE round=? AND key IN (SELECT key FROM temp.asked)"
            return {key_of(row[0]) for row in db.execute(query, (self._round,))}

        return await self._db.call(work) if wanted else set()

    def done(self, item: Work) -> None:
        """Equal on both sides now, or gone from the source."""
        self._db.post_row(_DONE, (item.id,))

    async def oldest(self) -> datetime | None:
        """When the oldest object that is still to be done was modified."""
        query = "SELECT min(mtime) FROM temp.work WHERE round=?"
        oldest = await self._db.call(lambda db: db.execute(query, (self._round,)).fetchone()[0])
        return _moment(oldest)

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
        return Left(objects, size, _moment(oldest))


def _depth_of(key: bytes) -> int:
    return key.count(b"/")


def _ask(db: sqlite3.Connection, keys: list[tuple[bytes]]) -> None:
    db.execute("CREATE TEMP TABLE IF NOT EXISTS asked (key BLOB PRIMARY KEY) WITHOUT ROWID")
    db.execute("DELETE FROM temp.asked")
    db.executemany("INSERT OR IGNORE INTO temp.asked VALUES (?)", keys)


def _moment(mtime: int | None) -> datetime | None:
    return None if mtime is None else datetime.fromtimestamp(mtime / _MICRO, UTC)


def _work(
    ident: int,
    action: Action,
    key: str,
    size: int,
    mtime: int | None,
    mtime_ns: int | None,
    etag: str | None,
    version: str | None,
    unit: str | None,
    last: int,
) -> Work:
    info = ObjectInfo(key_of(bytes.fromhex(key)), size, _moment(mtime), mtime_ns, etag, version)
    return Work(ident, action, info, None if unit is None else bytes.fromhex(unit), last)


# The object modified last becomes the marker of a folder that has none among its work.
_MARK_NEWEST = """
    UPDATE temp.work SET last=1 WHERE id IN (
        SELECT id FROM (
            SELECT id, max(last) OVER (PARTITION BY unit) AS marked, row_number() OVER (PARTITION BY unit ORDER BY mtime DESC, key DESC) AS n
            FROM temp.work WHERE round=? AND unit IS NOT NULL AND last < 2
        ) WHERE marked = 0 AND n = 1
    ) AND round=?
"""
_GROUP = "CASE WHEN last=2 THEN key ELSE unit END, last=2"
_MARK_WAITING = f"""
    UPDATE temp.work SET last=CASE WHEN last=2 THEN {WAITS + 1} ELSE {WAITS} END WHERE round=? AND unit IS NOT NULL AND ({_GROUP}) IN (
        SELECT {_GROUP} FROM temp.work WHERE round=? AND unit IS NOT NULL GROUP BY 1, 2 HAVING max(mtime) > ?
    )
"""
_TOLD_WAITING = f"""
    SELECT DISTINCT CASE last WHEN {WAITS} THEN unit ELSE key END AS told FROM temp.work WHERE round=? AND last>={WAITS} ORDER BY told
"""
_KEEP_FAILED = """
    DELETE FROM temp.work WHERE round=? AND (last=2 OR (key NOT IN (SELECT key FROM temp.asked) AND (unit IS NULL OR unit NOT IN (
        SELECT unit FROM temp.work WHERE round=? AND last<2 AND unit IS NOT NULL AND key IN (SELECT key FROM temp.asked)))))
"""
