"""What Google Cloud Storage and Azure Blob promise alike, against Azurite and the shim of Cloud Storage."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from backends.stores import azure, gcs
from backends.stores.azure import AzureStore
from backends.stores.base import ObjectInfo, key_order
from backends.stores.checksum import crc64nvme
from backends.stores.errors import KeyRefused, ListingFailed, ObjectMissing, StoreDenied, StoreError, TargetChanged, UploadGone
from backends.stores.gcs import GcsStore
from backends.stores.object_listing import InOrder
from backends.stores.object_xml import rfc1123
from backends.stores.s3_errors import BucketMissing
from tests.backends.stores.conftest import azure_store, gcs_store, new_bucket
from tests.peers.azurite import Azurite
from tests.peers.gcs_shim import GcsShim

PART = 5 << 20
Cloud = AzureStore | GcsStore


@pytest.fixture(params=["blobs", "google"])
def server(request: pytest.FixtureRequest) -> Azurite | GcsShim:
    return request.getfixturevalue(request.param)


def opened(
    server: Azurite | GcsShim, bucket: str, *, prefix: str = "pre/", secret: str | None = None
) -> AbstractAsyncContextManager[Cloud]:
    if isinstance(server, Azurite):
        return azure_store(server, bucket, prefix=prefix, key=secret)
    return gcs_store(server, bucket, prefix=prefix, token=secret)


@pytest_asyncio.fixture
async def cloud(server: Azurite | GcsShim) -> AsyncIterator[Cloud]:
    async with opened(server, new_bucket()) as store:
        await store.create_bucket()
        yield store


async def put(store: Cloud, key: str, body: bytes, **how: object) -> ObjectInfo:
    return await store.write(key, body, crc64nvme=crc64nvme(body), **how)  # type: ignore[arg-type]


async def keys_of(store: Cloud, start_after: str = "") -> list[str]:
    return [info.key async for page in store.list_pages(start_after) for info in page]


async def test_what_a_source_says_of_an_object_comes_back_with_its_copy(cloud: Cloud) -> None:
    like = ObjectInfo(
        "k",
        4,
        content_type="text/csv",
        metadata={"owner": "ml", "x-run-id": "7", "_under": "1"},
        headers={"cache-control": "no-store", "content-language": "de", "content-disposition": "inline"},
    )
    for body in (b"body", b"z" * (9 << 20)):
        if len(body) == 4:
            await put(cloud, "k", body, like=like)
        else:
            upload = await cloud.create_upload("k", like=like)
            part = await cloud.write_part("k", upload, 1, 0, body, crc64nvme=crc64nvme(body))
            await cloud.complete_upload("k", upload, [part], size=len(body), crc64nvme=part.checksum, like=like)
        told = await cloud.head("k")
        assert told is not None
        assert (told.content_type, dict(told.metadata)) == (like.content_type, dict(like.metadata))
        assert dict(told.headers) == dict(like.headers)
        fetched, held = await cloud.fetch(told)
        assert (dict(fetched.metadata), dict(fetched.headers), bytes(held)) == (dict(like.metadata), dict(like.headers), body)


async def test_an_object_that_somebody_else_wrote_is_not_overwritten(cloud: Cloud) -> None:
    first = await put(cloud, "k", b"first", if_absent=True)
    with pytest.raises(TargetChanged):
        await put(cloud, "k", b"other", if_absent=True)
    second = await put(cloud, "k", b"second", if_match=first.identity)
    with pytest.raises(TargetChanged):
        await put(cloud, "k", b"third", if_match=first.identity)
    assert second.identity != first.identity
    assert await cloud.read("k") == b"second"


async def test_parts_are_not_joined_over_what_somebody_else_wrote(cloud: Cloud) -> None:
    before = await put(cloud, "k", b"before")
    upload = await cloud.create_upload("k")
    part = await cloud.write_part("k", upload, 1, 0, b"parts", crc64nvme=crc64nvme(b"parts"))
    await put(cloud, "k", b"theirs")
    for condition in ({"if_absent": True}, {"if_match": before.identity}):
        with pytest.raises(TargetChanged):
            await cloud.complete_upload("k", upload, [part], size=5, crc64nvme=part.checksum, like=None, **condition)  # type: ignore[arg-type]
    assert await cloud.read("k") == b"theirs"


async def test_a_small_object_is_written_and_fetched_with_a_checksum_in_one_request_each(cloud: Cloud) -> None:
    written = await put(cloud, "k", b"body")
    assert "crc64nvme" in written.checksums or "crc32c" in written.checksums
    fetched, body = await cloud.fetch(written)
    assert body == b"body"
    assert set(fetched.checksums) & {"crc64nvme", "crc32c"}
    head = await cloud.head("k")
    assert head is not None
    assert set(head.checksums) >= cloud.capabilities.stored_checksum


async def test_keys_that_libraries_refuse_are_listed_among_the_others(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(azure, "_PAGE", "3")
    monkeypatch.setattr(gcs, "_PAGE", "3")
    keys = ["a", "a//b", "a/b", "/lead", "//", "dir/", "dir/x", "z%00", "ü//ü", *[f"n{i}" for i in range(7)]]
    for key in keys:
        await put(cloud, key, key.encode())
    assert await keys_of(cloud) == sorted(keys, key=key_order)
    assert await keys_of(cloud, "dir/") == [k for k in sorted(keys, key=key_order) if key_order(k) > b"dir/"]
    for key in keys:
        assert await cloud.read(key) == key.encode()


async def test_a_prefix_is_no_more_than_its_bytes(server: Azurite | GcsShim, cloud: Cloud) -> None:
    await put(cloud, "inside", b"x")
    bucket = cloud.url.partition("://")[2].split("/")[-3]
    async with opened(server, bucket, prefix="") as whole:
        await put(whole, "pre", b"x")
        await put(whole, "prefix/other", b"x")
        await put(whole, "pre/", b"the folder's marker")
        assert await keys_of(whole) == ["pre", "pre/", "pre/inside", "prefix/other"]
    assert await keys_of(cloud) == ["inside"]


async def test_names_are_in_byte_order_where_a_server_sorts_by_utf16(cloud: Cloud) -> None:
    keys = [
        "a/\U0001f680",
        "a/\uff08x",
        "a/\U0001f680b",
        "a/z",
        "b",
        "\U0001f680/1",
        "\uff08/1",
        "\U0001f680/\uff08",
        "\U0001f680/\U0001f681",
    ]
    for key in keys:
        await put(cloud, key, b"x")
    assert await keys_of(cloud) == sorted(keys, key=key_order)


async def test_wrong_credentials_are_denied_and_never_an_empty_listing(server: Azurite | GcsShim) -> None:
    secret = "d3JvbmcgYnV0IGJhc2U2NA=="
    bucket = new_bucket()
    async with opened(server, bucket) as mine, opened(server, bucket, secret=secret) as theirs:
        await mine.create_bucket()
        with pytest.raises(ListingFailed) as failed:
            await keys_of(theirs)
        with pytest.raises(StoreDenied) as denied:
            await theirs.head("k")
        with pytest.raises(StoreDenied):
            await put(theirs, "k", b"x")
        assert secret not in str(failed.value) + str(denied.value)


async def test_a_bucket_that_is_not_there_is_told_and_never_empty(server: Azurite | GcsShim) -> None:
    async with opened(server, new_bucket()) as store:
        with pytest.raises(BucketMissing):
            await store.prepare()
        with pytest.raises(ListingFailed):
            await keys_of(store)
        with pytest.raises((BucketMissing, ObjectMissing)):
            await put(store, "k", b"x")


async def test_what_has_arrived_is_known_to_a_store_opened_later(server: Azurite | GcsShim) -> None:
    bucket, bodies = new_bucket(), [b"a" * PART, b"b" * 10]
    async with opened(server, bucket) as first:
        await first.create_bucket()
        upload = await first.create_upload("big")
        await first.write_part("big", upload, 1, 0, bodies[0], crc64nvme=crc64nvme(bodies[0]))
    async with opened(server, bucket) as later:
        [arrived] = await later.list_parts("big", upload) or []
        assert (arrived.number, arrived.size) == (1, PART)
        last = await later.write_part("big", upload, 2, PART, bodies[1], crc64nvme=crc64nvme(bodies[1]))
        whole = b"".join(bodies)
        done = await later.complete_upload("big", upload, [arrived, last], size=len(whole), crc64nvme=crc64nvme(whole), like=None)
        assert await later.read("big", if_match=done.identity) == whole


async def test_a_completion_whose_answer_was_lost_can_be_said_again(cloud: Cloud) -> None:
    upload = await cloud.create_upload("k")
    part = await cloud.write_part("k", upload, 1, 0, b"parts", crc64nvme=crc64nvme(b"parts"))
    how = {"size": 5, "crc64nvme": part.checksum, "like": None}
    done = await cloud.complete_upload("k", upload, [part], **how)  # type: ignore[arg-type]
    with contextlib.suppress(UploadGone):  # then the caller asks the object itself
        await cloud.complete_upload("k", upload, [part], **how)  # type: ignore[arg-type]
    held = await cloud.head("k")
    assert held is not None
    assert (held.size, held.checksums) == (5, done.checksums)
    assert await cloud.read("k") == b"parts"
    assert await cloud.list_uploads() == []


async def test_names_too_long_or_not_text_are_refused_by_name(cloud: Cloud) -> None:
    for key in ("x" * 1100, "\udcff", ""):
        with pytest.raises(KeyRefused, match="corpus"):
            await put(cloud, key, b"x")


async def test_metadata_that_cannot_be_carried_fails_its_object_and_nothing_is_written(cloud: Cloud) -> None:
    with pytest.raises(StoreError, match="plain ASCII"):
        await put(cloud, "k", b"x", like=ObjectInfo("k", 1, metadata={"who": "Jürgen"}))
    assert await cloud.head("k") is None


def infos(keys: list[str]) -> list[ObjectInfo]:
    return [ObjectInfo(key, 1) for key in keys]


names = st.text(alphabet=st.sampled_from("a/\ud7ff\ue000\uff08\uffff\U00010000\U0010ffff"), max_size=5)


@given(st.sets(names, max_size=12), st.integers(1, 4), st.booleans())
def test_either_order_of_a_server_comes_out_in_byte_order(keys: set[str], size: int, utf16: bool) -> None:
    listed = sorted(keys, key=lambda key: key.encode("utf-16-be") if utf16 else key_order(key))
    order, out = InOrder("corpus"), list[str]()
    for start in range(0, len(listed), size):
        out += [info.key for info in order.push(infos(listed[start : start + size]))]
    out += [info.key for info in order.rest()]
    assert out == sorted(keys, key=key_order)


@pytest.mark.parametrize("keys", [["b", "a"], ["a", "a"], ["\uff08", "b", "\uff08"], ["a/b", "a-b"]])
def test_keys_in_no_order_fail_the_listing(keys: list[str]) -> None:
    order = InOrder("corpus")
    with pytest.raises(ListingFailed, match="do not rise"):
        order.push(infos(keys)), order.rest()


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1)))
def test_a_date_is_read_as_the_library_reads_it(moment: datetime) -> None:
    text = format_datetime(moment.replace(microsecond=0, tzinfo=UTC), usegmt=True)
    assert rfc1123(text) == parsedate_to_datetime(text)


@pytest.mark.parametrize("text", ["", "yesterday", "Wed, 31 Feb 2026 01:07:41 GMT", "Wed, 25 Foo 2026 01:07:41 GMT"])
def test_what_is_no_date_is_none(text: str) -> None:
    assert rfc1123(text) is None
