"""What a store does with answers that real servers give on bad days only: said by a scripted server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.stores import s3_client
from backends.stores.base import ObjectInfo, key_order
from backends.stores.checksum import crc64nvme, hex_to_base64
from backends.stores.errors import (
    ChecksumRefused,
    ListingFailed,
    ShortBody,
    SourceChanged,
    StoreBusy,
    StoreDenied,
    StoreError,
    StoreUnreachable,
)
from backends.stores.s3 import S3Store
from backends.stores.s3_client import bucket_address
from backends.stores.s3_credentials import FixedCredentials
from backends.stores.s3_listing import _tree_order, _TreeOrder
from backends.stores.sigv4 import Credentials
from tests.backends.stores.test_s3_xml import ENTRY, page
from tests.peers.process import free_ports
from tests.peers.scripted_http import Asked, ScriptedHttp, answer, scripted_http

SECRET = "the+secret/itself"


def store_at(endpoint: str, prefix: str = "") -> S3Store:
    address = bucket_address("bucket", endpoint=endpoint, region="us-east-1", path_style=None)
    return S3Store("corpus", "bucket", prefix, address, FixedCredentials(Credentials("AKIA", SECRET)), "us-east-1")


@asynccontextmanager
async def scripted(script: Callable[[Asked], bytes | None], prefix: str = "") -> AsyncIterator[tuple[S3Store, ScriptedHttp]]:
    async with scripted_http(script) as server, store_at(server.endpoint, prefix) as store:
        yield store, server


async def keys_of(store: S3Store, start_after: str = "") -> list[str]:
    return [found.key async for objects in store.list_pages(start_after) for found in objects]


def token_of(asked: Asked) -> str:
    return parse_qs(urlsplit(asked.target).query).get("continuation-token", [""])[0]


# -- listings


@pytest.mark.parametrize(
    "said",
    [
        answer(200, page(ENTRY.format("a", 1), truncated="true")),
        answer(200, page(ENTRY.format("a", 1), end="")),
        answer(200, page(ENTRY.format("a", 1), count=9)),
        answer(200, page(ENTRY.format("b", 1), ENTRY.format("a", 1))),
        answer(200, page(ENTRY.format("a", 1), ENTRY.format("a", 1))),
        answer(200, "<Error><Code>InternalError</Code><Message>sorry</Message></Error>"),
        answer(200, ""),
        answer(200, page(ENTRY.format("a", 1), truncated="true", token="same")),
        answer(403, "<Error><Code>AccessDenied</Code></Error>"),
        answer(404, "<Error><Code>NoSuchBucket</Code></Error>"),
        answer(301, "<Error><Code>PermanentRedirect</Code></Error>"),
    ],
)
async def test_a_listing_that_cannot_be_trusted_fails_and_is_never_shorter(said: bytes) -> None:
    async with scripted(lambda _: said) as (store, _):
        with pytest.raises(ListingFailed, match="corpus"):
            await keys_of(store)


async def test_a_denied_listing_keeps_its_cause() -> None:
    async with scripted(lambda _: answer(403, "<Error><Code>AccessDenied</Code></Error>")) as (store, _):
        with pytest.raises(ListingFailed) as failed:
            await keys_of(store)
    assert isinstance(failed.value.__cause__, StoreDenied)


async def test_a_page_outside_the_prefix_fails_the_listing() -> None:
    async with scripted(lambda _: answer(200, page(ENTRY.format("elsewhere", 1))), prefix="data/") as (store, _):
        with pytest.raises(ListingFailed, match="not below the prefix"):
            await keys_of(store)


async def test_a_busy_page_is_asked_again_and_nothing_is_lost_or_doubled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda *_: 0.0)
    turns = iter([503, 200, 500, 200, 429, 200])
    pages = {"": ("a", "t1"), "t1": ("b", "t2"), "t2": ("c", "")}

    def script(asked: Asked) -> bytes:
        if next(turns) != 200:
            return answer(503, "<Error><Code>SlowDown</Code></Error>", retry_after="0")
        key, token = pages[token_of(asked)]
        return answer(200, page(ENTRY.format(key, 1), truncated="true" if token else "false", token=token))

    async with scripted(script) as (store, _):
        assert await keys_of(store) == ["a", "b", "c"]


async def test_a_listing_that_stays_busy_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(random, "uniform", lambda *_: 0.0)
    async with scripted(lambda _: answer(503)) as (store, server):
        with pytest.raises(ListingFailed, match="broke off"):
            await keys_of(store)
        assert len(server.asked) == 5


async def test_the_marker_of_the_prefix_itself_is_no_object_below_it() -> None:
    said = answer(200, page(ENTRY.format("data/", 0), ENTRY.format("data/a", 1)))
    async with scripted(lambda _: said, prefix="data/") as (store, _):
        assert await keys_of(store) == ["a"]


async def test_a_server_that_walks_a_tree_is_put_in_order_across_pages() -> None:
    walk = ["a", "a/b", "a/c/d", "a-b", "a.b/x", "b/c", "b-c"]
    turns = {"": (walk[:2], "1"), "1": (walk[2:4], "2"), "2": (walk[4:], "")}

    def script(asked: Asked) -> bytes:
        keys, token = turns[token_of(asked)]
        body = page(*(ENTRY.format(k, 1) for k in keys), truncated="true" if token else "false", token=token)
        return answer(200, body, server="SeaweedFS 4.48")

    async with scripted(script) as (store, _):
        assert await keys_of(store) == sorted(walk, key=key_order)
        assert await keys_of(store, "a-b") == [k for k in sorted(walk, key=key_order) if key_order(k) > b"a-b"]


names = st.text("ab-./0", min_size=1, max_size=6).filter(lambda k: "//" not in k and not k.startswith("/"))


@given(st.sets(names, max_size=12), st.integers(1, 5))
def test_any_walk_comes_out_in_byte_order(keys: set[str], size: int) -> None:
    walk = sorted(keys, key=_tree_order)
    order = _TreeOrder()
    out: list[str] = []
    for at in range(0, len(walk), size):
        out += [o.key for o in order.push([ObjectInfo(k, 0) for k in walk[at : at + size]])]
    out += [o.key for o in order.rest()]
    assert out == sorted(keys, key=key_order)


# -- single objects


async def test_keys_with_dots_arrive_untouched() -> None:
    keys = ["a/../b", "./x", "..", "a/./b//c", "a//b", "/lead", "%2e%2e", "a b+c", "dir/", "é\n😀"]
    async with scripted(lambda _: answer(200, b"x", etag='"e"')) as (store, server):
        for key in keys:
            assert await store.read(key) == b"x"
    expected = ["/bucket/" + s3_client.encode_path(key) for key in keys]
    assert [asked.target for asked in server.asked] == expected


async def test_a_body_that_breaks_off_is_short_never_less() -> None:
    async with scripted(lambda _: answer(206, b"only", content_length="10")) as (store, _):
        with pytest.raises(ShortBody):
            await store.read("k", length=10)
    async with scripted(lambda _: answer(200, b"only", content_length="10")) as (store, _):
        with pytest.raises(ShortBody):
            await store.read("k")


async def test_a_server_without_ranges_is_cut_here() -> None:
    async with scripted(lambda _: answer(200, b"0123456789")) as (store, _):
        assert await store.read("k", start=3, length=4) == b"3456"


async def test_a_server_that_ignores_conditions_is_found_out() -> None:
    async with scripted(lambda _: answer(200, b"new", etag='"new"')) as (store, _):
        with pytest.raises(SourceChanged):
            await store.read("k", if_match="old")


async def test_a_body_is_never_unpacked() -> None:
    packed = b"\x1f\x8b\x08\x00 as it is kept"
    async with scripted(lambda _: answer(200, packed, content_encoding="gzip")) as (store, _):
        assert await store.read("k") == packed


async def test_redirects_are_not_followed() -> None:
    async with scripted(lambda _: answer(307, b"", location="http://127.0.0.1:1/")) as (store, server):
        with pytest.raises(StoreError):
            await store.read("k")
        assert len(server.asked) == 1


async def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_client, "IDLE_SECONDS", 0.3)
    async with scripted(lambda _: None) as (store, _):
        with pytest.raises(StoreUnreachable, match="in time"):
            await store.read("k")


async def test_a_body_that_stops_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_client, "IDLE_SECONDS", 0.3)
    stalled = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nsome")
        await stalled.wait()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        async with store_at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as store:
            with pytest.raises((StoreUnreachable, ShortBody)):
                await store.read("k")
    finally:
        stalled.set()
        server.close()
        await server.wait_closed()


async def test_a_read_that_is_cancelled_ends_at_once() -> None:
    arrived = asyncio.Event()

    async with scripted(lambda _: arrived.set()) as (store, _):
        task = asyncio.create_task(store.read("k"))
        await asyncio.wait_for(arrived.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 5)


async def test_nobody_at_the_address_is_unreachable() -> None:
    (port,) = free_ports(1)
    async with store_at(f"http://127.0.0.1:{port}") as store:
        with pytest.raises(StoreUnreachable, match="no connection"):
            await store.head("k")


async def test_a_busy_store_says_how_long() -> None:
    async with scripted(lambda _: answer(503, "<Error><Code>SlowDown</Code></Error>", retry_after="4")) as (store, _):
        with pytest.raises(StoreBusy) as busy:
            await store.write("k", b"x", crc64nvme=crc64nvme(b"x"))
    assert busy.value.retry_after == 4.0


async def test_no_message_holds_a_secret_or_a_signature() -> None:
    async with scripted(lambda asked: answer(403, f"<Error><Code>Odd</Code><Message>{asked.method}</Message></Error>")) as (
        store,
        _,
    ):
        with pytest.raises(StoreDenied) as denied:
            await store.read("k")
    text = f"{denied.value} {denied.value!r} {store!r} {store._bucket.client.__dict__!r} {store._bucket.__dict__!r}"
    assert SECRET not in text
    assert "Signature" not in text


# -- checksums and parts


async def test_a_server_that_does_not_know_the_checksum_gets_md5_and_keeps_nothing() -> None:
    def script(asked: Asked) -> bytes:
        if "x-amz-checksum-crc64nvme" in asked.headers:
            return answer(400, "<Error><Code>InvalidRequest</Code><Message>Value for x-amz-checksum unknown</Message></Error>")
        return answer(200, b"", etag='"e"')

    async with scripted(script) as (store, server):
        assert store.capabilities.stored_checksum == frozenset({"crc64nvme"})
        await store.write("k", b"x", crc64nvme=crc64nvme(b"x"))
        assert store.capabilities.stored_checksum == frozenset()
        await store.write("l", b"x", crc64nvme=crc64nvme(b"x"))
    assert [("content-md5" in a.headers) for a in server.asked] == [False, True, True]


async def test_a_server_that_forgets_the_checksum_is_found_out_by_the_first_write() -> None:
    async with scripted(lambda _: answer(200, b"", etag='"e"')) as (store, server):
        await store.write("k", b"x", crc64nvme=crc64nvme(b"x"))
        assert store.capabilities.stored_checksum == frozenset()
        await store.write("l", b"x", crc64nvme=crc64nvme(b"x"))
    assert [a.method for a in server.asked] == ["PUT", "HEAD", "PUT"]


async def test_a_store_that_tells_another_checksum_back_is_not_believed() -> None:
    said = answer(200, b"", x_amz_checksum_crc64nvme=hex_to_base64(crc64nvme(b"other")))
    async with scripted(lambda _: said) as (store, _):
        with pytest.raises(ChecksumRefused):
            await store.write("k", b"x", crc64nvme=crc64nvme(b"x"))


async def test_a_composite_checksum_is_no_checksum_of_the_object() -> None:
    value = hex_to_base64("00" * 8)
    for said in (
        answer(200, b"", x_amz_checksum_crc64nvme=value, x_amz_checksum_type="COMPOSITE"),
        answer(200, b"", x_amz_checksum_crc64nvme=f"{value}-2"),
    ):
        async with scripted(lambda _, said=said: said) as (store, _):  # type: ignore[misc]
            head = await store.head("k")
        assert head is not None
        assert head.checksums == {}


async def test_completing_with_an_error_inside_a_good_answer_is_an_error() -> None:
    def script(asked: Asked) -> bytes:
        if "uploads" in asked.target:
            return answer(200, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
        if asked.method == "POST":
            return answer(200, "   \n<?xml version='1.0'?><Error><Code>InternalError</Code><Message>try again</Message></Error>")
        return answer(404)

    async with scripted(script) as (store, _):
        upload = await store.create_upload("k")
        with pytest.raises(StoreUnreachable, match="try again"):
            await store.complete_upload("k", upload, [], size=0, crc64nvme=crc64nvme(b""), like=None)


async def test_a_lost_answer_to_completing_is_made_good_by_what_stands_there() -> None:
    crc = crc64nvme(b"whole")

    def script(asked: Asked) -> bytes:
        if asked.method == "HEAD":
            return answer(200, b"", content_length="5", etag='"e-1"', x_amz_checksum_crc64nvme=hex_to_base64(crc))
        if "uploads" in asked.target:
            return answer(200, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
        return answer(404, "<Error><Code>NoSuchUpload</Code></Error>")

    async with scripted(script) as (store, _):
        done = await store.complete_upload("k", "u", [], size=5, crc64nvme=crc, like=None)
        assert (done.size, done.etag) == (5, "e-1")


async def test_content_type_and_metadata_are_carried() -> None:
    like = ObjectInfo("k", 1, content_type="text/x-odd; charset=utf-8", metadata={"run": "17", "owner": "a b"})
    async with scripted(lambda _: answer(200, b"", x_amz_checksum_crc64nvme=hex_to_base64(crc64nvme(b"x")))) as (store, server):
        await store.write("k", b"x", crc64nvme=crc64nvme(b"x"), like=like)
    headers = server.asked[0].headers
    assert headers["content-type"] == "text/x-odd; charset=utf-8"
    assert (headers["x-amz-meta-run"], headers["x-amz-meta-owner"]) == ("17", "a b")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
async def test_metadata_beyond_ascii_is_carried_or_refused_by_name_never_lost(encoding: str) -> None:
    head = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\netag: e\r\nx-amz-meta-n: caf\u00e9\r\n\r\n"
    said = head.encode(encoding)
    async with scripted(lambda asked: said if asked.method == "HEAD" else said + b"x") as (store, server):
        assert await store.read("k") == b"x"
        like = await store.head("k")
        assert like is not None
        fetched, body = await store.fetch(ObjectInfo("k", 1))
        assert (fetched.metadata, body) == (like.metadata, b"x")
        if encoding == "utf-8":
            await store.write("k", b"x", crc64nvme=crc64nvme(b"x"), like=like)
            [put] = [asked for asked in server.asked if asked.method == "PUT"]
            assert put.headers["x-amz-meta-n"].encode("latin-1").decode() == "caf\u00e9"
        else:
            with pytest.raises(StoreError, match="metadata"):
                await store.write("k", b"x", crc64nvme=crc64nvme(b"x"), like=like)
