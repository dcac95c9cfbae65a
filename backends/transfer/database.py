"""SQLite in one thread of its own: calls are batched into transactions, nothing blocks the event loop.

A statement takes many rows at once (`Many`): the interpreter's lock goes to and fro once a statement, which row by row was a third of the
time of 5,000 small copies. What is posted waits up to `_HOLD_SECONDS` and is handed over together: each hand-over wakes the thread, and a thread that wakes for
every object takes that lock from the loop.

WAL with synchronous=NORMAL: what was committed survives our death by kill -9; of a power cut the last moments may be lost,
which costs comparing those objects again and never a wrong conclusion.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from backends.transfer.errors import IndexUnusable

T = TypeVar("T")
Operation = Callable[[sqlite3.Connection], Any]
_AT_ONCE = (256, 128, 64, 32, 16, 8, 4, 2, 1)  # rows a statement: each size is compiled and kept
_Job = tuple[Operation, "asyncio.Future[Any] | None"]
_BATCH = 512
_BUSY_SECONDS = 30.0
_HOLD_SECONDS = 0.05
_HOLD_ROWS = 2048


@dataclass(frozen=True, slots=True)
class Many:
    """A statement for any number of rows of `width` values: `before`, the rows as `(?,…)` with commas between, `after`. `before` may have
    marks of its own, for what all rows have in common."""

    before: str
    width: int
    after: str = ""

    def execute(self, db: sqlite3.Connection, rows: Sequence[tuple[Any, ...]], common: tuple[Any, ...] = ()) -> None:
        done = 0
        row = f"({','.join('?' * self.width)})"
        for size in _AT_ONCE:
            count, statement = (len(rows) - done) // size, ""
            for _ in range(count):
                statement = statement or f"{self.before}{','.join([row] * size)}{self.after}"
                db.execute(statement, (*common, *chain.from_iterable(rows[done : done + size])))
                done += size


_Waiting = dict[tuple[Many, tuple[Any, ...]], list[tuple[Any, ...]]]  # (statement, what its rows have in common) -> rows


class Database:
    """One connection in one thread. `call` waits for its result, `post` does not: its error is raised by what comes next."""

    def __init__(self, path: Path, schema: str) -> None:
        self.path = path
        self._schema = schema
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._error: Exception | None = None
        self._rows: _Waiting = {}  # not handed over yet
        self._waiting = 0
        self._timer: asyncio.TimerHandle | None = None
        self.before_hand_over: Callable[[], None] = lambda: None

    async def open(self) -> None:
        self._loop = asyncio.get_running_loop()
        connection = await asyncio.to_thread(self._connect)
        self._thread = threading.Thread(target=self._run, args=(connection,), name="transfer-index", daemon=True)
        self._thread.start()

    async def close(self) -> None:
        """Commit what is waiting and end the thread."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self.hand_over()
        self._queue.put(None)
        await asyncio.to_thread(thread.join)
        self._raise_posted()

    async def call(self, operation: Callable[[sqlite3.Connection], T]) -> T:
        """Run in the thread, inside a transaction; the result when it is committed."""
        self._raise_posted()
        if self._thread is None or self._loop is None:
            raise IndexUnusable(f"the index {self.path} is closed", where=str(self.path))
        self.hand_over()
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put((operation, future))
        return await future

    def post(self, operation: Operation) -> None:
        """The same without waiting. Order is kept."""
        self._raise_posted()
        self.hand_over()
        self._queue.put((operation, None))

    def post_row(self, statement: Many, values: tuple[Any, ...], common: tuple[Any, ...] = ()) -> None:
        """One row for a statement, soon. Order is kept among the rows of one statement and towards `post` and `call`, not between
        statements."""
        if self._error is not None:
            self._raise_posted()
        self.add_row(statement, values, common)
        self.soon()

    def add_row(self, statement: Many, values: tuple[Any, ...], common: tuple[Any, ...] = ()) -> None:
        """The same out of `before_hand_over`."""
        rows = self._rows.get((statement, common))
        if rows is None:
            rows = self._rows[statement, common] = []
        rows.append(values)

    def soon(self) -> None:
        """Something waits to be handed over."""
        self._waiting += 1
        if self._waiting >= _HOLD_ROWS:
            self.hand_over()
        elif self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(_HOLD_SECONDS, self.hand_over)

    def hand_over(self) -> None:
        """Give the thread what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._waiting:
            return
        self.before_hand_over()
        rows, self._rows, self._waiting = self._rows, {}, 0
        if rows:
            self._queue.put((lambda db: _execute_rows(db, rows), None))

    async def flush(self) -> None:
        """Wait until all that was posted is committed."""
        await self.call(lambda connection: None)
        self._raise_posted()

    def _raise_posted(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise self._ours(error) from error

    def _ours(self, error: Exception) -> Exception:
        if not isinstance(error, sqlite3.Error):
            return error
        hint = "is the disk full, or the file of another version?"
        return IndexUnusable(f"the index {self.path} cannot be used: {error}", where=str(self.path), hint=hint)

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.executescript(self._schema)
        except sqlite3.Error as error:
            raise self._ours(error) from error
        return connection

    def _run(self, connection: sqlite3.Connection) -> None:
        ended = False
        while not ended:
            jobs = [self._queue.get()]
            while len(jobs) < _BATCH and not self._queue.empty():
                jobs.append(self._queue.get())
            ended = None in jobs
            batch = [job for job in jobs if job is not None]
            if batch and not self._together(connection, batch):
                for job in batch:
                    self._alone(connection, job)
        connection.close()

    def _together(self, connection: sqlite3.Connection, batch: list[_Job]) -> bool:
        """All in one transaction; False when one of them failed and nothing was done."""
        results = []
        try:
            connection.execute("BEGIN IMMEDIATE")
            results = [operation(connection) for operation, _ in batch]
            connection.execute("COMMIT")
        except Exception:  # noqa: BLE001 - each is run again alone, where its error goes to whoever asked
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            return False
        for (_, future), result in zip(batch, results, strict=True):
            self._answer(future, result, None)
        return True

    def _alone(self, connection: sqlite3.Connection, job: _Job) -> None:
        operation, future = job
        try:
            connection.execute("BEGIN IMMEDIATE")
            result = operation(connection)
            connection.execute("COMMIT")
        except Exception as error:  # noqa: BLE001 - handed over to whoever asked
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if future is None:
                self._error = error
            else:
                self._answer(future, None, self._ours(error))
            return
        self._answer(future, result, None)

    def _answer(self, future: asyncio.Future[Any] | None, result: Any, error: Exception | None) -> None:
        if future is None or self._loop is None or self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(_settle, future, result, error)


def _execute_rows(db: sqlite3.Connection, rows: _Waiting) -> None:
    for (statement, common), values in rows.items():
        statement.execute(db, values, common)


def _settle(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
