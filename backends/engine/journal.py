"""The journal: every event of a migration, durable before its effect, in one chain.

SQLite, WAL, synchronous=FULL, one writer thread. An event carries a sequence number, its parent (unique: two writers collide), UTC
time, actor, plan hash, schema version and the hash of the event before it. Where the disk is full, events of a rollback go to an
emergency journal elsewhere and are merged later.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from backends.cutover.events import SCHEMA, Event, Kind
from backends.engine import emergency, reserve
from backends.engine.clock import utc_now
from backends.engine.errors import JournalBroken, JournalFull
from backends.engine.paths import head_of, journal_of
from backends.escape import plain

_TABLE = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY,
    parent INTEGER NOT NULL UNIQUE,
    at TEXT NOT NULL,
    actor TEXT NOT NULL,
    kind TEXT NOT NULL,
    data TEXT NOT NULL,
    plan_hash TEXT NOT NULL,
    schema INTEGER NOT NULL,
    observed REAL NOT NULL,
    previous TEXT NOT NULL,
    hash TEXT NOT NULL
) STRICT
"""
_COLUMNS = "seq, parent, at, actor, kind, data, plan_hash, schema, observed, previous, hash"
GENESIS = "0" * 64


@dataclass(frozen=True, slots=True)
class Head:
    seq: int = 0
    hash: str = GENESIS


def event_hash(previous: str, seq: int, at: str, actor: str, kind: str, data: str, plan_hash: str, observed: float) -> str:
    """SHA-256 over the event before and all of this one, hex."""
    body = json.dumps([previous, seq, at, actor, kind, data, plan_hash, SCHEMA, observed])
    return hashlib.sha256(body.encode()).hexdigest()


class Journal:
    """The only writer. Reading a journal that nobody holds open: `read_events`, `verify_chain`."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="journal")
        self._db: sqlite3.Connection | None = None
        self._head = Head()
        self._lock = asyncio.Lock()
        self._spilled: list[Event] = []
        self.released = False  # the disk was full: what is written now is written into the reserved space
        self.emergency: Path | None = None  # where events go while the journal cannot be written
        self.plan_hash = ""

    @property
    def head(self) -> Head:
        return self._head

    async def open(self) -> list[Event]:
        """Open or make the journal and read it whole. Raises `JournalBroken` where its chain does not hold."""
        events: list[Event] = await self._run(self._open)
        return events

    async def append(self, kind: str, data: dict[str, Any], *, actor: str, observed: float, may_spill: bool = False) -> Event:
        """Make an event durable and return it. With `may_spill` a journal that cannot be written does not stop us."""
        async with self._lock:
            event: Event = await asyncio.shield(self._run(self._append, kind, data, actor, observed, may_spill))
            return event

    async def hash_at(self, seq: int) -> str | None:
        """The hash of an event; None where there is none of this number."""
        found: str | None = await self._run(self._hash_at, seq)
        return found

    async def close(self) -> None:
        await self._run(self._close)
        self._thread.shutdown(wait=False)

    async def _run(self, function: Any, *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, function, *args)

    def _open(self) -> list[Event]:
        path = journal_of(self._state)
        try:
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            os.chmod(path, 0o600)
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute(_TABLE)
            rows = self._db.execute(f"SELECT {_COLUMNS} FROM events ORDER BY seq").fetchall()
        except sqlite3.DatabaseError as error:
            raise JournalBroken(f"the journal cannot be read: {error}", where=str(path), hint=_CURE) from error
        events = list(_checked(rows, path))
        check_head(read_head(self._state), rows, path)
        self._head = Head(rows[-1][0], rows[-1][10]) if rows else Head()
        # Without it and without room for it: as if it had been given up already.
        self.released = not reserve.keep(self._state)
        return events + self._take_back()

    def _hash_at(self, seq: int) -> str | None:
        assert self._db is not None
        row = self._db.execute("SELECT hash FROM events WHERE seq = ?", (seq,)).fetchone()
        return str(row[0]) if row is not None else None

    def _take_back(self) -> list[Event]:
        """What an engine before us wrote to an emergency journal and could not merge any more. Where it still cannot be merged, it counts
        all the same."""
        taken: list[Event] = []
        for path in emergency.left_behind(self._state):
            self.emergency = path
            self._spilled = emergency.read(path, self._head.seq)
            taken += self._spilled
            try:
                self._merge()
            except sqlite3.Error:
                break
        return taken

    def _append(self, kind: str, data: dict[str, Any], actor: str, observed: float, may_spill: bool) -> Event:
        at, body = utc_now(), json.dumps(data, sort_keys=True, default=str, allow_nan=False)
        if self.released and not may_spill and not self._has_room():
            raise JournalFull("the disk is full: what room is left is for the way back", where=str(self._state), hint="make room")
        try:
            if self._spilled:
                self._merge()
            return self._insert(kind, body, actor, observed, at)
        except sqlite3.Error as error:
            if may_spill and reserve.release(self._state):
                self.released = True
                return self._append(kind, data, actor, observed, may_spill)
            if not may_spill:
                raise JournalFull(f"the journal cannot be written: {error}", where=str(journal_of(self._state))) from error
            return self._spill(kind, data, actor, observed, at)

    def _has_room(self) -> bool:
        """Is there room again, so that space is reserved anew?"""
        self.released = not reserve.keep(self._state)
        return not self.released

    def _insert(self, kind: str, body: str, actor: str, observed: float, at: datetime, of_plan: str | None = None) -> Event:
        assert self._db is not None
        plan_hash = self.plan_hash if of_plan is None else of_plan
        seq, stamp, observed = self._head.seq + 1, at.isoformat(), round(float(observed), 3)
        digest = event_hash(self._head.hash, seq, stamp, actor, kind, body, plan_hash, observed)
        row = (seq, seq - 1, stamp, actor, kind, body, plan_hash, SCHEMA, observed, self._head.hash, digest)
        self._db.execute(f"INSERT INTO events ({_COLUMNS}) VALUES (?,?,?,?,?,?,?,?,?,?,?)", row)
        self._head = Head(seq, digest)
        write_head(self._state, self._head)
        return Event(seq, at, actor, kind, json.loads(body), plan_hash, observed)

    def _spill(self, kind: str, data: dict[str, Any], actor: str, observed: float, at: datetime) -> Event:
        if self.emergency is None:
            self.emergency = emergency.new_file(self._state)
        seq = self._head.seq + len(self._spilled) + 1
        told = json.loads(json.dumps(data, default=str))  # the very event that is merged later
        event = Event(seq, at, actor, kind, told, self.plan_hash, round(float(observed), 3))
        emergency.write(self.emergency, event)
        self._spilled.append(event)
        return event

    def _merge(self) -> None:
        """What the emergency journal holds goes into the journal, in order."""
        for event in list(self._spilled):
            body = json.dumps(event.data, sort_keys=True, default=str)
            self._insert(event.kind, body, event.actor, event.observed, event.at, event.plan_hash)
            self._spilled.remove(event)
        self._insert(Kind.MERGED, json.dumps({"from": str(self.emergency)}), "engine", 0.0, utc_now())
        if self.emergency is not None:
            self.emergency.unlink(missing_ok=True)
            self.emergency = None

    def _close(self) -> None:
        if self._db is not None:
            self._db.close()
            self._db = None


_CURE = "keep the folder as it is and go by docs/rollback.md, 'The journal is broken'"


def read_events(state: Path) -> list[Event]:
    """Every event of a journal, without opening it for writing and without an engine. Raises `JournalBroken`."""
    return list(_checked(_rows(state), journal_of(state)))


def readable_events(state: Path) -> tuple[list[Event], JournalBroken | None]:
    """The events up to where the chain breaks, and what breaks it: for people who have to go on by hand."""
    events: list[Event] = []
    try:
        for event in _checked(_rows(state), journal_of(state)):
            events.append(event)
    except JournalBroken as error:
        return events, error
    return events, None


def _rows(state: Path) -> list[tuple[Any, ...]]:
    path = journal_of(state)
    if not path.is_file():
        return []
    try:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return db.execute(f"SELECT {_COLUMNS} FROM events ORDER BY seq").fetchall()
        finally:
            db.close()
    except sqlite3.DatabaseError as error:
        raise JournalBroken(f"the journal cannot be read: {error}", where=str(path), hint=_CURE) from error


def hash_in(state: Path, seq: int) -> str | None:
    """The hash of an event of a journal that nobody has open; None where it has none of this number."""
    return next((str(row[-1]) for row in _rows(state) if row[0] == seq), None)


def migration_name(state: Path) -> str:
    """The name of the migration that a folder's journal holds, without reading it whole; empty where it does not say."""
    path = journal_of(state)
    try:
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            row = db.execute("SELECT data FROM events WHERE kind = ? ORDER BY seq LIMIT 1", (Kind.CREATED,)).fetchone()
        finally:
            db.close()
        return str(json.loads(row[0]).get("name", "")) if row is not None else ""
    except (sqlite3.DatabaseError, ValueError) as error:
        raise JournalBroken(f"the journal cannot be read: {error}", where=str(path), hint=_CURE) from error


def verify_chain(state: Path) -> Head:
    """Check every hash, and the head in the side file; returns the head. Raises `JournalBroken` saying where."""
    # The head is read first: an engine that writes meanwhile only adds.
    told = read_head(state)
    rows = _rows(state)
    for _ in _checked(rows, journal_of(state)):
        pass
    check_head(told, rows, journal_of(state))
    return Head(rows[-1][0], rows[-1][10]) if rows else Head()


def check_head(told: Head | None, rows: list[tuple[Any, ...]], path: Path) -> None:
    """The side file may never be ahead of the journal: then a tail was lost. Nor may it tell another hash."""
    if told is None:
        return
    last = rows[-1][0] if rows else 0
    if told.seq > last:
        text = f"the journal ends at event {last}, but {told.seq} had been written: its tail is lost"
        raise JournalBroken(text, where=str(path), hint=_CURE)
    if told.seq > 0 and rows[told.seq - 1][10] != told.hash:
        text = f"event {told.seq} is not the one that the file beside the journal tells of"
        raise JournalBroken(text, where=str(path), hint=_CURE)


def read_head(state: Path) -> Head | None:
    try:
        seq, digest = head_of(state).read_text().split()
        return Head(int(seq), digest)
    except (OSError, ValueError):
        return None


def write_head(state: Path, head: Head) -> None:
    """Best effort: the head is a witness beside the journal, not part of it."""
    try:
        new = head_of(state).with_suffix(".new")
        new.write_text(f"{head.seq} {head.hash}\n")
        new.replace(head_of(state))
    except OSError:
        return


def _hash_of(*fields: Any) -> str:
    """The hash of a row as it was read; none where a field is of another kind than was written."""
    try:
        return event_hash(*fields)
    except (TypeError, ValueError):
        return ""


def _checked(rows: list[tuple[Any, ...]], path: Path) -> Iterator[Event]:
    previous, expected = GENESIS, 1
    for seq, parent, at, actor, kind, data, plan_hash, schema, observed, before, digest in rows:
        where = f"{path}: event {seq}"
        if seq != expected or parent != seq - 1:
            raise JournalBroken(f"event {expected} is missing", where=where, hint=_CURE)
        if not isinstance(schema, int):
            raise JournalBroken(f"event {seq} is not what was written", where=where, hint=_CURE)
        if schema > SCHEMA:
            raise JournalBroken(f"event {seq} has schema {schema}, newer than {SCHEMA}", where=where, hint="use a newer cutover")
        if before != previous or _hash_of(before, seq, at, actor, kind, data, plan_hash, observed) != digest:
            raise JournalBroken(f"event {seq} ({plain(str(kind))}) is not what was written", where=where, hint=_CURE)
        try:
            yield Event(seq, datetime.fromisoformat(at), actor, kind, json.loads(data), plan_hash, observed)
        except ValueError as error:
            raise JournalBroken(f"event {seq} cannot be read: {error}", where=where, hint=_CURE) from error
        previous, expected = digest, seq + 1
