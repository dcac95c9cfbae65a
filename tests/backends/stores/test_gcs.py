"""What only Google Cloud Storage does, against the shim in front of ministack; and what a scripted server says on its bad days."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from backends.secrets.google import fixed
from backends.secrets.oauth import Tokens
from backends.stores.base import ObjectInfo
from backends.stores.checksum import crc32c, crc64nvme, hex_to_base64
from backends.stores.errors import (
    ChecksumRefused,
    KeyRefused,
    KeysRefused,
    ListingFailed,
    SourceChanged,
    StoreBusy,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnreachable,
    UploadGone,
)
from backends.stores.gcs import GcsStore
from backends.stores.gcs_credentials import GcsSigner
from backends.stores.gcs_headers import checksums_of
from backends.stores.object_client import ObjectClient, Place
from backends.stores.object_errors import gcs_error
from backends.stores.object_xml import parse_gcs_list
from backends.stores.s3_errors import BucketMissing
from backends.stores.s3_xml import BadXml
from tests.backends.stores.conftest import gcs_store, new_bucket
from tests.peers.gcs_shim import GcsShim
from tests.peers.scripted_http import Asked, ScriptedHttp, answer, scripted_http


@pytest_asyncio.fixture
async def store(google: GcsShim) -> AsyncIterator[GcsStore]:
    async with gcs_store(google, new_bucket()) as opened:
        await opened.create_bucket()
        yield opened


async def put(store: GcsStore, key: str, body: bytes, like: ObjectInfo | None = None) -> ObjectInfo:
    return await store.write(key, body, crc64nvme=crc64nvme(body), like=like)


async def test_every_object_has_a_crc32c_and_only_a_whole_one_an_md5(store: GcsStore) -> None:
    whole = await put(store, "whole", b"hello")
    assert whole.checksums == {"crc32c": crc32c(b"hello"), "md5": "5d41402abc4b2a76b9719d911017c592"}
    upload = await store.create_upload("parts")
    part = await store.write_part("parts", upload, 1, 0, b"hello", crc64nvme=crc64nvme(b"hello"))
    done = await store.complete_upload("parts", upload, [part], size=5, crc64nvme=part.checksum, like=None)
    assert done.checksums == {"crc32c": crc32c(b"hello")}


async def test_the_generation_is_the_identity_also_where_the_bytes_are_the_same(store: GcsStore) -> None:
    first, second = await put(store, "k", b"same"), await put(store, "k", b"same")
    assert first.version == first.identity != second.identity
    with pytest.raises(SourceChanged):
        await store.read("k", start=1, length=2, if_match=first.identity)
    with pytest.raises(SourceChanged):
        await store.read("k", if_match=first.identity, version=first.version)
    assert await store.read("k", if_match=second.identity, version=second.version) == b"same"


async def test_what_was_stored_packed_travels_packed(store: GcsStore) -> None:
    packed = gzip.compress(b"text " * 1000)
    like = ObjectInfo("k", len(packed), content_type="text/plain", headers={"content-encoding": "gzip"})
    await put(store, "k", packed, like)
    head = await store.head("k")
    assert head is not None
    assert (head.size, dict(head.headers)) == (len(packed), dict(like.headers))
    told, body = await store.fetch(head)
    assert (bytes(body), told.checksums["crc32c"]) == (packed, crc32c(packed))
    assert await store.read("k", start=0, length=2) == packed[:2]


async def test_bytes_damaged_on_the_way_are_refused_by_the_service(store: GcsStore) -> None:
    promised = {"x-goog-hash": f"crc32c={hex_to_base64(crc32c(b'whole'))}"}
    with pytest.raises(ChecksumRefused):
        await store._call("PUT", "k", "PUT", headers=promised, body=b"whqle")
    assert await store.head("k") is None


async def test_tags_that_are_not_carried_are_said(store: GcsStore) -> None:
    await put(store, "k", b"x", ObjectInfo("k", 1, tags={"team": "ml"}))
    assert [note.code for note in store.notes] == ["tags"]


async def test_names_that_the_service_keeps_for_itself_are_refused(google: GcsShim) -> None:
    async with gcs_store(google, new_bucket(), prefix="") as store:
        for key in (".", "..", ".well-known/acme-challenge/x", "a\rb"):
            with pytest.raises(KeyRefused):
                await put(store, key, b"x")


async def test_a_name_with_folder_steps_stays_as_it_is(store: GcsStore) -> None:
    await put(store, "a/b", b"one")
    await put(store, "b", b"two")
    await put(store, "a/../b", b"three")
    assert await store.read("b") == b"two"
    assert await store.read("a/../b") == b"three"


async def test_open_uploads_without_parts_are_found_again(store: GcsStore) -> None:
    lost, filled = await store.create_upload("k"), await store.create_upload("k")
    await store.write_part("k", filled, 1, 0, b"x", crc64nvme=crc64nvme(b"x"))
    now = datetime.now(UTC)
    assert await store.orphans_of("k", now) == [lost]
    assert await store.orphans_of("other", now) == []
    assert await store.orphans_of("k", now - timedelta(hours=2)) == []


def xml(code: str) -> str:
    return f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>Said.</Message></Error>"


@asynccontextmanager
async def scripted(said: bytes) -> AsyncIterator[tuple[GcsStore, ScriptedHttp]]:
    async def find() -> Tokens:
        return fixed("a-token")

    async with scripted_http(lambda _: said) as server:
        client = ObjectClient("corpus", Place.of(server.endpoint, "box"), GcsSigner(find), gcs_error)
        async with GcsStore("corpus", "gs://box/", "", client) as store:
            yield store, server


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (429, "SlowDown", StoreBusy),
        (503, "ServiceUnavailable", StoreBusy),
        (500, "InternalError", StoreUnreachable),
        (403, "AccessDenied", StoreDenied),
        (401, "AuthenticationRequired", KeysRefused),
        (412, "PreconditionFailed", SourceChanged),
        (416, "InvalidRange", SourceChanged),
        (400, "BadDigest", ChecksumRefused),
        (404, "NoSuchUpload", UploadGone),
        (404, "NoSuchBucket", BucketMissing),
        (400, "EntityTooLarge", StoreFull),
        (400, "KeyTooLongError", KeyRefused),
        (403, "ObjectUnderActiveHold", StoreError),
    ],
)
async def test_an_error_of_cloud_storage_is_one_of_ours(status: int, code: str, kind: type[StoreError]) -> None:
    async with scripted(answer(status, xml(code), retry_after="7")) as (store, _):
        with pytest.raises(kind) as failed:
            await store.read("k")
    assert type(failed.value) is kind
    if isinstance(failed.value, StoreBusy):
        assert failed.value.retry_after == 7.0
    else:
        assert code in failed.value.message
    assert "a-token" not in str(failed.value)


async def test_a_token_that_ended_is_looked_up_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.secrets.oauth._FRESH_SECONDS", 0.0)
    tokens = iter(["old", "new"])

    async def find() -> Tokens:
        return fixed(next(tokens))

    def script(asked: Asked) -> bytes:
        is_new = asked.headers["authorization"] == "Bearer new"
        return answer(200, b"body", x_goog_generation="1") if is_new else answer(401, xml("AuthenticationRequired"))

    async with scripted_http(script) as server:
        client = ObjectClient("corpus", Place.of(server.endpoint, "box"), GcsSigner(find), gcs_error)
        async with GcsStore("corpus", "gs://box/", "", client) as store:
            assert await store.read("k") == b"body"
    assert len(server.asked) == 2


async def test_an_error_inside_an_answer_of_200_completes_nothing() -> None:
    async with scripted(answer(200, xml("InternalError"))) as (store, _):
        with pytest.raises(StoreUnreachable):
            await store.complete_upload("k", "id", [], size=0, crc64nvme="0" * 16, like=None)


PAGE = "<ListBucketResult><EncodingType>url</EncodingType><IsTruncated>{}</IsTruncated>{}</ListBucketResult>"
ENTRY = "<Contents><Key>a%2F%2Fb</Key><Generation>7</Generation><Size>3</Size></Contents>"


@pytest.mark.parametrize(
    "body",
    [
        "",
        PAGE.format("false", ENTRY)[:-20],
        PAGE.format("true", ENTRY),
        PAGE.format("maybe", ENTRY),
        PAGE.format("false", "<KeyCount>2</KeyCount>" + ENTRY),
        PAGE.format("false", ENTRY.replace("<Generation>7</Generation>", "")),
        PAGE.format("false", ENTRY.replace("%2Fb", "%FF")),
        xml("InternalError"),
    ],
)
async def test_a_listing_that_is_not_whole_fails(body: str) -> None:
    async with scripted(answer(200, body)) as (store, _):
        with pytest.raises(ListingFailed):
            [page async for page in store.list_pages()]


def test_a_page_tells_key_size_and_generation() -> None:
    page = parse_gcs_list(PAGE.format("false", ENTRY).encode())
    assert [(info.key, info.size, info.identity) for info in page.objects] == [("a//b", 3, "7")]


@given(st.binary(max_size=300))
def test_any_answer_is_a_page_or_refused(body: bytes) -> None:
    try:
        page = parse_gcs_list(body)
    except BadXml:
        return
    assert b"<IsTruncated>" in body
    assert page.objects == [] or b"<Contents>" in body


def test_hashes_are_read_in_either_form() -> None:
    both = {"crc32c": "9a71bb4c", "md5": "5d41402abc4b2a76b9719d911017c592"}
    assert checksums_of("crc32c=mnG7TA==,md5=XUFAKrxLKna5cZ2REBfFkg==") == both
    assert checksums_of("crc32c=mnG7TA==, md5=XUFAKrxLKna5cZ2REBfFkg==") == both
    assert checksums_of("crc32c=short,sha=x") == {}
