"""Two sorted listings, merged as their pages come. Never both in memory: at most what one side is ahead, a few pages.

Order is that of the keys' UTF-8 bytes, as `backends.stores.base` promises. A key out of order or twice is `ListingUnsorted`: a
merge over it would take objects for missing that are there.

Object stores keep folders as empty objects whose keys end in a slash, made by their consoles and by programs that want folders. Where the other
side is a tree, which has folders and cannot have such a file, they are left out.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from backends.escape import plain
from backends.stores.base import ObjectInfo, Store
from backends.stores.errors import ListingFailed
from backends.transfer.errors import ListingUnsorted

Pair = tuple[ObjectInfo | None, ObjectInfo | None]  # (source, target), one of them may be None


def order_of(key: str) -> bytes:
    """What keys are sorted by; also how the index keeps them. Lossless, names that are no UTF-8 included."""
    return key.encode("utf-8", "surrogateescape")


class Lane:
    """One side's part of the merge."""

    def __init__(self, name: str, left_out: Callable[[str], bool] | None = None, *, keeps_markers: bool = True) -> None:
        self.name = name
        self.left_out = left_out
        self.keeps_markers = keeps_markers
        self.markers = 0  # left out
        self.waiting: deque[tuple[bytes, ObjectInfo]] = deque()
        self.last: bytes | None = None
        self.ended = False

    def feed(self, page: list[ObjectInfo]) -> None:
        """The next page of this side."""
        orders = [info.key.encode("utf-8", "surrogateescape") for info in page]
        last = self.last
        for order in orders:
            if last is not None and order <= last:
                raise self._unsorted(order, last)
            last = order
        self.last = last
        if not self.keeps_markers and any(order.endswith(b"/") for order in orders):
            orders, page = self._without_markers(orders, page)
        if (left_out := self.left_out) is None:
            self.waiting.extend(zip(orders, page, strict=True))
        else:
            self.waiting.extend([(order, info) for order, info in zip(orders, page, strict=True) if not left_out(info.key)])

    def _without_markers(self, orders: list[bytes], page: list[ObjectInfo]) -> tuple[list[bytes], list[ObjectInfo]]:
        kept = [(order, info) for order, info in zip(orders, page, strict=True) if info.size or not order.endswith(b"/")]
        self.markers += len(page) - len(kept)
        return [order for order, _ in kept], [info for _, info in kept]

    def _unsorted(self, order: bytes, last: bytes) -> ListingUnsorted:
        key = plain(order.decode("utf-8", "surrogateescape"))
        return ListingUnsorted(
            f"the listing of {self.name} has {key} {'twice' if order == last else 'out of order'}",
            where=self.name,
            hint="this server's listing cannot be trusted; nothing was concluded from it",
        )


class Merge:
    """Pages in (`source.feed`, `target.feed`, `.ended = True`), pairs out. Pure."""

    def __init__(self, source: Lane, target: Lane) -> None:
        self.source = source
        self.target = target

    def pairs(self) -> list[Pair]:
        """All pairs that are certain by now, in the order of their keys."""
        out: list[Pair] = []
        left, right = self.source.waiting, self.target.waiting
        next_left, next_right, add = left.popleft, right.popleft, out.append
        while left and right:
            a, b = left[0][0], right[0][0]
            if a == b:
                add((next_left()[1], next_right()[1]))
            elif a < b:
                add((next_left()[1], None))
            else:
                add((None, next_right()[1]))
        if self.target.ended and not right:
            out.extend((info, None) for _, info in left)
            left.clear()
        if self.source.ended and not left:
            out.extend((None, info) for _, info in right)
            right.clear()
        return out


@dataclass(slots=True)
class Counts:
    """What the listings held, before anything was left out. `markers` of the source are folders that a tree has by itself."""

    source: int = 0
    target: int = 0
    markers: int = 0


async def merge_listings(
    source: Store,
    target: Store,
    consume: Callable[[list[Pair]], Awaitable[None]],
    *,
    left_out: Callable[[str], bool] | None = None,
    seen: Callable[[int], None] = lambda count: None,
) -> Counts:
    """List both sides at once and hand over pairs as they are certain.

    Raises `ListingFailed` when either listing did not come to its true end; what `consume` was given by then must not be
    acted upon.
    `seen` hears how many the source has listed so far.
    """
    # Left out of the side that is no tree: a tree lists none.
    lanes = [
        Lane(side.name, left_out, keeps_markers=side.capabilities.folders or not other.capabilities.folders)
        for side, other in ((source, target), (target, source))
    ]
    merge, counts = Merge(*lanes), Counts()
    queues: tuple[_Pages, _Pages] = (asyncio.Queue(2), asyncio.Queue(2))
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_produce(source, queues[0]))
            group.create_task(_produce(target, queues[1]))
            while not (merge.source.ended and merge.target.ended):
                for lane, queue in ((merge.source, queues[0]), (merge.target, queues[1])):
                    if lane.ended or lane.waiting:
                        continue
                    page = await queue.get()
                    if page is None:
                        lane.ended = True
                        continue
                    if lane is merge.source:
                        counts.source += len(page)
                        seen(counts.source)
                    else:
                        counts.target += len(page)
                    lane.feed(page)
                if pairs := merge.pairs():
                    await consume(pairs)
    except BaseExceptionGroup as group_error:
        raise first_error(group_error) from group_error
    if pairs := merge.pairs():
        await consume(pairs)
    counts.markers = merge.source.markers
    return counts


_Pages = asyncio.Queue[list[ObjectInfo] | None]


async def _produce(store: Store, queue: _Pages) -> None:
    pages: AsyncIterator[list[ObjectInfo]] = store.list_pages()
    try:
        async for page in pages:
            await queue.put(page)
    except TimeoutError as error:
        raise ListingFailed(f"the listing of {store.name} ({store.url}) timed out", where=store.url) from error
    await queue.put(None)


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first error of a group that is no group itself: what an operator should be told."""
    for error in group.exceptions:
        return first_error(error) if isinstance(error, BaseExceptionGroup) else error
    return group
