"""What is known of each object on both sides: the index, SQLite in `<state>/index.db`.

A row says that the object with these identities was the same on both sides, and how that was proven. Sides are called `legacy`
and `target` whichever way a round goes, so that what forward rounds proved is known to reverse ones. Keys are kept as their
bytes: lossless, and sorted as listings are.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import orjson

from backends.escape import plain
from backends.stores.base import PartInfo
from backends.transfer.database import Database, Many
from backends.transfer.merge import order_of
from backends.transfer.models import Direction, Failure, Proof, RoundResult
from backends.transfer.sums import Sums

if TYPE_CHECKING:
    from backends.vocabulary import SideName

_SCHEMA = """
CREATE TABLE IF NOT EXISTS objects (dataset TEXT, key BLOB, size INTEGER, crc64nvme TEXT, proof TEXT,
    legacy_id TEXT, target_id TEXT, proven_at REAL, PRIMARY KEY (dataset, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS handover (dataset TEXT, epoch INTEGER, key BLOB, size INTEGER, crc64nvme TEXT,
    legacy_id TEXT, target_id TEXT, PRIMARY KEY (dataset, epoch, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS bound (dataset TEXT PRIMARY KEY, legacy TEXT, target TEXT);
CREATE TABLE IF NOT EXISTS listings (dataset TEXT, side TEXT, objects INTEGER, listed_at REAL,
    PRIMARY KEY (dataset, side));
CREATE TABLE IF NOT EXISTS failures (dataset TEXT, direction TEXT, key BLOB, reason TEXT, failed_at REAL,
    PRIMARY KEY (dataset, direction, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS begun (dataset TEXT, side TEXT, key BLOB, begun_at REAL,
    PRIMARY KEY (dataset, side, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uploads (dataset TEXT, side TEXT, key BLOB, upload TEXT, size INTEGER, source_id TEXT,
    part_size INTEGER, begun_at REAL, PRIMARY KEY (dataset, side, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts (dataset TEXT, side TEXT, key BLOB, number INTEGER, size INTEGER, crc64 BLOB,
    crc32c INTEGER, etag TEXT, PRIMARY KEY (dataset, side, key, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS adopted (dataset TEXT, key BLOB, identity TEXT, PRIMARY KEY (dataset, key)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS deletions (dataset TEXT, key BLOB, size INTEGER, identity TEXT, deleted_at REAL);
CREATE TABLE IF NOT EXISTS rounds (dataset TEXT, direction TEXT, ended_at REAL, seconds REAL, listed INTEGER,
    copied INTEGER, failed INTEGER, bytes INTEGER, resent INTEGER, lag_objects INTEGER);
"""


class Row(NamedTuple):
    """An object that was equal on both sides at `proven_at`. An identity of "" is one that must be looked at again."""

    key: str
    size: int
    crc64nvme: str
    proof: Proof
    legacy_id: str
    target_id: str

    def identity(self, side: SideName) -> str:
        return self.legacy_id if side == "legacy" else self.target_id


@dataclass(frozen=True, slots=True)
class Upload:
    """A write in parts that an earlier attempt left open. `upload` is "" where it may have been begun and its id was not learnt."""

    key: str
    upload: str
    size: int
    source_id: str
    part_size: int
    begun_at: float = 0.0


@dataclass(frozen=True, slots=True)
class PartRow:
    """A part whose sending had begun; `etag` is "" where no answer was seen."""

    number: int
    sums: Sums
    etag: str


class Index:
    """`async with Index(path) as index`, or `await Index.open(path)` and `close()`."""

    def __init__(self, path: Path) -> None:
        self.database = Database(path, _SCHEMA)
        self.database.before_hand_over = self._hand_over_begun
        self._spotless: set[tuple[str, Direction]] = set()  # nothing of it is kept as failed
        self._begun: dict[tuple[str, SideName, bytes], float] = {}  # since the last hand-over: most end before the next one

    @classmethod
    async def open(cls, path: Path) -> Self:
        index = cls(path)
        await index.database.open()
        return index

    async def close(self) -> None:
        await self.database.close()

    async def __aenter__(self) -> Self:
        await self.database.open()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def bind(self, dataset: str, legacy: str, target: str) -> None:
        """Forget a dataset's rows when it has moved to other stores since: their identities mean nothing there."""

        def work(db: sqlite3.Connection) -> None:
            found = db.execute("SELECT legacy, target FROM bound WHERE dataset=?", (dataset,)).fetchone()
            if found == (legacy, target):
                return
            for table in ("objects", "listings", "failures", "begun", "uploads", "parts", "adopted") if found else ():
                db.execute(f"DELETE FROM {table} WHERE dataset=?", (dataset,))
            db.execute("INSERT OR REPLACE INTO bound VALUES (?,?,?)", (dataset, legacy, target))

        await self.database.call(work)

    async def known_between(self, dataset: str, first: str, last: str) -> dict[str, Sequence[Any]]:
        """As `rows_between`, by the keys' bytes in hex and as they come from the database: for rounds of millions. `SIZE`, `LEGACY` and
        `TARGET` are the places of size and identities; `row_of` makes a `Row` of one. One row of the database holds all of them, since
        each that is fetched takes the interpreter's lock from the loop."""
        bounds = (dataset, order_of(first), order_of(last))
        text = await self.database.call(lambda db: db.execute(_KNOWN, bounds).fetchone()[0])
        return {values[0]: values for values in orjson.loads(text)}

    async def rows_between(self, dataset: str, first: str, last: str) -> dict[str, Row]:
        """Rows of all keys from `first` to `last`, both included."""
        found = await self.known_between(dataset, first, last)
        return {row.key: row for row in map(row_of, found.values())}

    async def row(self, dataset: str, key: str) -> Row | None:
        return (await self.rows_between(dataset, key, key)).get(key)

    async def count(self, dataset: str) -> int:
        """How many objects are known to be equal."""
        return int(
            await self.database.call(
                lambda db: db.execute("SELECT count(*) FROM objects WHERE dataset=?", (dataset,)).fetchone()[0]
            )
        )

    async def proof_counts(self, dataset: str) -> dict[Proof, int]:
        """How many objects are known to be equal, by how that was shown."""
        found = await self.database.call(
            lambda db: db.execute("SELECT proof, count(*) FROM objects WHERE dataset=? GROUP BY proof", (dataset,)).fetchall()
        )
        return {proof: int(count) for proof, count in found}

    async def expected(self, dataset: str, side: SideName) -> int:
        """How many objects the last round left or saw on this side; 0 where there was none."""

        def work(db: sqlite3.Connection) -> int:
            seen = db.execute("SELECT objects FROM listings WHERE dataset=? AND side=?", (dataset, side)).fetchone()
            known = db.execute("SELECT count(*) FROM objects WHERE dataset=?", (dataset,)).fetchone()
            return max(seen[0] if seen else 0, int(known[0]))

        return await self.database.call(work)

    async def note_listings(self, dataset: str, counts: dict[SideName, int]) -> None:
        rows = [(dataset, side, count, time.time()) for side, count in counts.items()]
        await self.database.call(lambda db: db.executemany("INSERT OR REPLACE INTO listings VALUES (?,?,?,?)", rows))

    async def forget_objects(self, dataset: str) -> None:
        """After an operator has said that a side is meant to be empty."""
        await self.database.call(lambda db: db.execute("DELETE FROM objects WHERE dataset=?", (dataset,)))

    def record(self, dataset: str, side: SideName, direction: Direction, row: Row) -> None:
        """An object is equal on both sides now. `side` is the one written to; a write in parts there is to be settled besides."""
        key = order_of(row.key)
        self.database.post_row(_UPSERT, _values(dataset, row))
        if (dataset, direction) not in self._spotless:
            self.database.post_row(_FORGIVE, (key,), (dataset, direction))
        if self._begun.pop((dataset, side, key), None) is None:
            self.database.post_row(_ENDED, (key,), (dataset, side))

    async def record_many(self, dataset: str, rows: Iterable[Row]) -> None:
        values = [_values(dataset, row) for row in rows]
        await self.database.call(lambda db: _UPSERT.execute(db, values))

    def begin(self, dataset: str, side: SideName, key: str) -> None:
        """Bytes of this object are about to be sent to `side`."""
        self._begun[dataset, side, order_of(key)] = time.time()
        self.database.soon()

    def _hand_over_begun(self) -> None:
        begun, self._begun = self._begun, {}
        for (dataset, side, key), instant in begun.items():
            self.database.add_row(_BEGUN, (dataset, side, key, instant))

    def ended(self, dataset: str, side: SideName, key: str) -> None:
        """Nothing more is sent of this object; a write in parts that is open is still to be ended."""
        if self._begun.pop((dataset, side, order_of(key)), None) is None:
            self.database.post_row(_ENDED, (order_of(key),), (dataset, side))

    def settle(self, dataset: str, side: SideName, key: str) -> None:
        """Nothing is left open of this object on `side`."""
        self.database.post(lambda db: _clear(db, dataset, side, order_of(key)))

    def fail(self, dataset: str, direction: Direction, failure: Failure) -> None:
        self._spotless.discard((dataset, direction))
        values = (dataset, direction, order_of(failure.key), plain(failure.reason), time.time())
        self.database.post(lambda db: db.execute("INSERT OR REPLACE INTO failures VALUES (?,?,?,?,?)", values))

    def forgive(self, dataset: str, direction: Direction, key: str) -> None:
        """The object is a failure no more (it is gone from the source)."""
        values = (dataset, direction, order_of(key))
        self.database.post(lambda db: db.execute("DELETE FROM failures WHERE dataset=? AND direction=? AND key=?", values))

    async def look_for_failures(self, dataset: str, direction: Direction) -> None:
        """At the start of a round: where nothing had failed, what is copied has nothing to be forgiven."""
        query = "SELECT 1 FROM failures WHERE dataset=? AND direction=? LIMIT 1"
        found = await self.database.call(lambda db: db.execute(query, (dataset, direction)).fetchone())
        if found is None:
            self._spotless.add((dataset, direction))

    async def failures(self, dataset: str, direction: Direction) -> list[Failure]:
        """What failed last, in the order of keys."""
        found = await self.database.call(
            lambda db: db.execute(
                "SELECT key, reason FROM failures WHERE dataset=? AND direction=? ORDER BY key", (dataset, direction)
            ).fetchall()
        )
        return [Failure(key_of(key), reason) for key, reason in found]

    async def keep_handover(self, dataset: str, epoch: int) -> int:
        """Copy the dataset's rows as the handover index of this epoch; returns how many."""

        def work(db: sqlite3.Connection) -> int:
            db.execute("DELETE FROM handover WHERE dataset=? AND epoch=?", (dataset, epoch))
            done = db.execute(
                "INSERT INTO handover SELECT dataset, ?, key, size, crc64nvme, legacy_id, target_id FROM objects WHERE dataset=?",
                (epoch, dataset),
            )
            return done.rowcount

        return await self.database.call(work)

    async def handover_count(self, dataset: str, epoch: int) -> int:
        query = "SELECT count(*) FROM handover WHERE dataset=? AND epoch=?"
        return int(await self.database.call(lambda db: db.execute(query, (dataset, epoch)).fetchone()[0]))

    async def rows_after(self, dataset: str, key: str = "", limit: int = 1000) -> list[Row]:
        """The next rows in the order of keys."""
        query = f"SELECT {_ROW} FROM objects WHERE dataset=? AND key>? ORDER BY key LIMIT ?"
        bounds = (dataset, order_of(key), limit)
        return [_row(v) for v in await self.database.call(lambda db: db.execute(query, bounds).fetchall())]

    async def sample(self, dataset: str, count: int) -> list[Row]:
        """Some rows by chance, in the order of keys."""
        query = f"SELECT {_ROW} FROM objects WHERE dataset=? ORDER BY random() LIMIT ?"
        found = await self.database.call(lambda db: db.execute(query, (dataset, count)).fetchall())
        return sorted((_row(v) for v in found), key=lambda row: order_of(row.key))

    async def note_round(self, result: RoundResult) -> None:
        values = (
            result.dataset, result.direction, time.time(), result.seconds, result.listed, result.copied,
            result.failed, result.bytes, result.resent_bytes, result.lag_objects,
        )  # fmt: skip
        await self.database.call(lambda db: db.execute("INSERT INTO rounds VALUES (?,?,?,?,?,?,?,?,?,?)", values))

    # writes in parts

    async def upload(self, dataset: str, side: SideName, key: str) -> tuple[Upload, dict[int, PartRow]] | None:
        """The open write of this key, and its parts whose sending had begun."""
        where = (dataset, side, order_of(key))

        def work(db: sqlite3.Connection) -> tuple[Any, list[Any]]:
            up = db.execute(f"SELECT {_UPLOAD} FROM uploads WHERE dataset=? AND side=? AND key=?", where).fetchone()
            query = "SELECT number, size, crc64, crc32c, etag FROM parts WHERE dataset=? AND side=? AND key=?"
            return up, db.execute(query, where).fetchall()

        up, parts = await self.database.call(work)
        if up is None:
            return None
        rows = (PartRow(n, Sums(size, int.from_bytes(crc64), crc32c), etag) for n, size, crc64, crc32c, etag in parts)
        return _upload(up), {row.number: row for row in rows}

    async def open_uploads(self, dataset: str, side: SideName) -> list[Upload]:
        found = await self.database.call(
            lambda db: db.execute(f"SELECT {_UPLOAD} FROM uploads WHERE dataset=? AND side=?", (dataset, side)).fetchall()
        )
        return [_upload(values) for values in found]

    async def note_upload(self, dataset: str, side: SideName, upload: Upload) -> None:
        key = order_of(upload.key)
        values = (dataset, side, key, upload.upload, upload.size, upload.source_id, upload.part_size, upload.begun_at)

        def work(db: sqlite3.Connection) -> None:
            _clear(db, dataset, side, key)
            db.execute("INSERT INTO begun VALUES (?,?,?,?)", (dataset, side, key, time.time()))
            db.execute("INSERT INTO uploads VALUES (?,?,?,?,?,?,?,?)", values)

        await self.database.call(work)

    def note_part(self, dataset: str, side: SideName, key: str, number: int, sums: Sums, part: PartInfo | None) -> None:
        """Before a part is sent (`part` None) and again when the store has answered."""
        etag = part.etag if part else ""
        values = (dataset, side, order_of(key), number, sums.size, sums.crc64.to_bytes(8), sums.crc32c, etag)
        self.database.post(lambda db: db.execute("INSERT OR REPLACE INTO parts VALUES (?,?,?,?,?,?,?,?)", values))

    async def was_begun(self, dataset: str, side: SideName, keys: Iterable[str]) -> set[str]:
        """Which of these an earlier attempt had begun to send and never saw the end of."""
        wanted = [order_of(key) for key in keys]

        def work(db: sqlite3.Connection) -> list[bytes]:
            out = []
            for start in range(0, len(wanted), 500):
                some = wanted[start : start + 500]
                marks = ",".join("?" * len(some))
                query = f"SELECT key FROM begun WHERE dataset=? AND side=? AND key IN ({marks})"
                out += [row[0] for row in db.execute(query, (dataset, side, *some))]
            return out

        return {key_of(key) for key in await self.database.call(work)}


_KNOWN = """SELECT json_group_array(json_array(lower(hex(key)), size, crc64nvme, proof, legacy_id, target_id)) FROM objects
    WHERE dataset=? AND key BETWEEN ? AND ?"""
SIZE, LEGACY, TARGET = 1, 4, 5
_ROW = "key, size, crc64nvme, proof, legacy_id, target_id"
_UPLOAD = "key, upload, size, source_id, part_size, begun_at"
_BEGUN = Many("INSERT OR REPLACE INTO begun VALUES ", 4)
_ENDED = Many("DELETE FROM begun WHERE dataset=? AND side=? AND key IN (VALUES ", 1, ")")
_FORGIVE = Many("DELETE FROM failures WHERE dataset=? AND direction=? AND key IN (VALUES ", 1, ")")
_UPSERT = Many("INSERT OR REPLACE INTO objects VALUES ", 8)


def key_of(order: bytes) -> str:
    """The key whose `order_of` this is."""
    return order.decode("utf-8", "surrogateescape")


def row_of(values: Any) -> Row:
    """The row of what `known_between` gives."""
    return Row(key_of(bytes.fromhex(values[0])), *values[1:])


def _row(values: Any) -> Row:
    return Row(key_of(values[0]), *values[1:])


def _upload(values: Any) -> Upload:
    return Upload(key_of(values[0]), *values[1:])


def _values(dataset: str, row: Row) -> tuple[Any, ...]:
    return (
        dataset, order_of(row.key), row.size, row.crc64nvme, row.proof, row.legacy_id, row.target_id, time.time(),
    )  # fmt: skip


def _clear(db: sqlite3.Connection, dataset: str, side: SideName, key: bytes) -> None:
    for table in ("begun", "uploads", "parts"):
        db.execute(f"DELETE FROM {table} WHERE dataset=? AND side=? AND key=?", (dataset, side, key))
