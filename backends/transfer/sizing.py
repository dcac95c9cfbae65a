"""How large datasets are and how fast their way is: listings, and a bounded copy of a sample that leaves nothing behind.

What goes whole and what goes in parts are two samples, for round trips bound the one and bytes the other: a few large objects among many small
ones are seldom drawn, and are most of the time. Each is drawn at random over the listing and copied by the engine that will copy all of it, into a
place beside the target that is emptied again; of a large object only the beginning goes.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from backends.errors import CouldNot
from backends.plan.models import Store as StoreSpec
from backends.stores.base import NOTHING, Body, ObjectInfo, Store, Take
from backends.stores.ours import ESTIMATES
from backends.transfer.copier import WHOLE_UP_TO
from backends.transfer.exclude import excluder
from backends.transfer.gap import side_spec
from backends.transfer.index import Index
from backends.transfer.merge import order_of
from backends.transfer.models import Progress, RoundOptions
from backends.transfer.pace import Pace
from backends.transfer.round import sync_round
from backends.transfer.views import Seen

MOST_OBJECTS = 400
MOST_BYTES = 256 << 20
HEAD = 64 << 20  # of one large object
COPY_SECONDS = 30.0
_SINGLE_SHARE = 8  # the pass with one stream takes this part of the sample
_KEPT = 4096  # objects of the listing that the sample is drawn from


@dataclass(slots=True)
class Stratum:
    """Objects that are copied alike; `kept` is a uniform sample of them (reservoir, Vitter 1985)."""

    objects: int = 0
    bytes: int = 0
    kept: list[ObjectInfo] = field(default_factory=list)

    def add(self, info: ObjectInfo, chance: random.Random) -> None:
        self.objects += 1
        self.bytes += info.size
        if len(self.kept) < _KEPT:
            self.kept.append(info)
        elif (place := chance.randrange(self.objects)) < _KEPT:
            self.kept[place] = info


@dataclass(slots=True)
class Listed:
    """What a listing found: what goes `whole`, and what goes in `parts`."""

    whole: Stratum = field(default_factory=Stratum)
    parts: Stratum = field(default_factory=Stratum)

    @property
    def objects(self) -> int:
        return self.whole.objects + self.parts.objects

    @property
    def bytes(self) -> int:
        return self.whole.bytes + self.parts.bytes


@dataclass(frozen=True, slots=True)
class Pass:
    """One copy of a part of the sample."""

    objects: int
    bytes: int
    seconds: float


async def list_all(store: Store, exclude: tuple[str, ...] = (), seen: Callable[[int], None] = lambda count: None) -> Listed:
    """Count a whole store. Raises `ListingFailed`."""
    left_out = excluder(exclude)
    found, chance = Listed(), random.Random(0)
    async for page in store.list_pages():
        for info in page:
            if exclude and left_out(info.key):
                continue
            (found.whole if info.size <= WHOLE_UP_TO else found.parts).add(info, chance)
        seen(found.objects)
    return found


def sample_of(stratum: Stratum) -> list[ObjectInfo]:
    """At most `MOST_OBJECTS` and `MOST_BYTES`, counting of each object its first `HEAD` bytes; at least one where there is any."""
    order = list(stratum.kept)
    random.Random(1).shuffle(order)
    chosen: list[ObjectInfo] = []
    size = 0
    for info in order:
        if len(chosen) < MOST_OBJECTS and size + min(info.size, HEAD) <= MOST_BYTES:
            chosen.append(info)
            size += min(info.size, HEAD)
    return chosen


class _Sampled(Seen):
    """A store of which only some objects are listed, as they were found before, and of large ones only the beginning."""

    def __init__(self, store: Store, sample: list[ObjectInfo]) -> None:
        super().__init__(store)
        self._sample = sorted(sample, key=lambda info: order_of(info.key))
        self._cut = {info.key: info.identity for info in sample if info.size > HEAD}

    async def list_pages(self, start_after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        yield [self._shown(info) for info in self._sample if order_of(info.key) > order_of(start_after)]

    async def head(self, key: str) -> ObjectInfo | None:
        found = await self._store.head(key)
        return self._shown(found) if found is not None else None

    async def read(
        self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None, version: str | None = None
    ) -> Body:
        """Of a cut one as it was listed: an identity that holds the size is not the beginning's own."""
        listed = self._cut.get(key)
        if listed is not None and length is None:
            length = HEAD - start
        return await self._store.read(key, start=start, length=length, if_match=listed or if_match, version=version)

    async def pour(
        self, key: str, take: Take, *, start: int, length: int, if_match: str | None = None, version: str | None = None
    ) -> None:
        """As `read`."""
        identity = self._cut.get(key) or if_match
        await self._store.pour(key, take, start=start, length=length, if_match=identity, version=version)

    async def joined_checksums(self, info: ObjectInfo) -> Mapping[str, str]:
        return NOTHING if info.key in self._cut else await self._store.joined_checksums(info)

    def _shown(self, info: ObjectInfo) -> ObjectInfo:
        """A checksum of the whole is none of its beginning."""
        return info._replace(size=HEAD, checksums=NOTHING) if info.key in self._cut else info


def place_beside(spec: StoreSpec) -> StoreSpec:
    """Where a sample is copied to: beside the target's tree, or below a prefix of its own where the whole bucket is the target."""
    if spec.is_whole_bucket:
        return spec.model_copy(update={"url": f"{spec.url.rstrip('/')}/{ESTIMATES}"})
    return side_spec(spec, "estimate")


async def try_copies(
    source: Store, side: Store, sample: list[ObjectInfo], options: RoundOptions, *, parallel: int | None
) -> tuple[Pass, Pass]:
    """The sample with one stream and with as many as a sync would use; all of it is removed. `sample` has at least one. Raises `CouldNot`."""
    await side.prepare()
    await _empty(side)  # of a run that was killed
    cut = max(1, len(sample) // _SINGLE_SHARE)
    single, rest = sample[:cut], sample[cut:] or sample
    try:
        alone = await _copy(source, side, single, replace(options, parallel=1, pace=Pace(1, options.bandwidth)))
        if rest is sample:
            await _empty(side)  # what is there already is not copied
        many = await _copy(source, side, rest, replace(options, pace=Pace(parallel, options.bandwidth)))
    finally:
        await _empty(side)
    return alone, many


async def _copy(source: Store, side: Store, sample: list[ObjectInfo], options: RoundOptions) -> Pass:
    with tempfile.TemporaryDirectory(prefix="cutover-estimate-") as folder:
        async with Index(Path(folder) / "index.db") as index:
            plain = replace(options, folders=False, delete=False, exclude=(), newest_first=False, copy_seconds=COPY_SECONDS)
            result = await sync_round("sample", _Sampled(source, sample), side, index, plain, Progress())
    if result.copied == 0:
        reason = result.failures[0].reason if result.failures else "nothing was copied"
        raise CouldNot(f"the trial copy: {reason}")
    return Pass(result.copied, result.bytes, max(1e-3, result.seconds - result.listing_seconds))


async def _empty(side: Store) -> None:
    """Remove what was copied there; what cannot be removed is told by the listing of whoever looks next, and its name says whose it is."""
    async with asyncio.timeout(300):
        keys = [info.key async for page in side.list_pages() for info in page]
        async with asyncio.TaskGroup() as group:
            turns = asyncio.Semaphore(16)

            async def remove(key: str) -> None:
                async with turns:
                    with contextlib.suppress(CouldNot):
                        await side.delete(key)

            for key in keys:
                group.create_task(remove(key))
