"""A listing far away: ranges of the keys side by side, and still every key once and in order."""

from __future__ import annotations

import asyncio

import pytest
import pytest_asyncio

from backends.stores.base import key_order
from backends.stores.checksum import crc64nvme
from backends.stores.errors import ListingFailed, StoreDenied
from backends.stores.http1 import Answer
from backends.stores.s3 import S3Store
from backends.stores.s3_client import S3Client
from backends.stores.s3_listing import Listing
from tests.backends.stores.conftest import new_bucket, s3_store
from tests.peers.ministack import MiniStack

KEYS = sorted(
    [f"deep/run/part-{folder}/{n:04}" for folder in ("a", "b-", "b", "b/é", "c", "d", "e", "f", "ü") for n in range(200)]
    + ["deep/run/part-b", "deep/run/part-b.txt", "deep/run/zz", "deep/run/part-b/", "deep/run/part-ü"],
    key=key_order,
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bucket(mini: MiniStack) -> str:
    """Filled once: no test writes to it."""
    name = new_bucket()
    async with s3_store(mini, name, prefix="data/") as store:
        await store.create_bucket()
        turns = asyncio.Semaphore(32)

        async def put(key: str) -> None:
            async with turns:
                await store.write(key, b"x", crc64nvme=crc64nvme(b"x"))

        async with asyncio.TaskGroup() as group:
            for key in KEYS:
                group.create_task(put(key))
    return name


def listing_of(store: S3Store, *, far: float = 0.0) -> Listing:
    return Listing(store._bucket.client, "corpus", "data/", tree=False, far=far)


async def keys_of(listing: Listing, start_after: str = "") -> list[str]:
    return [found.key async for page in listing.pages(start_after) for found in page]


async def test_all_keys_come_once_and_in_order_whichever_way(mini: MiniStack, bucket: str) -> None:
    async with s3_store(mini, bucket, prefix="data/") as store:
        await store.head("nothing")  # the latency is known from here on
        assert await keys_of(listing_of(store)) == KEYS
        assert await keys_of(listing_of(store, far=1e9)) == KEYS
        after = KEYS[900]
        assert await keys_of(listing_of(store), after) == KEYS[901:]


async def test_ranges_are_asked_for_side_by_side(mini: MiniStack, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    under_way = most = 0
    whole = S3Client.call

    async def counted(self: S3Client, *args: object, **named: object) -> Answer:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        try:
            await asyncio.sleep(0.01)
            return await whole(self, *args, **named)  # type: ignore[arg-type]
        finally:
            under_way -= 1

    async with s3_store(mini, bucket, prefix="data/") as store:
        await store.head("nothing")
        monkeypatch.setattr(S3Client, "call", counted)
        assert await keys_of(listing_of(store)) == KEYS
    assert most > 2


async def test_a_range_that_is_denied_fails_the_listing(mini: MiniStack, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, asked = S3Client.call, 0

    async def denied_later(self: S3Client, *args: object, **named: object) -> Answer:
        nonlocal asked
        asked += 1
        if asked > 6:
            raise StoreDenied("corpus: listing: denied")
        return await whole(self, *args, **named)  # type: ignore[arg-type]

    async with s3_store(mini, bucket, prefix="data/") as store:
        await store.head("nothing")
        monkeypatch.setattr(S3Client, "call", denied_later)
        with pytest.raises(ListingFailed, match="denied"):
            await keys_of(listing_of(store))


async def test_a_listing_that_is_left_leaves_nothing_running(mini: MiniStack, bucket: str) -> None:
    async with s3_store(mini, bucket, prefix="data/") as store:
        await store.head("nothing")
        pages = listing_of(store).pages("")
        await anext(pages)
        await anext(pages)
        await pages.aclose()  # type: ignore[attr-defined]
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "listing of a range"]
