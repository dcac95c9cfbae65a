"""What of a dataset is on its hub, in the index: objects that have arrived and not yet gone on, and uploads that are open.

A row of `hub_objects` stands from when the object was proven on the hub until it is proven on the target. It carries all that the second
leg needs, so that a killed run goes on without asking the source.
"""

from __future__ import annotations

import array
import json
import sqlite3
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from backends.stores.base import ObjectInfo
from backends.transfer.compress.seekable import Table
from backends.transfer.database import Database
from backends.transfer.hub.names import Codec
from backends.transfer.index import key_of
from backends.transfer.merge import order_of
from backends.transfer.sums import Sums

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS hub_bound (dataset TEXT PRIMARY KEY, hub TEXT, source TEXT)",
    "CREATE TABLE IF NOT EXISTS hub_rules (dataset TEXT PRIMARY KEY, hub TEXT, days INTEGER, set_at REAL)",
    """CREATE TABLE IF NOT EXISTS hub_objects (dataset TEXT, key BLOB, name TEXT, codec TEXT, hub_id TEXT, hub_size INTEGER,
    source TEXT, read_at REAL, crc64 BLOB, crc32c INTEGER, promised INTEGER, arrived_at REAL, PRIMARY KEY (dataset, key)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS hub_uploads (dataset TEXT, key BLOB, name TEXT, upload TEXT, size INTEGER, source_id TEXT,
    level INTEGER, begun_at REAL, PRIMARY KEY (dataset, key)) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS hub_parts (dataset TEXT, key BLOB, number INTEGER, frames BLOB, size INTEGER, crc64 BLOB,
    crc32c INTEGER, encoded_size INTEGER, encoded_crc64 BLOB, encoded_crc32c INTEGER, etag TEXT,
    PRIMARY KEY (dataset, key, number)) WITHOUT ROWID""",
)
_RULE_SECONDS = 86_400.0  # then it is asked for again
_OBJECT = "name, codec, hub_id, hub_size, source, read_at, crc64, crc32c, promised"
_PART = "number, frames, size, crc64, crc32c, encoded_size, encoded_crc64, encoded_crc32c, etag"


@dataclass(frozen=True, slots=True)
class Arrived:
    """An object on the hub, proven there. `sums` are the original's, `is_promised` says that the source's own checksum agrees."""

    source: ObjectInfo
    read_at: float
    sums: Sums
    is_promised: bool
    codec: Codec
    name: str
    hub_id: str
    hub_size: int
    table: Table | None = field(default=None, compare=False)  # of a compressed one, where it is known already


@dataclass(frozen=True, slots=True)
class HubUpload:
    """An upload in parts to the hub. `level` 0 is plain; `upload` is "" where its id was never learnt."""

    key: str
    name: str
    upload: str
    size: int
    source_id: str
    level: int
    begun_at: float = 0.0


@dataclass(frozen=True, slots=True)
class HubPart:
    """A part whose sending had begun: the encoded sizes of its frames, the sums of what they hold and of what was sent."""

    number: int
    frames: tuple[int, ...]
    original: Sums
    encoded: Sums
    etag: str = ""


class HubState:
    """The rows of one dataset."""

    def __init__(self, database: Database, dataset: str) -> None:
        self._db = database
        self._dataset = dataset
        self._keys: set[str] = set()  # of rows that an earlier round left: most objects have none

    async def open(self, hub: str, source: str) -> None:
        """Forget what was noted of another hub or source."""

        def work(db: sqlite3.Connection) -> list[bytes]:
            for statement in _SCHEMA:
                db.execute(statement)
            bound = db.execute("SELECT hub, source FROM hub_bound WHERE dataset=?", (self._dataset,)).fetchone()
            if bound != (hub, source):
                for table in ("hub_objects", "hub_uploads", "hub_parts"):
                    db.execute(f"DELETE FROM {table} WHERE dataset=?", (self._dataset,))
                db.execute("INSERT OR REPLACE INTO hub_bound VALUES (?,?,?)", (self._dataset, hub, source))
            keys = "SELECT key FROM hub_objects WHERE dataset=? UNION SELECT key FROM hub_uploads WHERE dataset=?"
            return [row[0] for row in db.execute(keys, (self._dataset, self._dataset))]

        self._keys = {key_of(key) for key in await self._db.call(work)}

    async def has_rule(self, hub: str, days: int) -> bool:
        """Was the rule by which objects expire there set a short while ago? Asking for it costs as much as a small round."""
        query = "SELECT hub, days, set_at FROM hub_rules WHERE dataset=?"
        found = await self._db.call(lambda db: db.execute(query, (self._dataset,)).fetchone())
        return found is not None and found[:2] == (hub, days) and 0 <= time.time() - found[2] < _RULE_SECONDS

    async def note_rule(self, hub: str, days: int) -> None:
        values = (self._dataset, hub, days, time.time())
        await self._db.call(lambda db: db.execute("INSERT OR REPLACE INTO hub_rules VALUES (?,?,?,?)", values))

    # objects

    async def arrived(self, key: str) -> Arrived | None:
        if key not in self._keys:
            return None
        query = f"SELECT {_OBJECT} FROM hub_objects WHERE dataset=? AND key=?"
        found = await self._db.call(lambda db: db.execute(query, (self._dataset, order_of(key))).fetchone())
        return None if found is None else _arrived(key, found)

    async def all_arrived(self) -> list[Arrived]:
        query = f"SELECT key, {_OBJECT} FROM hub_objects WHERE dataset=?"
        found = await self._db.call(lambda db: db.execute(query, (self._dataset,)).fetchall())
        return [_arrived(key_of(key), values) for key, *values in found]

    async def note_arrived(self, arrived: Arrived) -> None:
        """It is proven on the hub; its upload, if there was one, is at its end."""
        key = order_of(arrived.source.key)
        values = (
            self._dataset, key, arrived.name, arrived.codec, arrived.hub_id, arrived.hub_size, _dumped(arrived.source),
            arrived.read_at, arrived.sums.crc64.to_bytes(8), arrived.sums.crc32c, int(arrived.is_promised), time.time(),
        )  # fmt: skip

        def work(db: sqlite3.Connection) -> None:
            db.execute("INSERT OR REPLACE INTO hub_objects VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", values)
            _drop_upload(db, self._dataset, key)

        await self._db.call(work)
        self._keys.add(arrived.source.key)

    def forget(self, key: str) -> None:
        """It has gone on, or is not there any more."""
        where = (self._dataset, order_of(key))
        self._db.post(lambda db: db.execute("DELETE FROM hub_objects WHERE dataset=? AND key=?", where))

    # uploads

    async def upload(self, key: str) -> tuple[HubUpload, list[HubPart]] | None:
        """The open upload of this key and its parts whose sending had begun, in order."""
        if key not in self._keys:
            return None
        where = (self._dataset, order_of(key))

        def work(db: sqlite3.Connection) -> tuple[Any, list[Any]]:
            query = "SELECT name, upload, size, source_id, level, begun_at FROM hub_uploads WHERE dataset=? AND key=?"
            parts = f"SELECT {_PART} FROM hub_parts WHERE dataset=? AND key=? ORDER BY number"
            return db.execute(query, where).fetchone(), db.execute(parts, where).fetchall()

        found, parts = await self._db.call(work)
        return None if found is None else (HubUpload(key, *found), [_part(values) for values in parts])

    async def open_uploads(self) -> list[HubUpload]:
        query = "SELECT key, name, upload, size, source_id, level, begun_at FROM hub_uploads WHERE dataset=?"
        found = await self._db.call(lambda db: db.execute(query, (self._dataset,)).fetchall())
        return [HubUpload(key_of(key), *values) for key, *values in found]

    async def note_upload(self, upload: HubUpload) -> None:
        key = order_of(upload.key)
        values = (self._dataset, key, upload.name, upload.upload, upload.size, upload.source_id, upload.level, upload.begun_at)

        def work(db: sqlite3.Connection) -> None:
            _drop_upload(db, self._dataset, key)
            db.execute("INSERT INTO hub_uploads VALUES (?,?,?,?,?,?,?,?)", values)

        await self._db.call(work)
        self._keys.add(upload.key)

    def note_part(self, key: str, part: HubPart) -> None:
        """Before a part is sent, and again with its ETag when the store has answered."""
        values = (
            self._dataset, order_of(key), part.number, array.array("I", part.frames).tobytes(),
            part.original.size, part.original.crc64.to_bytes(8), part.original.crc32c,
            part.encoded.size, part.encoded.crc64.to_bytes(8), part.encoded.crc32c, part.etag,
        )  # fmt: skip
        self._db.post(lambda db: db.execute("INSERT OR REPLACE INTO hub_parts VALUES (?,?,?,?,?,?,?,?,?,?,?)", values))

    async def drop_upload(self, key: str) -> None:
        await self._db.call(lambda db: _drop_upload(db, self._dataset, order_of(key)))


def _drop_upload(db: sqlite3.Connection, dataset: str, key: bytes) -> None:
    for table in ("hub_uploads", "hub_parts"):
        db.execute(f"DELETE FROM {table} WHERE dataset=? AND key=?", (dataset, key))


def _arrived(key: str, values: Any) -> Arrived:
    name, codec, hub_id, hub_size, source, read_at, crc64, crc32c, promised = values
    info = _loaded(key, source)
    sums = Sums(info.size, int.from_bytes(crc64), crc32c)
    return Arrived(info, read_at, sums, bool(promised), codec, name, hub_id, hub_size)


def _part(values: Any) -> HubPart:
    number, frames, size, crc64, crc32c, encoded_size, encoded_crc64, encoded_crc32c, etag = values
    original = Sums(size, int.from_bytes(crc64), crc32c)
    encoded = Sums(encoded_size, int.from_bytes(encoded_crc64), encoded_crc32c)
    return HubPart(number, tuple(array.array("I", frames)), original, encoded, etag)


_MAPPINGS = ("checksums", "metadata", "headers", "tags")


def _dumped(info: ObjectInfo) -> str:
    fields = info._asdict()
    del fields["key"]
    fields["mtime"] = info.mtime.isoformat() if info.mtime else None
    return json.dumps({name: dict(value) if name in _MAPPINGS else value for name, value in fields.items()})


def _loaded(key: str, text: str) -> ObjectInfo:
    fields = json.loads(text)
    fields["mtime"] = datetime.fromisoformat(fields["mtime"]) if fields["mtime"] else None
    return ObjectInfo(key, **fields)
