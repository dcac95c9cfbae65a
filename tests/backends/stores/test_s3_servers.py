"""What a real S3 server adds to the contract: rights, signatures, checksums kept, many pages, many at once."""

from __future__ import annotations

import asyncio

import pytest

from backends.stores.base import ObjectInfo, key_order
from backends.stores.checksum import crc64nvme
from backends.stores.errors import KeyRefused, ListingFailed, StoreDenied
from backends.stores.s3 import S3Store
from backends.stores.s3_errors import BucketMissing
from tests.backends.stores.conftest import new_bucket, s3_store
from tests.peers.ministack import MiniStack
from tests.peers.seaweedfs import ADMIN, NOLIST, READONLY, STRANGER, SeaweedFs


async def put(store: S3Store, key: str, body: bytes = b"x") -> ObjectInfo:
    return await store.write(key, body, crc64nvme=crc64nvme(body))


async def keys_of(store: S3Store) -> list[str]:
    return [found.key async for page in store.list_pages() for found in page]


async def test_a_wrong_secret_and_a_stranger_are_denied(weed: SeaweedFs) -> None:
    bucket = new_bucket()
    async with s3_store(weed, bucket) as store:
        await store.create_bucket()
        await put(store, "k")
    for keys in ((ADMIN[0], "wrong"), STRANGER):
        async with s3_store(weed, bucket, keys=keys) as store:
            with pytest.raises(StoreDenied):
                await store.read("k")
            with pytest.raises(StoreDenied):
                await put(store, "k")
            with pytest.raises(ListingFailed):
                await keys_of(store)


async def test_who_may_not_list_is_never_told_of_an_empty_bucket(weed: SeaweedFs) -> None:
    bucket = new_bucket()
    async with s3_store(weed, bucket) as store:
        await store.create_bucket()
        await put(store, "k")
    async with s3_store(weed, bucket, keys=NOLIST) as store:
        assert await store.read("k") == b"x"
        with pytest.raises(ListingFailed, match="corpus"):
            await keys_of(store)


async def test_who_may_not_write_is_denied(weed: SeaweedFs) -> None:
    bucket = new_bucket()
    async with s3_store(weed, bucket) as store:
        await store.create_bucket()
    async with s3_store(weed, bucket, keys=READONLY) as store:
        with pytest.raises(StoreDenied):
            await put(store, "k")
        with pytest.raises(StoreDenied):
            await store.create_upload("k")


async def test_a_bucket_that_is_not_there_is_named(weed: SeaweedFs) -> None:
    async with s3_store(weed, "no-such-bucket") as store:
        with pytest.raises(BucketMissing, match="no-such-bucket"):
            await store.prepare()
        with pytest.raises(ListingFailed):
            await keys_of(store)


async def test_checksum_type_and_metadata_are_kept_and_told(weed: SeaweedFs) -> None:
    like = ObjectInfo("k", 0, content_type="application/x-tar", metadata={"run": "17"})
    async with s3_store(weed, new_bucket()) as store:
        await store.create_bucket()
        await store.write("k", b"body", crc64nvme=crc64nvme(b"body"), like=like)
        assert store.capabilities.stored_checksum == frozenset({"crc64nvme"})
        upload = await store.create_upload("big", like=like)
        part = await store.write_part("big", upload, 1, 0, b"body", crc64nvme=crc64nvme(b"body"))
        await store.complete_upload("big", upload, [part], size=4, crc64nvme=crc64nvme(b"body"), like=like)
        for key in ("k", "big"):
            head = await store.head(key)
            assert head is not None
            assert head.checksums["crc64nvme"] == crc64nvme(b"body")
            assert (head.content_type, dict(head.metadata)) == ("application/x-tar", {"run": "17"})


async def test_an_upload_is_completed_by_a_process_that_did_not_begin_it(weed: SeaweedFs) -> None:
    bucket = new_bucket()
    async with s3_store(weed, bucket) as store:
        await store.create_bucket()
        upload = await store.create_upload("big")
        part = await store.write_part("big", upload, 1, 0, b"body", crc64nvme=crc64nvme(b"body"))
    async with s3_store(weed, bucket) as again:
        done = await again.complete_upload("big", upload, [part], size=4, crc64nvme=crc64nvme(b"body"), like=None)
        assert done.checksums["crc64nvme"] == crc64nvme(b"body")
        assert await again.list_uploads() == []


async def test_many_pages_are_listed_whole_in_order_and_below_the_prefix_only(weed: SeaweedFs) -> None:
    bucket = new_bucket()
    keys = sorted((f"s{n % 7}{'-/'[n % 2]}k{n:04}" for n in range(1100)), key=key_order)
    gate = asyncio.Semaphore(32)

    async def one(store: S3Store, key: str) -> None:
        async with gate:
            await put(store, key)

    async with s3_store(weed, bucket, prefix="other/") as elsewhere:
        await elsewhere.create_bucket()
        await put(elsewhere, "k")
    async with s3_store(weed, bucket, prefix="in/") as store:
        async with asyncio.TaskGroup() as group:
            for key in keys:
                group.create_task(one(store, key))
        assert await keys_of(store) == keys


async def test_nfc_and_nfd_twins_are_two_objects(weed: SeaweedFs) -> None:
    async with s3_store(weed, new_bucket()) as store:
        await store.create_bucket()
        await put(store, "caf\u00e9", b"nfc")
        await put(store, "cafe\u0301", b"nfd")
        assert await keys_of(store) == ["cafe\u0301", "caf\u00e9"]
        assert (await store.read("caf\u00e9"), await store.read("cafe\u0301")) == (b"nfc", b"nfd")


async def test_a_key_of_a_thousand_bytes_fits_and_a_longer_one_is_refused(weed: SeaweedFs) -> None:
    fits = "/".join(["\u00e9" * 100] * 5)  # 1,004 bytes
    async with s3_store(weed, new_bucket(), prefix="") as store:
        await store.create_bucket()
        await put(store, fits, b"long")
        assert await store.read(fits) == b"long"
        with pytest.raises(KeyRefused):
            await put(store, "k" * 1025)
        with pytest.raises(KeyRefused):
            await put(store, "raw\udcff")
        with pytest.raises(KeyRefused):
            await put(store, "")


FLAT_KEYS = ["a//b", "a/./b", "../x", "a/../../b", "./y", "/lead", "dir/", "a\\b", "\x01", "..", "a", "a/b", "a-b"]


async def test_a_flat_store_keeps_keys_that_no_tree_can_hold(mini: MiniStack) -> None:
    async with s3_store(mini, new_bucket(), prefix="in/") as store:
        await store.create_bucket()
        for key in FLAT_KEYS:
            await put(store, key, key.encode())
        assert await keys_of(store) == sorted(FLAT_KEYS, key=key_order)
        for key in FLAT_KEYS:
            assert await store.read(key) == key.encode()
            upload = await store.create_upload(key)
            assert await store.list_uploads() == [(key, upload)]
            await store.abort_upload(key, upload)
            await store.delete(key)
        assert await keys_of(store) == []
