"""One round of sync: list both sides, find what differs, copy it, say what is still missing.

First the whole difference, spooled to disk as a work list; the first byte is copied when BOTH listings have come to their true
end. Copying what looks new while a listing still goes on would be faster by that time, but a target listing that breaks off or is
denied would then make everything look missing and be copied again, and a source listing that breaks off says nothing about what
is gone. So nothing at all follows from a listing that failed, ended early, or is empty where the last round saw objects.

Writers may go on writing meanwhile: what vanished since the listing is no failure, what changed is read anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from backends.errors import CouldNot
from backends.ssh.errors import SshError
from backends.stores.base import Store
from backends.stores.errors import ObjectMissing, StoreUnreachable
from backends.transfer.carry import Carrying, Done
from backends.transfer.collisions import Collisions
from backends.transfer.copier import Copier, reason_of
from backends.transfer.deletes import Doomed
from backends.transfer.difference import Difference
from backends.transfer.errors import ListingEmptied
from backends.transfer.exclude import excluder
from backends.transfer.index import Index
from backends.transfer.merge import Counts, Pair, merge_listings
from backends.transfer.models import FAILURES_SHOWN, Deletes, Failure, Progress, RoundOptions, RoundResult
from backends.transfer.parts import abort_leftovers
from backends.transfer.passage import Passage
from backends.transfer.units import Units
from backends.transfer.worklist import Left, WorkList

if TYPE_CHECKING:
    from backends.vocabulary import SideName


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
    started = time.monotonic()
    legacy, other = (source, target) if options.direction == "forward" else (target, source)
    await index.bind(dataset, legacy.url, other.url)  # a dry run has a copy of the index
    await index.look_for_failures(dataset, options.direction)
    async with AsyncExitStack() as stack:
        stack.callback(progress.active.clear)
        work = WorkList(index)
        await work.open()
        stack.push_async_callback(work.close)
        passage = Passage.of(dataset, source, target, index, options, progress)
        the_round = Round(passage, options, work, copier(passage), at_once or options.parallel)
        try:
            result = await the_round.run(started, stack)
        except BaseException:
            progress.status = "failed"
            raise
    if not options.dry_run:
        await index.note_round(result)
    return result


class Round:
    """The state of one round."""

    def __init__(self, passage: Passage, options: RoundOptions, work: WorkList, copier: Copier, workers: int) -> None:
        self._passage = passage
        self._options = options
        self._work = work
        self._progress = passage.progress
        self._carrying = Carrying(passage, options, work, copier, workers)
        self._difference = Difference(passage, work, dry_run=options.dry_run)
        self._workers = workers
        self._units = Units(passage.index.database, options.markers) if options.folders else None
        self._doomed: Doomed | None = None
        self._collisions: Collisions | None = None
        self._deletes = Deletes()
        self._listing_seconds = 0.0

    @property
    def _done(self) -> Done:
        return self._carrying.done

    async def run(self, started: float, stack: AsyncExitStack) -> RoundResult:
        p, aborted, began = self._passage, 0, time.time()
        self._progress.status, self._progress.is_listed = "listing", False
        self._progress.began_at, self._progress.only_failed = started, self._options.retry_failed
        counts = await (self._look_at_failed(stack) if self._options.retry_failed else self._list(stack))
        self._listing_seconds = time.monotonic() - started
        p.tell_notes()
        await self._arrange(began)
        await self._show_found()
        if not self._options.dry_run:
            self._progress.status = "copying"
            p.fit()
            await self._carry()
            p.tell_notes()
            if not self._options.retry_failed:
                aborted = await abort_leftovers(p, await self._uploads_to_keep())
                held: dict[SideName, int] = {p.source_side: counts.source, p.target_side: counts.target}
                await p.index.note_listings(p.dataset, held)
        if self._doomed is not None:
            self._deletes = await self._doomed.settle(self._done, legacy_listed=counts.source)
        if not self._options.dry_run:
            await p.index.database.flush()
        left = await self._work.left()
        self._progress.oldest_missing_at = left.oldest
        self._progress.status = "failed" if self._done.failures else "copying" if left.objects else "in sync"
        return self._result(left, aborted, time.monotonic() - started)

    async def _carry(self) -> None:
        """By the hosts of the plan too, where there is enough to copy that they come in time."""
        fleet, left = self._passage.fleet, self._progress
        if fleet is None or not fleet.is_worth_it(left.to_copy_objects, left.to_copy_bytes):
            await self._carrying.run()
            return
        async with fleet:
            await self._carrying.run()

    # listing

    async def _list(self, stack: AsyncExitStack) -> Counts:
        p, takers = self._passage, [self._difference.take]
        collisions = Collisions(p.target, p.index.database.call)
        if collisions.is_needed:
            await collisions.open()
            stack.push_async_callback(collisions.close)
            takers.append(collisions.take)
        if self._units is not None:
            await self._units.open()
            stack.push_async_callback(self._units.close)
            takers.append(self._units.take)
        if self._options.delete and self._options.direction == "forward" and not self._options.retry_failed:
            self._doomed = Doomed(p, self._options, self._workers)
            await self._doomed.open()
            stack.push_async_callback(self._doomed.close)
            takers.append(self._doomed.take)

        async def take(pairs: list[Pair]) -> None:
            for taker in takers:
                await taker(pairs)

        def seen(count: int) -> None:
            self._progress.listed = count

        left_out = excluder(self._options.exclude)
        consume = take if len(takers) > 1 else self._difference.take
        counts = await merge_listings(
            p.source, p.target, consume, left_out=left_out if self._options.exclude else None, seen=seen
        )
        for store, side, count in (
            (p.source, p.source_side, counts.source),
            (p.target, p.target_side, counts.target),
        ):
            if count == 0:
                await self._refuse_emptied(store, side)
        await collisions.check()
        if counts.markers:
            p.tell(
                f"{p.source.name}: empty objects that stand for folders (`dir/`) are left out: {p.target.name} has folders by itself"
            )
        for skipped in p.source.skipped:
            if not left_out(skipped.key):
                self._carrying.fail(Failure(skipped.key, f"{skipped.reason}; exclude it, or put a file in its place"))
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

    async def _look_at_failed(self, stack: AsyncExitStack) -> Counts:
        """Both sides of each object that failed last time, without listing anything; of folders that are copied whole, all of those in
        which an object failed, for which both sides have to be listed."""
        p, counts = self._passage, Counts()
        failed = await p.index.failures(p.dataset, self._options.direction)
        if self._units is not None and failed:
            counts = await self._list(stack)
            await self._work.place(self._units)
            await self._work.keep_failed(failure.key for failure in failed)
        for failure in failed if self._units is None else ():
            try:
                await self._look_at(failure, counts)
            except (StoreUnreachable, SshError):
                raise
            except (CouldNot, TimeoutError) as error:
                reason = reason_of(error) if isinstance(error, CouldNot) else "timed out"
                self._carrying.fail(Failure(failure.key, reason))
        self._progress.listed = counts.source
        return counts

    async def _look_at(self, failure: Failure, counts: Counts) -> None:
        p = self._passage
        source = await p.call(lambda: p.source.head(failure.key))
        if source is None:
            # None too where something is there that is no object, such as a socket: reading it tells.
            try:
                await p.call(lambda: p.source.read(failure.key, length=1))
            except ObjectMissing:
                if not self._options.dry_run:
                    p.index.forgive(p.dataset, self._options.direction, failure.key)
                self._done.vanished += 1
                return
            source = await p.call(lambda: p.source.head(failure.key))
            if source is None:
                return
        counts.source += 1
        target = await p.call(lambda: p.target.head(failure.key))
        await self._difference.take([(source, target)])

    async def _arrange(self, began: float) -> None:
        """Put the work in its order. What of it has to wait for another round is taken out."""
        options = self._options
        if self._units is None:
            if not options.dry_run:
                await self._work.arrange(newest_first=options.newest_first, parallel=self._workers)
            return
        quiet_before = began - options.settle if options.settle else float("inf")
        waiting = await self._work.arrange_units(self._units, newest_first=options.newest_first, quiet_before=quiet_before)
        self._done.waiting.extend(waiting)

    async def _uploads_to_keep(self) -> frozenset[str]:
        """Writes in parts of what a later round goes on with."""
        p = self._passage
        if not (self._done.failures or self._done.waiting or self._done.was_cut):
            return frozenset()
        open_uploads = await p.index.open_uploads(p.dataset, p.target_side)
        left = await self._work.keys_among(upload.key for upload in open_uploads)
        return frozenset(left | {failure.key for failure in self._done.failures})

    async def _show_found(self) -> None:
        progress, found, p = self._progress, self._difference.found, self._passage
        oldest = await self._work.oldest()
        waiting, waiting_to_copy, waiting_bytes = await self._work.waiting()
        resumed = {} if self._options.dry_run else await self._work.resumable(p.dataset, p.target_side)
        progress.found_objects, progress.found_bytes = found.to_copy, found.to_copy_bytes
        progress.found_seconds = _age(oldest) if found.to_copy else 0.0
        progress.objects_total, progress.bytes_total = found.objects, found.bytes
        progress.objects_done, progress.bytes_done = found.unchanged, found.unchanged_bytes
        progress.to_copy_objects, progress.to_copy_bytes = found.to_copy, found.to_copy_bytes - sum(resumed.values())
        progress.to_copy_objects -= waiting_to_copy
        progress.to_copy_bytes -= waiting_bytes
        progress.left_objects = found.objects - found.unchanged - waiting
        progress.to_compare = progress.left_objects - found.to_copy
        progress.copied_objects = progress.copied_bytes = progress.compared = progress.failed_bytes = 0
        progress.hub_bytes = progress.saved_bytes = 0
        progress.failed = len(self._done.failures)
        progress.failures.clear()
        progress.failures.extend(self._done.failures[-FAILURES_SHOWN:])
        progress.proofs.clear()
        progress.resumed, progress.oldest_missing_at = resumed, oldest
        progress.rounds, progress.is_listed = progress.rounds + 1, True

    def _result(self, left: Left, aborted: int, seconds: float) -> RoundResult:
        p, found, done = self._passage, self._difference.found, self._done
        skipped = sum(1 for s in p.source.skipped) if not self._options.retry_failed else 0
        return RoundResult(
            dataset=p.dataset,
            direction=self._options.direction,
            listed=found.objects,
            copied=done.copied,
            unchanged=found.unchanged + done.compared,
            deleted=0 if self._doomed is None else self._doomed.deleted,
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
            listing_seconds=self._listing_seconds,
            found_objects=found.to_copy,
            found_bytes=found.to_copy_bytes,
            found_seconds=self._progress.found_seconds,
            hub_bytes=self._progress.hub_bytes,
            saved_bytes=self._progress.saved_bytes,
            waiting=tuple(sorted(done.waiting, key=lambda w: w.folder)),
            deletes=self._deletes,
            was_cut=done.was_cut,
            carried={} if p.fleet is None else p.fleet.carried,
        )


def _age(instant: datetime | None) -> float:
    """Seconds since then, by the wall clock; 0.0 where it is not known."""
    return 0.0 if instant is None else max(0.0, (datetime.now(UTC) - instant).total_seconds())
