"""A listing of Google Cloud Storage or Azure Blob as pages in the byte order of their keys, or `ListingFailed`.

Both list in lexical order. Where that is the order of UTF-16 (of .NET, of Node), a name with an emoji comes before one with a
character from U+E000 up, which in bytes it follows: such names are put in order here. Keys that rise in neither order cannot be
merged with another listing, so theirs fails: an account of Azure with a hierarchical namespace that walks its folders is one.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Callable

from backends.escape import plain
from backends.stores.base import ObjectInfo, key_order
from backends.stores.errors import ListingFailed, StoreBusy, StoreError, StoreUnreachable
from backends.stores.object_client import Answer, ObjectClient, Params
from backends.stores.object_xml import Page
from backends.stores.ours import without_ours
from backends.stores.s3_xml import BadXml

_TRIES = 5
_HIGH = re.compile("[\ue000-\uffff\U00010000-\U0010ffff]")  # from here on UTF-16 and UTF-8 sort otherwise


class ObjectListing:
    """One run over all objects below `prefix`. `params_of` gives the query of a page from its token and where to start."""

    def __init__(
        self,
        client: ObjectClient,
        store: str,
        prefix: str,
        params_of: Callable[[str | None, str], Params],
        parse: Callable[[bytes], Page],
    ) -> None:
        self._client = client
        self._store = store
        self._prefix = prefix
        self._params_of = params_of
        self._parse = parse

    async def pages(self, start_after: str) -> AsyncIterator[list[ObjectInfo]]:
        """Pages with keys relative to the prefix, in byte order."""
        token: str | None = None
        order = InOrder(self._store)
        while True:
            page = await self._page(token, start_after)
            objects = [self._relative(found) for found in page.objects]
            if given := _after(order.push(objects), start_after):
                yield given
            if page.token is None:
                break
            if page.token == token:
                raise ListingFailed(f"listing {self._store}: the server gives the same page again and again")
            token = page.token
        if given := _after(order.rest(), start_after):
            yield given

    async def _page(self, token: str | None, start_after: str) -> Page:
        answer = await self._ask(self._params_of(token, start_after))
        try:
            return self._parse(bytes(answer.body))
        except BadXml as error:
            raise ListingFailed(f"listing {self._store}: {error}", hint="nothing is concluded from it") from error

    async def _ask(self, params: Params) -> Answer:
        """One page, asked up to five times: a listing of a thousand pages is not thrown away for one that was busy."""
        for attempt in range(_TRIES):
            try:
                return await self._client.call("GET", self._client.place.root, what="listing", params=params)
            except (StoreBusy, StoreUnreachable) as error:
                if attempt == _TRIES - 1:
                    raise ListingFailed(f"listing {self._store} broke off: {error.message}", hint=error.hint) from error
                pause = error.retry_after if isinstance(error, StoreBusy) else 0.2 * 2**attempt
                await asyncio.sleep(pause * random.uniform(0.8, 1.2))
            except StoreError as error:
                raise ListingFailed(f"listing {error.message}", hint=error.hint) from error
        raise AssertionError("unreachable")

    def _relative(self, found: ObjectInfo) -> ObjectInfo:
        if not found.key.startswith(self._prefix):
            raise ListingFailed(f"listing {self._store}: the server gave {plain(found.key)!r}, which is not below the prefix")
        return found._replace(key=found.key[len(self._prefix) :])


def _after(objects: list[ObjectInfo], start_after: str) -> list[ObjectInfo]:
    """Without what comes before the start, what is our own, and the prefix's own folder marker, which is no object below it."""
    start = key_order(start_after)
    return without_ours([found for found in objects if found.key and key_order(found.key) > start])


class InOrder:
    """Byte order from that of the bytes or of UTF-16. Raises `ListingFailed` where keys rise in neither.

    Names with a character from U+E000 up wait until all that share what stands before it have come: in both orders they are
    neighbours, so only these are held. Invariant: all that waits begins with `_stem` and goes on with such a character.
    """

    def __init__(self, store: str) -> None:
        self._store = store
        self._stem: str | None = None
        self._waiting: list[ObjectInfo] = []
        self._last: bytes | None = None

    def push(self, objects: list[ObjectInfo]) -> list[ObjectInfo]:
        """What can be given out now."""
        out: list[ObjectInfo] = []
        for found in objects:
            stem = self._stem
            if stem is not None and found.key.startswith(stem) and _HIGH.match(found.key, len(stem)):
                self._waiting.append(found)
                continue
            out += self._release()
            high = _HIGH.search(found.key)
            if high is not None:
                self._stem = found.key[: high.start()]
                self._waiting.append(found)
            else:
                out.append(found)
        return self._risen(out)

    def rest(self) -> list[ObjectInfo]:
        """All that waits; nothing waits afterwards."""
        return self._risen(self._release())

    def _release(self) -> list[ObjectInfo]:
        waiting, self._waiting, self._stem = self._waiting, [], None
        waiting.sort(key=lambda found: key_order(found.key))
        return waiting

    def _risen(self, objects: list[ObjectInfo]) -> list[ObjectInfo]:
        for found in objects:
            this = key_order(found.key)
            if self._last is not None and this <= self._last:
                raise ListingFailed(f"listing {self._store}: keys do not rise at {plain(found.key)!r}")
            self._last = this
        return objects
