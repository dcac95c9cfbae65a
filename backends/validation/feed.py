"""One side's figures, followed as they are written: a tail over SFTP or of a local file that survives what files go through.

- A partial last line waits for its end; a JSON object that is complete in itself does not wait.
- The last bytes read are read again with each poll. Where they differ, or the file is shorter than what was read, it is
  another content: rotated, cut or written anew. It is read from its beginning; `note` says so. If it begins as before
  (the same run, written anew) the old samples are forgotten, else they stay and rewritten places count as the last says.
- Each poll reads a bounded amount; parsing large pieces is left to a thread.

Silence: `age` is the time since the newest sample came in, by our clock. On the first read, when nobody knows when the
lines came, it is the sample's own time or the file's.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping

from backends.errors import CutoverError, NotYetSupported
from backends.escape import plain
from backends.plan.models import Source
from backends.validation.counted import CountedIntake
from backends.validation.files import Chunk, FileReader
from backends.validation.followed import Followed
from backends.validation.intake import Intake
from backends.validation.regexlog import compile_pattern
from backends.validation.rows import Row, axis_absent, samples_of

_PIECE = 1 << 20  # bytes a read
_PIECES = 16  # reads a poll
_TAIL = 128  # bytes read again to see that the file is still the one
_BEGINNING = 512
_IN_THREAD = 1 << 16  # bytes whose parsing is worth a thread


class Feed(Followed):
    """Follows one file."""

    def __init__(
        self,
        source: Source,
        reader: FileReader,
        *,
        pinned: Iterable[float] = (),
        clock: Callable[[], float] = time.time,
        wall: Callable[[], float] | None = None,
    ) -> None:
        super().__init__(source, pinned=pinned, clock=clock, wall=wall)
        self.series.shift = source.shift
        self.restarts = 0
        self._reader = reader
        self._metric = source.value or ""
        self._pattern = source.pattern
        self._intake = self._new_intake()
        self._beginning = b""
        self._old_beginning = b""
        self._tail = b""
        self._offset = 0
        self._caught_up = False
        self._reads_on = False  # what comes is new, and not a file that is read from its beginning
        self._placeless: list[Row] = []

    @property
    def broken(self) -> int:
        """Lines that could not be read, too long ones among them."""
        return self._intake.broken

    @property
    def settings(self) -> Mapping[str, str]:
        return self._intake.settings

    @property
    def is_caught_up(self) -> bool:
        return self._caught_up

    async def _follow(self) -> None:
        try:
            await self._read_on()
            self._explain()
        except CutoverError:
            if not self._intake.is_known:
                self._read_from_start()
            raise

    async def _read_on(self) -> None:
        if not self.source.file or not self._metric:
            raise NotYetSupported("a source needs `file` and `value`")
        for _ in range(_PIECES):
            start = self._offset - len(self._tail)
            chunk = await self._reader.read_from(self.source.file, start, _PIECE)
            if chunk.size < self._offset or not chunk.data.startswith(self._tail):
                await self._rest_of_rotated()
                self._start_anew(chunk)
                continue
            fresh = chunk.data[len(self._tail) :]
            await self._take(fresh, chunk)
            if self._offset >= chunk.size or not fresh:
                self._caught_up = self._reads_on = True
                return

    def _start_anew(self, chunk: Chunk) -> None:
        self.restarts += 1
        cut = chunk.size < self._offset
        self.note = "the file was cut or rotated: read anew" if cut else "the file was written anew: read anew"
        self._old_beginning = self._beginning or self._old_beginning
        self._read_from_start()

    def _read_from_start(self) -> None:
        self._intake = self._new_intake()
        self._beginning, self._tail, self._offset = b"", b"", 0
        self._reads_on = False

    def _new_intake(self) -> Intake:
        pattern = compile_pattern(self._pattern) if self._pattern is not None else None
        where, total = plain(self.source.file or ""), self.source.total
        if total is not None:
            return CountedIntake(self._metric, total, is_share=self.source.unit == "share", where=where, pattern=pattern)
        return Intake(self._metric, where=where, pattern=pattern)

    async def _rest_of_rotated(self) -> None:
        """What was written between our last look and a rotation that gave the old file the name `….1`."""
        if not self._tail:
            return
        try:
            chunk = await self._reader.read_from(f"{self.source.file}.1", self._offset - len(self._tail), _PIECE)
            if chunk.data.startswith(self._tail):
                self._add(self._parse(chunk.data[len(self._tail) :]) + self._intake.end(), self._arrival(chunk))
        except CutoverError:  # there is none, or it is no such file: what it held is not known
            return

    async def _take(self, data: bytes, chunk: Chunk) -> None:
        if not data:
            return
        self._begin(data)
        arrived = self._arrival(chunk)
        if len(data) > _IN_THREAD:
            rows = await asyncio.to_thread(self._parse, data)
        else:
            rows = self._parse(data)
        self._offset += len(data)
        self._tail = (self._tail + data)[-_TAIL:]
        self._add(rows, arrived)

    def _begin(self, data: bytes) -> None:
        """Compare the beginning with the one before: the same means the same run, and what it had is written anew."""
        if len(self._beginning) < _BEGINNING:
            self._beginning = (self._beginning + data)[:_BEGINNING]
        if not self._old_beginning:
            return
        common = min(len(self._beginning), len(self._old_beginning))
        if self._beginning[:common] == self._old_beginning[:common]:
            self.series.clear()
        self._old_beginning = b""

    def _parse(self, data: bytes) -> list[Row]:
        return self._intake.take(data) + self._intake.pause()

    def _arrival(self, chunk: Chunk) -> float:
        """When these lines came, by our clock; before the first catching up only the file's own time can say."""
        now = self._clock()
        if self._caught_up or chunk.modified is None:
            return now
        return min(now, chunk.modified)

    def _add(self, rows: list[Row], arrived: float) -> None:
        self._look_for_memory(arrived)
        rows = self._on_ours(rows, arrived, is_new=self._reads_on)
        samples = samples_of(rows, self.source.by, arrived)
        if len(samples) < len(rows) and len(self._placeless) < 8:
            self._placeless.extend(rows[:8])
        if not samples:
            return
        if self._caught_up:
            self.series.extend(samples, arrived=arrived)
            return
        own = samples[-1].time if rows[-1].time is not None else arrived
        self.series.extend(samples, arrived=min(arrived, own))

    def _look_for_memory(self, arrived: float) -> None:
        """A line that says that memory ran out counts once we follow: what stood there before may be long past."""
        if self._intake.out_of_memory and self._caught_up:
            self.series.out_of_memory, self.series.out_of_memory_at = self._intake.out_of_memory, arrived
        self._intake.out_of_memory = ""

    def _explain(self) -> None:
        """Once the source was read: a metric that never came is an error, and so is one without the axis."""
        if self._intake.is_ambiguous:
            self.series.clear()
            raise self._intake.why_absent()
        if len(self.series):
            return
        if self._placeless:
            raise axis_absent(self._metric, self.source.by, self._placeless)
        if not self._intake.is_waiting and not self._intake.found and self._offset:
            raise self._intake.why_absent()
