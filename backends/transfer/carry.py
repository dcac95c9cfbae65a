"""The copying stage of a round: workers over the work list, and the count of what came of each object.

Objects that belong to a folder which is copied whole (`units`) go as they come; its markers are held back until all others of the
folder have arrived, and are then written one by one. Where an object of it failed or changed, they are not written in this round:
whoever reads the target by its markers sees no folder that is not complete. Markers above folders go last of all.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from backends.errors import CouldNot
from backends.transfer.copier import reason_of
from backends.transfer.errors import KeepsChanging
from backends.transfer.in_a_row import InARow
from backends.transfer.index import key_of
from backends.transfer.merge import first_error, order_of
from backends.transfer.models import Failure, Proof, Waiting
from backends.transfer.units import is_below

if TYPE_CHECKING:
    from backends.transfer.copier import Copier, Outcome
    from backends.transfer.models import RoundOptions
    from backends.transfer.passage import Passage
    from backends.transfer.worklist import Work, WorkList

_GLANCE_SECONDS = 1.0
_LEAST_AT_ONCE = 64


@dataclass(slots=True)
class Done:
    """What has been done so far."""

    copied: int = 0
    compared: int = 0
    vanished: int = 0
    proofs: Counter[Proof] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    repaired: list[Failure] = field(default_factory=list)
    waiting: list[Waiting] = field(default_factory=list)
    was_cut: bool = False  # the time for copying was over before all was begun


@dataclass(slots=True)
class _Whole:
    """A folder under way."""

    unit: bytes
    open: int = 0  # objects given out whose end is not known
    sealed: bool = False  # all have been given out
    lasts: list[_Job] = field(default_factory=list)
    broken: str = ""  # why its markers must not be written


class _Job(NamedTuple):
    item: Work
    begun: bool
    whole: _Whole | None = None


class Carrying:
    """Carries a round's work out."""

    def __init__(self, passage: Passage, options: RoundOptions, work: WorkList, copier: Copier, workers: int) -> None:
        self._passage = passage
        self._options = options
        self._work = work
        self._copier = copier
        self._workers = workers
        self._progress = passage.progress
        self._queue: asyncio.Queue[_Job | _Whole] = asyncio.Queue(2 * workers)
        self._in_a_row = InARow(workers)
        self._missing: list[bytes] = []  # keys and folders that are not whole on the other side
        self.done = Done()

    async def run(self) -> None:
        """All of the work list. Raises where it is the store that fails, not its objects."""
        self._missing += [order_of(w.folder) for w in self.done.waiting] + [order_of(f.key) for f in self.done.failures]
        try:
            async with asyncio.TaskGroup() as group:
                helpers = [group.create_task(self._glance())]
                helpers += [group.create_task(self._worker()) for _ in range(self._at_once())]
                await self._feed()
                await self._queue.join()
                for helper in helpers:
                    helper.cancel()
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors

    def _at_once(self) -> int:
        """Objects: more than there are streams, since large ones wait for each other, and small ones go beside them."""
        return min(self._workers, max(_LEAST_AT_ONCE, 4 * self._passage.streams.limit))

    def fail(self, failure: Failure) -> None:
        """Count an object's failure and keep it."""
        self.done.failures.append(failure)
        self._progress.failed += 1
        self._progress.failures.append(failure)
        if not self._options.dry_run:
            self._passage.index.fail(self._passage.dataset, self._options.direction, failure)

    def wait(self, unit: bytes, reason: str) -> None:
        """A folder is left for the next round."""
        self.done.waiting.append(Waiting(key_of(unit), reason))
        self._missing.append(unit)

    # giving out

    async def _feed(self) -> None:
        p, above = self._passage, list[_Job]()
        whole: _Whole | None = None
        until = None if self._options.copy_seconds is None else time.monotonic() + self._options.copy_seconds
        async for page in self._work.items():
            begun = await p.index.was_begun(p.dataset, p.target_side, (item.source.key for item in page))
            for item in page:
                if whole is not None and item.unit != whole.unit:
                    await self._seal(whole)
                    whole = None
                if whole is None and until is not None and time.monotonic() >= until:
                    self.done.was_cut = True
                    return
                job = _Job(item, item.source.key in begun)
                if item.last == 2:
                    above.append(job)
                elif item.unit is None:
                    await self._queue.put(job)
                else:
                    whole = whole or _Whole(item.unit)
                    await self._give(job._replace(whole=whole))
        if whole is not None:
            await self._seal(whole)
        await self._feed_above(above)

    async def _give(self, job: _Job) -> None:
        assert job.whole is not None
        if job.item.last:
            job.whole.lasts.append(job)
            return
        job.whole.open += 1
        await self._queue.put(job)

    async def _seal(self, whole: _Whole) -> None:
        whole.sealed = True
        if whole.open == 0:
            await self._queue.put(whole)

    async def _feed_above(self, above: list[_Job]) -> None:
        """Markers above folders: those of the deepest first, each when all below its folder is there."""
        for _, jobs in groupby(above, key=lambda job: job.item.source.key.count("/")):
            await self._queue.join()
            for job in jobs:
                folder, key = job.item.unit or b"", order_of(job.item.source.key)
                if any(is_below(missing, folder) for missing in self._missing):
                    self.wait(key, "something below its folder is still missing")
                    self._leave(job.item)
                else:
                    await self._queue.put(job)

    # carrying out

    async def _worker(self) -> None:
        while True:
            job = await self._queue.get()
            try:
                if isinstance(job, _Whole):
                    await self._finish(job)
                else:
                    await self._carry(job)
                    whole = job.whole
                    if whole is not None:
                        whole.open -= 1
                        if whole.sealed and whole.open == 0:
                            await self._finish(whole)
            finally:
                self._queue.task_done()

    async def _finish(self, whole: _Whole) -> None:
        """Write a folder's markers, now that all else of it has been given out and has ended."""
        for job in whole.lasts:
            if whole.broken:
                self._leave(job.item)
            else:
                await self._carry(job)
        if whole.broken:
            self.wait(whole.unit, whole.broken)

    async def _carry(self, job: _Job) -> None:
        item, key, strict = job.item, job.item.source.key, job.item.unit is not None
        self._progress.active[key] = (self._progress.resumed.pop(key, 0), item.source.size)
        try:
            outcome = await self._copier.carry_out(item, begun=job.begun, strict=strict)
        except KeepsChanging as error:
            if strict:
                self._count_changed(job)
            else:
                self._count_failure(job, error)
        except (CouldNot, TimeoutError) as error:
            self._count_failure(job, error)
        else:
            self._count(job, outcome)
        finally:
            self._progress.left_objects -= 1
            self._progress.active.pop(key, None)

    def _leave(self, item: Work) -> None:
        """Not in this round."""
        progress = self._progress
        progress.left_objects -= 1
        if item.action == "compare":
            progress.to_compare -= 1
        else:
            progress.to_copy_objects -= 1
            progress.to_copy_bytes -= item.source.size - progress.resumed.pop(item.source.key, 0)

    # counting

    def _count(self, job: _Job, outcome: Outcome) -> None:
        item, done, progress, p = job.item, self.done, self._progress, self._passage
        key = item.source.key
        self._in_a_row.worked()
        self._work.done(item)
        done.repaired.extend(Failure(key, reason) for reason in outcome.repaired)
        if outcome.kind == "vanished":
            done.vanished += 1
            progress.objects_total -= 1
            progress.bytes_total -= item.source.size
            self._uncount(item)
            p.index.ended(p.dataset, p.target_side, key)
            p.index.forgive(p.dataset, self._options.direction, key)
            self._break(job, "it changed while it was copied")
            return
        if outcome.proof is not None:
            done.proofs[outcome.proof] += 1
            progress.proofs[outcome.proof] += 1
        if outcome.kind == "copied":
            done.copied += 1
            progress.copied_objects += 1
        else:
            done.compared += 1
            progress.compared += 1
        progress.objects_done += 1
        progress.bytes_done += item.source.size

    def _count_changed(self, job: _Job) -> None:
        self._uncount(job.item)
        self._break(job, "it changed while it was copied")
        if job.whole is None and job.item.last == 2:
            self.wait(order_of(job.item.source.key), "it changed while it was copied")

    def _uncount(self, item: Work) -> None:
        if item.action != "compare":
            self._progress.to_copy_objects -= 1
            self._progress.to_copy_bytes -= item.source.size - self._progress.active[item.source.key][0]

    def _count_failure(self, job: _Job, error: CouldNot | TimeoutError) -> None:
        item = job.item
        reason = reason_of(error) if isinstance(error, CouldNot) else "timed out"
        arrived, size = self._progress.active[item.source.key]
        self._progress.failed_bytes += size - arrived if item.action != "compare" else 0
        self.fail(Failure(item.source.key, reason))
        self._break(job, "an object of it failed")
        if self._in_a_row.failed(error):
            raise error

    def _break(self, job: _Job, reason: str) -> None:
        if job.whole is not None:
            job.whole.broken = job.whole.broken or reason
        self._missing.append(order_of(job.item.source.key))

    async def _glance(self) -> None:
        """Keep the age of the oldest missing object, and what is under way, fresh while copying goes on."""
        progress, streams = self._progress, self._passage.streams
        before = streams.refusals
        while True:
            progress.oldest_missing_at = await self._work.oldest()
            progress.streams, progress.streams_limit = streams.active, streams.limit
            progress.busy = streams.refusals - before
            self._passage.tell_notes()
            await asyncio.sleep(_GLANCE_SECONDS)
