"""What the copiers of one round share: the two stores with their sides, the index, the pace, the count of what was done."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from backends.stores.base import Body, ObjectInfo, PartInfo, Store
from backends.transfer.haul import Hauled, haul_part, haul_whole
from backends.transfer.index import Index, Row
from backends.transfer.models import Direction, Progress, Proof, RoundOptions
from backends.transfer.pace import Bandwidth, Lane, Pace, Patience
from backends.transfer.sums import Sums, sums_of

if TYPE_CHECKING:
    from backends.transfer.workers.fleet import Fleet, Worker
    from backends.vocabulary import SideName

T = TypeVar("T")

READ_SIZE = 8 << 20
_LARGE_READ = 1 << 20  # from here on the buffers count
_SECOND = 1_000_000_000


@dataclass(slots=True)
class Tally:
    """Bytes of this round: `sent` is all that was written to the other side, `resent` what an earlier attempt had moved."""

    sent: int = 0
    resent: int = 0


@dataclass(slots=True)
class Passage:
    """One dataset's way from source to target."""

    dataset: str
    direction: Direction
    source: Store
    target: Store
    index: Index
    streams: Lane
    bandwidth: Bandwidth
    progress: Progress
    tally: Tally = field(default_factory=Tally)
    pace: Pace | None = None  # by which parts and large objects are held back
    fleet: Fleet | None = None  # the hosts that carry too

    @classmethod
    def of(cls, dataset: str, source: Store, target: Store, index: Index, options: RoundOptions, progress: Progress) -> Passage:
        pace = options.pace or Pace(options.parallel, options.bandwidth)
        lane = pace.streams.lane(dataset)
        return cls(
            dataset, options.direction, source, target, index, lane, pace.bandwidth, progress, pace=pace, fleet=options.fleet
        )

    def fit(self) -> None:
        """After the listings: the latency of both stores is known."""
        if self.pace is not None:
            self.pace.fit((self.source.latency or 0.0) + (self.target.latency or 0.0))

    @property
    def source_side(self) -> SideName:
        return "legacy" if self.direction == "forward" else "target"

    @property
    def target_side(self) -> SideName:
        return "target" if self.direction == "forward" else "legacy"

    def tell_notes(self) -> None:
        """Show what was found out about the stores by now, and about the hosts that carry."""
        told = [f"{store.name}: {note.text}" for store in (self.source, self.target) for note in store.notes]
        self.tell(*told, *(self.fleet.told if self.fleet is not None else []))

    def tell(self, *notes: str) -> None:
        """Each once."""
        self.progress.notes += [text for text in notes if text not in self.progress.notes]

    def call(self, attempt: Callable[[], Awaitable[T]]) -> Coroutine[Any, Any, T]:
        """A store's call, tried again where that may help."""
        return Patience(self.streams).call(attempt)

    async def read(self, store: Store, info: ObjectInfo, start: int, length: int) -> Body:
        """A range of exactly this object, at the pace; `SourceChanged` when it is another by now."""
        await self.bandwidth.take(length)
        whole = start == 0 and length == info.size
        wanted = None if whole else length
        return await self.call(
            lambda: store.read(info.key, start=start, length=wanted, if_match=info.identity, version=info.version)
        )

    async def fetch(self, store: Store, listed: ObjectInfo) -> tuple[ObjectInfo, Body]:
        """Exactly the object that was listed, whole, with what the store tells of it, at the pace."""
        await self.bandwidth.take(listed.size)
        return await self.call(lambda: store.fetch(listed))

    async def haul_whole(self, listed: ObjectInfo, begun: Callable[[Sums], None]) -> Hauled:
        """A whole object, carried by this machine or by another host. As `haul.haul_whole`."""
        if self.fleet is None:
            return await haul_whole(self, listed, begun)

        async def there(worker: Worker) -> Hauled:
            await self.bandwidth.take(listed.size)
            begun(Sums(listed.size))
            return await self.call(lambda: worker.whole(listed))

        return await self.fleet.carry(
            listed.size, lambda: haul_whole(self, listed, begun), there, kind="whole", at_once=self.streams.limit
        )

    async def haul_part(
        self, source: ObjectInfo, upload: str, number: int, offset: int, size: int, begun: Callable[[Sums], None]
    ) -> tuple[Sums, PartInfo]:
        """A part of an object, as `haul_whole`. Of one that another host carries, `begun` is not told the sums."""

        async def here() -> tuple[Sums, PartInfo]:
            return await haul_part(self, source, upload, number, offset, size, begun)

        if self.fleet is None:
            return await here()

        async def there(worker: Worker) -> tuple[Sums, PartInfo]:
            await self.bandwidth.take(size)
            begun(Sums(size))
            return await self.call(lambda: worker.part(source, upload, number, offset, size))

        at_once = self.pace.parts.limit if self.pace is not None else None
        return await self.fleet.carry(size, here, there, kind="part", at_once=at_once)

    async def read_sums(self, store: Store, info: ObjectInfo) -> Sums:
        """Read the whole object, keep its checksums only."""
        sums = Sums()
        large = self.pace.parts.lane(self.dataset) if self.pace and info.size > _LARGE_READ else nullcontext()
        for start in range(0, info.size, READ_SIZE):
            async with large, self.streams:
                sums += await sums_of(await self.read(store, info, start, min(READ_SIZE, info.size - start)))
        return sums

    async def head(self, store: Store, listed: ObjectInfo) -> ObjectInfo | None:
        """With checksums and metadata where the store keeps any; what the listing said where it does not."""
        can = store.capabilities
        if not (can.stored_checksum or can.metadata):
            return listed
        return await self.call(lambda: store.head(listed.key))

    async def joined(self, store: Store, info: ObjectInfo) -> ObjectInfo:
        """The same with what the checksums that the store keeps of its parts combine to: GCS's CRC32C against S3's composite one."""
        found = await self.call(lambda: store.joined_checksums(info))
        return info._replace(checksums={**found, **info.checksums}) if found else info

    def row(self, source: ObjectInfo, target: ObjectInfo, sums_hex: str, proof: Proof, read_at: float) -> Row:
        """The index row of an object that is equal on both sides."""
        ids = {self.source_side: kept_identity(source, read_at), self.target_side: target.identity}
        return Row(source.key, source.size, sums_hex, proof, ids["legacy"], ids["target"])

    def record(self, row: Row) -> None:
        self.index.record(self.dataset, self.target_side, self.direction, row)

    def advance(self, key: str, done: int, size: int) -> None:
        """Show how far an object is. Never backwards, also when it has to begin again."""
        before = self.progress.active.get(key, (0, size))[0]
        if done > before or key not in self.progress.active:
            self.progress.active[key] = (max(done, before), size)
            self.progress.copied_bytes += max(0, done - before)


def kept_identity(source: ObjectInfo, read_at: float) -> str:
    """The source's identity as the index keeps it; "" when it may change once more without showing.

    A tree's identity rests on mtime. A write within the same tick of the clock (SFTP tells whole seconds) leaves it as it is, so
    an object that was modified just before it was read is looked at again in the next round.
    """
    if source.etag is not None or source.mtime is None:
        return source.identity
    tick = 0.05 if source.mtime_ns is not None and source.mtime_ns % _SECOND else 2.0
    return "" if source.mtime.timestamp() > read_at - tick else source.identity


def now() -> float:
    """Wall clock, for comparing with mtimes."""
    return time.time()
