"""One round of sync: list both sides, find what differs, copy it, say what is still missing.

First the whole difference, spooled to disk as a work list; the first byte is copied when BOTH listings have come to their true
end. Copying what looks new while a listing still goes on would be faster by that time, but a target listing that breaks off or is
denied would then make everything look missing and be copied again, and a source listing that breaks off says nothing about what
is gone. So nothing at all follows from a listing that failed, ended early, or is empty where the last round saw objects.

Writers may go on writing meanwhile: what vanished since the listing is no failure, what changed is read anew.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from backends.errors import CouldNot, NotYetSupported
from backends.ssh.errors import SshError
from backends.stores.base import Store
from backends.stores.errors import StoreBusy, StoreDenied, StoreFull, StoreUnreachable
from backends.transfer.copier import Copier, Outcome, reason_of
from backends.transfer.difference import Difference
from backends.transfer.errors import ListingEmptied
from backends.transfer.exclude import excluder
from backends.transfer.index import Index
from backends.transfer.merge import Counts, first_error, merge_listings
from backends.transfer.models import FAILURES_SHOWN, Failure, Progress, Proof, RoundOptions, RoundResult
from backends.transfer.parts import abort_leftovers
from backends.transfer.passage import Passage
from backends.transfer.worklist import Left, Work, WorkList

if TYPE_CHECKING:
    from backends.snapshot import SideName

_GLANCE_SECONDS = 1.0
GIVE_UP_AFTER = 25  # objects in a row that failed for a reason of the store's: it is the store, not the objects
OF_THE_STORE = (StoreUnreachable, StoreDenied, StoreFull, StoreBusy, SshError, TimeoutError)


async def sync_round(
    dataset: str,
    source: Store,
    target: Store,
    index: Index,
    options: RoundOptions,
    progress: Progress,
    *,
    copier: Callable[[Passage], Copier] = Copier,
    at_once: int | None = None,
) -> RoundResult:
    """One round. Raises `ListingFailed` with nothing copied or changed; objects that fail are in the result.

    `copier` makes what carries the objects over, directly or by way of a hub; `at_once` is how many it is given at a time, as many as
    there may be streams unless said.
    """
    if options.delete:
        raise NotYetSupported("deletes are not yet supported", where="delete", hint="use delete: never")
    started = time.monotonic()
    legacy, other = (source, target) if options.direction == "forward" else (target, source)
    await index.bind(dataset, legacy.url, other.url)
    work = WorkList(index)
    await work.open()
    passage = Passage.of(dataset, source, target, index, options, progress)
    the_round = Round(passage, options, work, copier(passage), at_once or options.parallel)
    try:
        result = await the_round.run(started)
    except BaseException:
        progress.status = "failed"
        raise
    finally:
        progress.active.clear()
        await work.close()
    if not options.dry_run:
        await index.note_round(result)
    return result


@dataclass(slots=True)
class Done:
    copied: int = 0
    compared: int = 0
    vanished: int = 0
    proofs: Counter[Proof] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)
    repaired: list[Failure] = field(default_factory=list)
    store_failed_in_a_row: int = 0
    listing_seconds: float = 0.0


class Round:
    """The state of one round."""

    def __init__(self, passage: Passage, options: RoundOptions, work: WorkList, copier: Copier, workers: int) -> None:
        self._passage = passage
        self._options = options
        self._work = work
        self._progress = passage.progress
        self._done = Done()
        self._difference = Difference(passage, work)
        self._copier = copier
        self._workers = workers

    async def run(self, started: float) -> RoundResult:
        p, aborted = self._passage, 0
        self._progress.status, self._progress.is_listed = "listing", False
        self._progress.began_at, self._progress.only_failed = started, self._options.retry_failed
        counts = await (self._look_at_failed() if self._options.retry_failed else self._list())
        self._done.listing_seconds = time.monotonic() - started
        await self._show_found()
        if not self._options.dry_run:
            await self._work.arrange(newest_first=self._options.newest_first, folders=self._options.folders)
            self._progress.status = "copying"
            await self._copy()
            if not self._options.retry_failed:
                aborted = await abort_leftovers(p, frozenset(f.key for f in self._done.failures))
                held: dict[SideName, int] = {p.source_side: counts.source, p.target_side: counts.target}
                await p.index.note_listings(p.dataset, held)
            await p.index.database.flush()
        left = await self._work.left()
        self._progress.oldest_missing_at = left.oldest
        self._progress.status = "failed" if self._done.failures else "copying" if left.objects else "in sync"
        return self._result(left, aborted, time.monotonic() - started)

    # listing

    async def _list(self) -> Counts:
        p = self._passage

        def seen(count: int) -> None:
            self._progress.listed = count

        left_out = excluder(self._options.exclude)
        counts = await merge_listings(p.source, p.target, self._difference.take, left_out=left_out, seen=seen)
        for store, side, count in (
            (p.source, p.source_side, counts.source),
            (p.target, p.target_side, counts.target),
        ):
            if count == 0:
                await self._refuse_emptied(store, side)
        for skipped in p.source.skipped:
            if not left_out(skipped.key):
                self._fail(Failure(skipped.key, skipped.reason))
        return counts

    async def _refuse_emptied(self, store: Store, side: SideName) -> None:
        p = self._passage
        before = await p.index.expected(p.dataset, side)
        if before == 0:
            return
        if not self._options.accept_empty:
            raise ListingEmptied(
                f"the listing of {store.name} ({store.url}) is empty where the last round saw {before} objects",
                where=store.url,
                hint=f"nothing was copied; if it is meant to be empty: cutover sync PLAN --dataset {p.dataset} --accept-empty",
            )
        if not self._options.dry_run:
            await p.index.forget_objects(p.dataset)

    async def _look_at_failed(self) -> Counts:
        """Both sides of each object that failed last time, without listing anything."""
        p, counts = self._passage, Counts()
        failed = await p.index.failures(p.dataset, self._options.direction)
        for failure in failed:
            source = await p.call(lambda f=failure: p.source.head(f.key))  # type: ignore[misc]
            if source is None:
                if not self._options.dry_run:
                    p.index.forgive(p.dataset, self._options.direction, failure.key)
                self._done.vanished += 1
                continue
            counts.source += 1
            target = await p.call(lambda f=failure: p.target.head(f.key))  # type: ignore[misc]
            await self._difference.take([(source, target)])
        self._progress.listed = counts.source
        return counts

    async def _show_found(self) -> None:
        progress, found, p = self._progress, self._difference.found, self._passage
        oldest = await self._work.oldest()
        resumed = {} if self._options.dry_run else await self._work.resumable(p.dataset, p.target_side)
        progress.found_objects, progress.found_bytes = found.to_copy, found.to_copy_bytes
        progress.found_seconds = _age(oldest) if found.to_copy else 0.0
        progress.objects_total, progress.bytes_total = found.objects, found.bytes
        progress.objects_done, progress.bytes_done = found.unchanged, found.unchanged_bytes
        progress.to_copy_objects, progress.to_copy_bytes = found.to_copy, found.to_copy_bytes - sum(resumed.values())
        progress.left_objects = found.objects - found.unchanged
        progress.to_compare = progress.left_objects - found.to_copy
        progress.copied_objects = progress.copied_bytes = progress.compared = progress.failed_bytes = 0
        progress.hub_bytes = progress.saved_bytes = 0
        progress.failed = len(self._done.failures)
        progress.failures.clear()
        progress.failures.extend(self._done.failures[-FAILURES_SHOWN:])
        progress.proofs.clear()
        progress.resumed, progress.oldest_missing_at = resumed, oldest
        progress.rounds, progress.is_listed = progress.rounds + 1, True

    # copying

    async def _copy(self) -> None:
        queue: asyncio.Queue[tuple[Work, bool] | None] = asyncio.Queue(2 * self._workers)
        try:
            async with asyncio.TaskGroup() as group:
                glance = group.create_task(self._glance())
                workers = [group.create_task(self._worker(queue)) for _ in range(self._workers)]
                await self._feed(queue)
                await asyncio.gather(*workers)
                glance.cancel()
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors

    async def _feed(self, queue: asyncio.Queue[tuple[Work, bool] | None]) -> None:
        p = self._passage
        async for page in self._work.items():
            begun = await p.index.was_begun(p.dataset, p.target_side, (item.source.key for item in page))
            for item in page:
                await queue.put((item, item.source.key in begun))
        for _ in range(self._workers):
            await queue.put(None)

    async def _worker(self, queue: asyncio.Queue[tuple[Work, bool] | None]) -> None:
        while (entry := await queue.get()) is not None:
            item, begun = entry
            key = item.source.key
            self._progress.active[key] = (self._progress.resumed.pop(key, 0), item.source.size)
            try:
                outcome = await self._copier.carry_out(item, begun=begun)
            except (CouldNot, TimeoutError) as error:
                self._count_failure(item, error)
            else:
                self._count(item, outcome)
            finally:
                self._progress.left_objects -= 1
                self._progress.active.pop(key, None)

    def _count(self, item: Work, outcome: Outcome) -> None:
        done, progress, key = self._done, self._progress, item.source.key
        done.store_failed_in_a_row = 0
        self._work.done(item)
        done.repaired.extend(Failure(key, reason) for reason in outcome.repaired)
        if outcome.kind == "vanished":
            done.vanished += 1
            progress.objects_total -= 1
            progress.bytes_total -= item.source.size
            if item.action != "compare":
                progress.to_copy_objects -= 1
                progress.to_copy_bytes -= item.source.size - progress.active[key][0]
            self._passage.index.settle(self._passage.dataset, self._passage.target_side, key)
            self._passage.index.forgive(self._passage.dataset, self._options.direction, key)
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

    def _count_failure(self, item: Work, error: CouldNot | TimeoutError) -> None:
        reason = reason_of(error) if isinstance(error, CouldNot) else "timed out"
        arrived, size = self._progress.active[item.source.key]
        self._progress.failed_bytes += size - arrived if item.action != "compare" else 0
        self._fail(Failure(item.source.key, reason))
        row = self._done.store_failed_in_a_row
        self._done.store_failed_in_a_row = row + 1 if isinstance(error, OF_THE_STORE) else 0
        if self._done.store_failed_in_a_row >= max(GIVE_UP_AFTER, 2 * self._options.parallel):
            raise error

    def _fail(self, failure: Failure) -> None:
        self._done.failures.append(failure)
        self._progress.failed += 1
        self._progress.failures.append(failure)
        if not self._options.dry_run:
            self._passage.index.fail(self._passage.dataset, self._options.direction, failure)

    async def _glance(self) -> None:
        """Keep the age of the oldest missing object fresh while copying goes on."""
        while True:
            self._progress.oldest_missing_at = await self._work.oldest()
            await asyncio.sleep(_GLANCE_SECONDS)

    def _result(self, left: Left, aborted: int, seconds: float) -> RoundResult:
        p, found, done = self._passage, self._difference.found, self._done
        skipped = sum(1 for s in p.source.skipped) if not self._options.retry_failed else 0
        return RoundResult(
            dataset=p.dataset,
            direction=self._options.direction,
            listed=found.objects,
            copied=done.copied,
            unchanged=found.unchanged + done.compared,
            deleted=0,
            failed=len(done.failures),
            bytes=p.tally.sent,
            seconds=seconds,
            proofs=dict(done.proofs),
            failures=tuple(sorted(done.failures, key=lambda f: f.key)),
            repaired=tuple(sorted(done.repaired, key=lambda f: f.key)),
            lag_objects=left.objects + skipped,
            lag_bytes=left.bytes,
            lag_seconds=_age(left.oldest) if left.objects else 0.0,
            objects_total=found.objects - done.vanished,
            bytes_total=self._progress.bytes_total,
            resent_bytes=p.tally.resent,
            compared=done.compared,
            vanished=done.vanished,
            aborted_uploads=aborted,
            dry_run=self._options.dry_run,
            only_failed=self._options.retry_failed,
            listing_seconds=done.listing_seconds,
            found_objects=found.to_copy,
            found_bytes=found.to_copy_bytes,
            found_seconds=self._progress.found_seconds,
            hub_bytes=self._progress.hub_bytes,
            saved_bytes=self._progress.saved_bytes,
        )


def _age(instant: datetime | None) -> float:
    """Seconds since then, by the wall clock; 0.0 where it is not known."""
    return 0.0 if instant is None else max(0.0, (datetime.now(UTC) - instant).total_seconds())
