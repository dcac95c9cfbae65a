"""A bucket's listing as pages in the byte order of their keys, or `ListingFailed`.

S3, MinIO, Ceph and R2 list in byte order. SeaweedFS walks a tree: `a/b` comes before `a-b`, though `-` is below `/`. Its pages
are put in order here: what is below a folder waits until no sibling that belongs before it can come. A server whose keys rise in
neither order cannot be trusted with a merge of two sorted streams, so its listing fails.

A page costs a round trip and the next cannot be asked for before it: far away, a million keys would take minutes. There the keys are
cut into ranges, which are listed side by side. Where they are cut is found by one look at the folders; that only steers: together
the ranges are all keys, whatever has changed since.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from itertools import islice
from operator import lt

from backends.escape import plain
from backends.stores.base import ObjectInfo, key_order
from backends.stores.errors import ListingFailed, StoreBusy, StoreError, StoreUnreachable
from backends.stores.http1 import Answer
from backends.stores.s3_client import S3Client
from backends.stores.s3_xml import BadXml, ListPage, parse_error, parse_folders, parse_list

_TRIES = 5
_PAGE = 1000
_FAR = 0.01  # seconds a request, from which ranges are listed side by side
_RANGES = 64
_AHEAD = 8  # ranges
_AHEAD_PAGES = 4  # of each
_DEEPEST = 4  # folders with nothing beside them that are looked into for where to cut

_Pages = asyncio.Queue[list[ObjectInfo] | None]


class Listing:
    """One run over all objects below `prefix`."""

    def __init__(self, client: S3Client, store: str, prefix: str, *, tree: bool, far: float = _FAR) -> None:
        self._client = client
        self._store = store
        self._prefix = prefix
        self._far = far
        self.tree = tree  # the server walks a tree; found out by its first answer

    async def pages(self, start_after: str) -> AsyncIterator[list[ObjectInfo]]:
        """Pages with keys relative to the prefix, in byte order."""
        token: str | None = None
        order = _Order(self._store)
        waiting = _TreeOrder()
        while True:
            page = await self._page(token, start_after)
            order.check(page.objects, tree=self.tree)
            objects = self._relative(page.objects)
            if self.tree:
                objects = [o for o in waiting.push(objects) if key_order(o.key) > key_order(start_after)]
            if objects:
                yield objects
            if page.token is None:
                break
            if page.token == token:
                raise ListingFailed(f"listing {self._store}: the server gives the same page again and again")
            if token is None and page.objects and not self.tree and (self._client.latency or 0.0) >= self._far:
                last = page.objects[-1].key
                if cuts := [cut for cut in await self._cuts() if key_order(cut) > key_order(last)]:
                    async with aclosing(self._side_by_side(last, cuts)) as pages:
                        async for found in pages:
                            order.check(found, tree=False)
                            yield self._relative(found)
                    return
            token = page.token
        rest = [o for o in waiting.rest() if key_order(o.key) > key_order(start_after)]
        if rest:
            yield rest

    async def _cuts(self) -> list[str]:
        """Full keys at which to cut, in order: folders, at most `_RANGES` of them, evenly taken."""
        below = self._prefix
        for _ in range(_DEEPEST):
            params = [("list-type", "2"), ("encoding-type", "url"), ("max-keys", str(_PAGE)), ("delimiter", "/")]
            answer = await self._ask(tuple(params + ([("prefix", below)] if below else [])))
            try:
                folders = parse_folders(bytes(answer.body))
            except BadXml:
                return []
            if len(folders) != 1:
                step = max(1, len(folders) // _RANGES)
                return sorted(set(folders[::step]), key=key_order)
            below = folders[0]
        return []

    async def _side_by_side(self, after: str, cuts: list[str]) -> AsyncGenerator[list[ObjectInfo], None]:
        """All that comes after `after`, in order."""
        ranges = iter(zip([after, *cuts], [*cuts, None], strict=True))
        running: deque[tuple[asyncio.Task[None], _Pages]] = deque()

        def begin() -> None:
            for start, end in islice(ranges, _AHEAD - len(running)):
                queue: _Pages = asyncio.Queue(_AHEAD_PAGES)
                running.append((asyncio.create_task(self._range(start, end, queue), name="listing of a range"), queue))

        try:
            begin()
            while running:
                task, queue = running[0]
                while (page := await _next_page(task, queue)) is not None:
                    yield page
                running.popleft()
                begin()
        finally:
            for task, _ in running:
                task.cancel()
            await asyncio.gather(*(task for task, _ in running), return_exceptions=True)

    async def _range(self, after: str, upto: str | None, queue: _Pages) -> None:
        """The pages of the keys after `after`, `upto` included; None at the end."""
        token, end = None, None if upto is None else key_order(upto)
        while True:
            page = await self._page(token, after[len(self._prefix) :])
            objects = page.objects
            is_last = page.token is None
            if end is not None and objects and key_order(objects[-1].key) > end:
                objects, is_last = [o for o in objects if key_order(o.key) <= end], True
            if objects:
                await queue.put(objects)
            if is_last:
                await queue.put(None)
                return
            if page.token == token:
                raise ListingFailed(f"listing {self._store}: the server gives the same page again and again")
            token = page.token

    async def _page(self, token: str | None, start_after: str) -> ListPage:
        params = [("list-type", "2"), ("encoding-type", "url"), ("max-keys", str(_PAGE))]
        if self._prefix:
            params.append(("prefix", self._prefix))
        if token is not None:
            params.append(("continuation-token", token))
        elif start_after and not self.tree:
            params.append(("start-after", self._prefix + start_after))
        answer = await self._ask(tuple(params))
        if answer.headers.get("server", "").startswith("SeaweedFS") and not self.tree:
            self.tree = True
            if start_after:  # it was asked in an order that this server does not keep
                return await self._page(token, start_after)
        try:
            return parse_list(bytes(answer.body))
        except BadXml as error:
            found = parse_error(bytes(answer.body))
            reason = plain(f"{found.code}: {found.message}", 300) if found is not None else str(error)
            raise ListingFailed(f"listing {self._store}: {reason}", hint="nothing is concluded from it") from error

    async def _ask(self, params: tuple[tuple[str, str], ...]) -> Answer:
        """One page, asked up to five times: a listing of a thousand pages is not thrown away for one that was busy."""
        for attempt in range(_TRIES):
            try:
                return await self._client.call("GET", None, what="listing", params=params)
            except (StoreBusy, StoreUnreachable) as error:
                if attempt == _TRIES - 1:
                    raise ListingFailed(f"listing {self._store} broke off: {error.message}", hint=error.hint) from error
                pause = error.retry_after if isinstance(error, StoreBusy) else 0.2 * 2**attempt
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            except StoreError as error:
                raise ListingFailed(f"listing {error.message}", hint=error.hint) from error
        raise AssertionError("unreachable")

    def _relative(self, page: list[ObjectInfo]) -> list[ObjectInfo]:
        prefix = self._prefix
        if not prefix:
            return page
        for found in page:
            if not found.key.startswith(prefix):
                raise ListingFailed(f"listing {self._store}: the server gave {plain(found.key)!r}, which is not below the prefix")
        return [ObjectInfo(found.key[len(prefix) :], *found[1:]) for found in page]


async def _next_page(task: asyncio.Task[None], queue: _Pages) -> list[ObjectInfo] | None:
    """The next page of a range; raises what ended its task."""
    asked = asyncio.ensure_future(queue.get())
    try:
        await asyncio.wait((asked, task), return_when=asyncio.FIRST_COMPLETED)
        if not asked.done():
            task.result()
        return await asked
    finally:
        asked.cancel()


class _Order:
    """Keys must rise through all pages: a key that falls means a page twice or lost."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._last: bytes | None = None

    def check(self, objects: list[ObjectInfo], *, tree: bool) -> None:
        order = _tree_order if tree else key_order
        names = [found.key for found in objects]
        if names and not tree and "".join(names).isascii():  # text of ASCII is in the order of its bytes
            first = order(names[0])
            if (self._last is None or first > self._last) and all(map(lt, names, islice(names, 1, None))):
                self._last = order(names[-1])
                return
        keys = [order(name) for name in names]
        for before, this, found in zip([self._last, *keys], keys, objects, strict=False):
            if before is not None and this <= before:
                raise ListingFailed(f"listing {self._store}: keys do not rise at {plain(found.key)!r}")
        self._last = keys[-1] if keys else self._last


def _tree_order(key: str) -> bytes:
    """Below any other byte, a slash: as a walk through folders goes."""
    return key_order(key).replace(b"/", b"\0")


class _TreeOrder:
    """From the order of a walk to byte order.

    Invariant: all that waits shares the first segment `folder`, and the walk has not gone past what belongs before `folder/`.
    """

    def __init__(self) -> None:
        self._folder: bytes | None = None
        self._waiting: list[ObjectInfo] = []

    def push(self, objects: list[ObjectInfo]) -> list[ObjectInfo]:
        """What can be given out now, in order."""
        out: list[ObjectInfo] = []
        for found in objects:
            key = key_order(found.key)
            folder = self._folder
            if folder is not None and key.startswith(folder) and key[len(folder) : len(folder) + 1] <= b"/":
                self._waiting.append(found)
                continue
            out += self.rest()
            name, slash, _ = key.partition(b"/")
            if slash:
                self._folder = name
                self._waiting.append(found)
            else:
                out.append(found)
        return out

    def rest(self) -> list[ObjectInfo]:
        """All that waits, in order; nothing waits afterwards."""
        out = sorted(self._waiting, key=lambda o: key_order(o.key))
        self._waiting = []
        self._folder = None
        return out
