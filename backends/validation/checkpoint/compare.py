"""The comparison of two checkpoints: what is read, in which order, and the verdict. docs/judging.md has the rules."""

from __future__ import annotations

import asyncio
import fnmatch
import math
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from backends.errors import unwrapped
from backends.escape import plain
from backends.validation.checkpoint.difference import Difference, Tolerance, compare_bytes
from backends.validation.checkpoint.direct import SECTOR, room
from backends.validation.checkpoint.hashes import known_equal
from backends.validation.checkpoint.pairs import Known, Pair, Part, Piece, in_order, matched, parts_of, pieces
from backends.validation.checkpoint.resume import WORDS, Resume, resume_parts
from backends.validation.checkpoint.side import Bytes, LocalSide, Side, StoreSide
from backends.validation.checkpoint.table import read_table
from backends.validation.checkpoint.tensor import Table, Tensor, Value
from backends.verdict import Verdict

_UNDER_WAY = 6  # pieces: their buffers are all that a comparison keeps
THREADS = 6  # of files of this machine: some read while others compare
_ORDER = {"target": 0, "legacy": 0, "shape": 1, "dtype": 1}
Progress = Callable[[int, int], None]  # bytes of legacy that are done, of all


@dataclass(frozen=True, slots=True)
class TensorResult:
    """One tensor. `missing`: the side that lacks it. `unlike`: `shape` or `dtype`, where nothing could be computed."""

    legacy: Tensor | None
    target: Tensor | None
    missing: str | None = None
    unlike: str | None = None
    found: Difference | None = None
    equal: bool = False

    @property
    def name(self) -> str:
        return self.one.name

    @property
    def one(self) -> Tensor:
        """The tensor, of legacy where it has it."""
        tensor = self.legacy or self.target
        assert tensor is not None
        return tensor

    @property
    def order(self) -> tuple[float, ...]:
        """The largest difference first: absent, then unlike, then by what differs."""
        if self.found is None:
            return (_ORDER.get(self.missing or self.unlike or "", 2),)
        relative = self.found.relative
        size = math.inf if relative is None or self.found.odd else relative
        return (2, float(self.equal), -size, -float(self.found.max_abs), -self.found.differing)


@dataclass(frozen=True, slots=True)
class ValueResult:
    """A plain value that differs."""

    name: str
    legacy: Value
    target: Value


@dataclass(frozen=True, slots=True)
class Report:
    tensors: tuple[TensorResult, ...]  # sorted by difference
    values: tuple[ValueResult, ...]
    resume: tuple[Resume, ...]
    verdict: Verdict
    reason: str
    notes: tuple[str, ...]
    bytes_read: tuple[int, int]
    size: tuple[int, int]
    allowed: str = ""  # what may differ, in words


async def compare_checkpoints(
    legacy: LocalSide | StoreSide,
    target: LocalSide | StoreSide,
    tolerance: Tolerance,
    *,
    ignored: Sequence[str] = (),
    progress: Progress = lambda done, whole: None,
) -> Report:
    """Raises `CheckpointRefused` for a checkpoint that is broken, hostile, or changes meanwhile; the stores' errors too."""
    with unwrapped():
        return await _compare(legacy, target, tolerance, ignored, progress)


async def _compare(
    legacy: LocalSide | StoreSide, target: LocalSide | StoreSide, tolerance: Tolerance, ignored: Sequence[str], progress: Progress
) -> Report:
    async with asyncio.TaskGroup() as group:
        first = group.create_task(read_table(legacy, is_one=legacy.is_one))
        second = group.create_task(read_table(target, is_one=target.is_one))
    old, new = first.result(), second.result()
    for table in (old, new):
        _ignore(table, ignored)
    pairs, others = matched(old, new)
    known = await known_equal(legacy, target, pairs)
    found = await _Work(legacy, target, tolerance, pairs, known, progress).run()
    results = [_result(pair, found[pair.legacy.name], tolerance) for pair in pairs]
    results += [_other(one, other, why) for one, other, why in others]
    results.sort(key=lambda r: (r.order, r.name))
    return _report(results, old, new, (legacy, target), tolerance)


def _ignore(table: Table, globs: Sequence[str]) -> None:
    def stays(name: str) -> bool:
        return not any(fnmatch.fnmatchcase(name, glob) for glob in globs)

    table.tensors = {name: tensor for name, tensor in table.tensors.items() if stays(name)}
    table.values = {name: value for name, value in table.values.items() if stays(name)}


class _Work:
    """The reading of all pieces: some under way at once, their arithmetic in threads, their buffers used again."""

    def __init__(
        self,
        legacy: Side,
        target: Side,
        tolerance: Tolerance,
        pairs: Sequence[Pair],
        known: Known,
        progress: Progress,
    ) -> None:
        self._sides = (legacy, target)
        self._tolerance = tolerance
        self._known = known
        self._pairs = pairs
        self._found = {pair.legacy.name: Difference() for pair in pairs}
        self._whole = sum(pair.legacy.size for pair in pairs)
        self._done = 0
        self._progress = progress

    async def run(self) -> dict[str, Difference]:
        """What was found of each pair."""
        for pair in self._pairs:
            for part in parts_of(pair) if self._known else ():
                if part.key in self._known:
                    self._note(part, Difference(unread=part.size[0] * 8 // pair.legacy.kind.bits))
        work = pieces(self._pairs, self._known)
        if isinstance(self._sides[0], LocalSide) and isinstance(self._sides[1], LocalSide):
            await self._run_here(work, (self._sides[0], self._sides[1]))
            return self._found
        count = max(2, min(8, os.cpu_count() or 2))
        with ThreadPoolExecutor(count, thread_name_prefix="compare") as threads:
            async with asyncio.TaskGroup() as group:
                for number in range(_UNDER_WAY):
                    group.create_task(self._take(work, threads), name=f"pieces {number}")
        return self._found

    async def _run_here(self, work: Iterator[Piece], sides: tuple[LocalSide, LocalSide]) -> None:
        """Files of this machine: each thread reads a piece of both and compares it, so that nothing waits for a turn of the event loop."""
        loop, lock, over = asyncio.get_running_loop(), threading.Lock(), threading.Event()

        def take() -> None:
            places: list[memoryview | None] = [None, None]
            while not over.is_set():
                with lock:
                    piece = next(work, None)
                if piece is None:
                    return
                places = [_room(place, size, side) for place, size, side in zip(places, piece.size, sides, strict=True)]
                old, new = (
                    side.read_here(file, start, size, place)
                    for side, file, start, size, place in zip(sides, piece.files, piece.start, piece.size, places, strict=True)
                )
                found = self._compute(piece, old, new)
                loop.call_soon_threadsafe(self._note_all, found)

        with ThreadPoolExecutor(THREADS, thread_name_prefix="compare") as threads:
            tasks = [loop.run_in_executor(threads, take) for _ in range(THREADS)]
            try:
                await asyncio.gather(*tasks)
            finally:
                over.set()
                await asyncio.wait(tasks)

    def _note_all(self, found: list[tuple[Part, Difference]]) -> None:
        for part, difference in found:
            self._note(part, difference)

    async def _take(self, work: Iterator[Piece], threads: ThreadPoolExecutor) -> None:
        places: list[memoryview | None] = [None, None]
        loop = asyncio.get_running_loop()
        for piece in work:
            places = list(_room(place, size, side) for place, size, side in zip(places, piece.size, self._sides, strict=True))
            reads = [
                side.read(file, start, size, place)
                for side, file, start, size, place in zip(self._sides, piece.files, piece.start, piece.size, places, strict=True)
            ]
            old, new = await asyncio.gather(*reads)
            for part, difference in await loop.run_in_executor(threads, self._compute, piece, old, new):
                self._note(part, difference)

    def _note(self, part: Part, difference: Difference) -> None:
        self._found[part.pair.legacy.name].add(difference)
        self._done += part.size[0]
        self._progress(self._done, self._whole)

    def _compute(self, piece: Piece, old: Bytes, new: Bytes) -> list[tuple[Part, Difference]]:
        out = []
        for part in piece.parts:
            views = []
            for side, body in enumerate((old, new)):
                at = part.at[side] - piece.start[side]
                views.append(memoryview(body)[at : at + part.size[side]])
            if not part.pair.is_raw:
                views = [in_order(t, v) for t, v in zip((part.pair.legacy, part.pair.target), views, strict=True)]
            out.append((part, compare_bytes(views[0], views[1], part.pair.kinds, self._tolerance)))
        return out


def _room(place: memoryview | None, size: int, side: Side) -> memoryview | None:
    """A buffer for what is read here; stores bring their own."""
    if side.is_far:
        return None
    return place if place is not None and len(place) >= size + SECTOR else room(size)


def _result(pair: Pair, found: Difference, tolerance: Tolerance) -> TensorResult:
    same_kind = pair.legacy.kind.name == pair.target.kind.name
    equal = found.outside == 0 and (same_kind or tolerance.is_given)
    return TensorResult(pair.legacy, pair.target, None, None if same_kind else "dtype", found, equal)


def _other(one: Tensor, other: Tensor | None, why: str) -> TensorResult:
    if why == "legacy":
        return TensorResult(None, one, missing="legacy")
    if why == "target":
        return TensorResult(one, None, missing="target")
    return TensorResult(one, other, unlike=why)


def _values(old: Table, new: Table, tolerance: Tolerance) -> tuple[ValueResult, ...]:
    out = []
    for name in sorted(old.values.keys() | new.values.keys()):
        a, b = old.values.get(name), new.values.get(name)
        is_there = name in old.values and name in new.values
        if not is_there or not _is_same(a, b, tolerance):
            out.append(ValueResult(name, a, b))
    return tuple(out)


def _is_same(a: Value, b: Value, tolerance: Tolerance) -> bool:
    if type(a) is type(b) and (a == b or (a != a and b != b)):
        return True
    numbers = isinstance(a, int | float) and isinstance(b, int | float) and not isinstance(a, bool) and not isinstance(b, bool)
    if not numbers or not tolerance.is_given:
        return False
    return abs(float(b or 0) - float(a or 0)) <= tolerance.atol + tolerance.rtol * abs(float(a or 0))


def _report(results: list[TensorResult], old: Table, new: Table, sides: tuple[Side, Side], tolerance: Tolerance) -> Report:
    values = _values(old, new, tolerance)
    resume = resume_parts(old, new)
    problems = _problems(results, values, resume)
    verdict = Verdict.BREACH if problems else Verdict.PASS
    allowed = f"within rtol {tolerance.rtol:g}, atol {tolerance.atol:g}" if tolerance.is_given else "equal to the bit"
    reason = "; ".join(problems) if problems else f"all {len(results):,} tensors {allowed}"
    hashed = sum(1 for r in results if r.found is not None and r.found.unread and not r.found.compared)
    notes = [*(f"legacy: {note}" for note in old.notes), *(f"target: {note}" for note in new.notes)]
    if hashed:
        notes.append(f"{hashed:,} tensors were proven equal by checksums and not read")
    if not any(part.legacy for part in resume if part.part == "optimizer"):
        notes.append("legacy has no optimizer state: weights only, training does not go on from it")
    size = (sum(t.size for t in old.tensors.values()), sum(t.size for t in new.tensors.values()))
    read = (sides[0].bytes_read, sides[1].bytes_read)
    return Report(tuple(results), values, resume, verdict, reason, tuple(notes), read, size, allowed)


def _problems(results: list[TensorResult], values: tuple[ValueResult, ...], resume: tuple[Resume, ...]) -> list[str]:
    out = []
    for side in ("target", "legacy"):
        absent = [r for r in results if r.missing == side]
        if absent:
            out.append(f"{side} lacks {_some(absent)}")
    for unlike in ("shape", "dtype"):
        odd = [r for r in results if r.unlike == unlike and not r.equal]
        if odd:
            out.append(f"another {unlike} in {_some(odd)}")
    apart = [r for r in results if r.found is not None and not r.equal and r.unlike is None]
    if apart:
        worst = apart[0]
        assert worst.found is not None
        out.append(f"{len(apart):,} of {len(results):,} tensors differ, most {plain(worst.name, 100)} ({_how_far(worst.found)})")
    if values:
        first = values[0]
        text = f"{plain(first.name, 100)} {plain(str(first.legacy), 40)} → {plain(str(first.target), 40)}"
        out.append(f"{len(values):,} plain values differ, such as {text}")
    lost = [part for part in resume if part.legacy is not None and part.target is None]
    if lost:
        out.append(f"training cannot go on from target: no {', no '.join(WORDS[part.part] for part in lost)}")
    return out


def _some(results: list[TensorResult]) -> str:
    names = ", ".join(plain(r.name, 80) for r in results[:3])
    more = f" and {len(results) - 3:,} more" if len(results) > 3 else ""
    return f"{len(results):,} tensor{'s' if len(results) > 1 else ''}: {names}{more}"


def _how_far(found: Difference) -> str:
    if found.odd:
        return f"NaN or infinite in {found.odd:,} places on one side only"
    relative = found.relative
    words = f"at most {found.max_abs:.3g}"
    if relative is not None:
        words += f", {relative:.3g} of its length"
    return words + (f", {found.ulp:,} ULP" if found.ulp is not None else "")
