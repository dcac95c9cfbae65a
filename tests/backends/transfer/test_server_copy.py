"""Rounds between two buckets of one server, which copies by itself; and what comes of it when it cannot, or lies."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from backends.stores.base import Capabilities, ObjectInfo, Store
from backends.stores.s3 import S3Store
from backends.stores.s3_client import bucket_address
from backends.stores.s3_credentials import FixedCredentials
from backends.stores.sigv4 import Credentials
from backends.transfer.index import Index
from backends.transfer.models import Progress, RoundOptions
from backends.transfer.round import sync_round
from backends.transfer.sums import Sums
from tests.backends.transfer.memory import MemoryStore
from tests.peers.seaweedfs import SeaweedFs

OBJECTS = {f"set/{n:02}": random.Random(n).randbytes(3000 + n) for n in range(8)} | {
    "empty": b"",
    "big": random.Random(1).randbytes(17 << 20),
}


@asynccontextmanager
async def two_buckets(server: SeaweedFs, name: str) -> AsyncIterator[tuple[S3Store, S3Store]]:
    credentials = FixedCredentials(Credentials(server.access_key, server.secret_key))
    async with AsyncExitStack() as stack:
        made = []
        for side in ("old", "new"):
            address = bucket_address(f"{name}-{side}", endpoint=server.endpoint, region=server.region, path_style=None)
            store = S3Store(side, f"{name}-{side}", "data/", address, credentials, server.region)
            made.append(await stack.enter_async_context(store))
            await store.create_bucket()
        yield made[0], made[1]


async def put(store: Store, objects: dict[str, bytes]) -> None:
    for key, body in objects.items():
        await store.write(key, body, crc64nvme=Sums.of(body).crc64nvme, like=ObjectInfo(key, 0, metadata={"run": "17"}))


async def test_a_round_within_one_server_sends_no_byte_and_proves_each_object(
    servers: Callable[[str], object], index: Index
) -> None:
    server = servers("weed")
    assert isinstance(server, SeaweedFs)
    async with two_buckets(server, "by-server") as (source, target):
        await put(source, OBJECTS)
        result = await sync_round("d", source, target, index, RoundOptions(parallel=4), Progress())
        assert (result.copied, result.bytes, result.failures) == (len(OBJECTS), 0, ())
        assert result.proofs == {"stored_checksums": len(OBJECTS)}
        assert {info.key: await target.read(info.key) async for page in target.list_pages() for info in page} == OBJECTS
        head = await target.head("big")
        assert head is not None
        assert dict(head.metadata) == {"run": "17"}
        assert (await sync_round("d", source, target, index, RoundOptions(), Progress())).copied == 0


class Copying(MemoryStore):
    """A store that copies from another in memory; `spoil` makes the copy a wrong one, `able` says whether it copies at all."""

    spoil: bytes | None = None
    able = True

    async def copy_from(self, source: Store, info: ObjectInfo) -> ObjectInfo | None:
        self.calls["copy_from"] += 1
        if not self.able or not isinstance(source, MemoryStore):
            return None
        body, self.spoil = self.spoil if self.spoil is not None else source.data[info.key], None
        return self.put(info.key, body)


def copying(*, keeps_sums: bool) -> Copying:
    store = Copying("new", keeps_sums=keeps_sums)
    known = store.capabilities
    store.capabilities = Capabilities(
        stored_checksum=known.stored_checksum, metadata=known.metadata, parts=True, server_copy=True
    )
    return store


@pytest.mark.parametrize(("keeps_sums", "proof"), [(True, "stored_checksums"), (False, "re_read")])
async def test_a_copy_is_proven_by_kept_checksums_else_by_reading_both(index: Index, keeps_sums: bool, proof: str) -> None:
    source, target = MemoryStore("old", {"a": b"abc", "b": b"def"}), copying(keeps_sums=keeps_sums)
    result = await sync_round("d", source, target, index, RoundOptions(), Progress())
    assert (result.copied, dict(result.proofs)) == (2, {proof: 2})
    assert target.data == source.data
    assert target.calls["write"] == 0


@pytest.mark.parametrize("keeps_sums", [True, False])
async def test_a_copy_that_is_not_its_source_is_made_again_and_told(index: Index, keeps_sums: bool) -> None:
    source, target = MemoryStore("old", {"a": b"abc"}), copying(keeps_sums=keeps_sums)
    target.spoil = b"abd"
    result = await sync_round("d", source, target, index, RoundOptions(), Progress())
    assert target.data == {"a": b"abc"}
    assert [failure.key for failure in result.repaired] == ["a"]


async def test_a_store_that_does_not_copy_is_asked_for_the_first_only(index: Index) -> None:
    source, target = MemoryStore("old", {str(n): b"abc" for n in range(9)}), copying(keeps_sums=True)
    target.able = False
    result = await sync_round("d", source, target, index, RoundOptions(parallel=1), Progress())
    assert result.copied == 9
    assert target.data == source.data
    assert target.calls["copy_from"] == 1
