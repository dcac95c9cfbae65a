"""What travels with an object beside its bytes, and bytes that look as if somebody should unpack them."""

from __future__ import annotations

import gzip

import pytest

from backends.stores.base import ObjectInfo
from backends.stores.checksum import crc64nvme
from backends.stores.errors import StoreDenied
from backends.stores.s3_headers import info_of
from backends.stores.s3_tags import LARGE
from tests.backends.stores.conftest import new_bucket, s3_store
from tests.backends.stores.test_s3_faults import scripted
from tests.peers.ministack import MiniStack
from tests.peers.scripted_http import Asked, answer
from tests.peers.seaweedfs import SeaweedFs

HEADERS = {
    "cache-control": "max-age=5, public",
    "content-disposition": 'attachment; filename="a b.txt"',
    "content-encoding": "gzip",
    "content-language": "de",
    "expires": "Wed, 21 Oct 2030 07:28:00 GMT",
}
TAGS = {"team": "vision & speech", "cost/centre": "a+b=c", "plain": ""}
LIKE = ObjectInfo("k", 0, content_type="text/plain", metadata={"run": "17"}, headers=HEADERS, tags=TAGS)


@pytest.fixture(params=["weed", "mini"])
def server(request: pytest.FixtureRequest) -> SeaweedFs | MiniStack:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, SeaweedFs | MiniStack)
    return found


async def test_headers_metadata_and_tags_survive_from_bucket_to_bucket(server: SeaweedFs | MiniStack) -> None:
    body = gzip.compress(b"text " * 100)
    crc = crc64nvme(body)
    async with s3_store(server, new_bucket()) as one, s3_store(server, new_bucket()) as other:
        await one.create_bucket()
        await other.create_bucket()
        await one.write("k", body, crc64nvme=crc, like=LIKE)
        [listed] = [found async for page in one.list_pages() for found in page]
        told, fetched = await one.fetch(listed)
        assert fetched == body  # as it is kept, not as its encoding would have it read
        assert (dict(told.headers), dict(told.tags), dict(told.metadata)) == (HEADERS, TAGS, {"run": "17"})
        await other.write("k", fetched, crc64nvme=crc, like=told)
        upload = await other.create_upload("parts", like=told)
        part = await other.write_part("parts", upload, 1, 0, fetched, crc64nvme=crc)
        await other.complete_upload("parts", upload, [part], size=len(body), crc64nvme=crc, like=told)
        for key in ("k", "parts"):
            assert await other.read(key) == body
            copy, _ = await other.fetch(ObjectInfo(key, len(body)))
            assert (dict(copy.headers), dict(copy.tags), copy.content_type) == (HEADERS, TAGS, "text/plain"), key


async def test_an_object_without_tags_costs_one_request_to_fetch_and_one_to_write() -> None:
    body = b"x"
    said = answer(200, body, etag='"e"', x_amz_checksum_crc64nvme="Lb1nAmRU5LE=")
    async with scripted(lambda _: said) as (store, server):
        info, held = await store.fetch(ObjectInfo("k", 1, etag="e"))
        await store.write("k", held, crc64nvme=crc64nvme(body), like=info)
    assert [asked.method for asked in server.asked] == ["GET", "PUT"]


def _with_tags(count: str, document: bytes) -> object:
    def script(asked: Asked) -> bytes:
        return document if asked.target.endswith("?tagging=") else answer(200, b"x", etag='"e"', x_amz_tagging_count=count)

    return script


async def test_tags_that_may_not_be_read_are_told_and_stop_nothing() -> None:
    denied = answer(403, "<Error><Code>AccessDenied</Code></Error>")
    async with scripted(_with_tags("2", denied)) as (store, server):  # type: ignore[arg-type]
        for _ in range(2):
            info, body = await store.fetch(ObjectInfo("k", 1, etag="e"))
            assert (dict(info.tags), body) == ({}, b"x")
        assert [note.code for note in store.notes] == ["tags_denied"]
        assert len(server.asked) == 3  # asked once, not for each object


async def test_a_large_object_is_asked_for_tags_that_its_head_does_not_count() -> None:
    document = answer(200, "<Tagging><TagSet><Tag><Key>a</Key><Value>b&amp;c</Value></Tag></TagSet></Tagging>")

    def script(asked: Asked) -> bytes:
        if asked.target.endswith("?tagging="):
            return document
        if asked.method == "HEAD":
            return answer(200, b"", content_length=str(LARGE), etag='"e"')
        return answer(206, b"x", etag='"e"', x_amz_tagging_count="1")

    async with scripted(script) as (store, _):
        info = await store.head("k")
    assert info is not None
    assert dict(info.tags) == {"a": "b&c"}


async def test_a_server_that_takes_no_tags_with_an_object_gets_them_after_it() -> None:
    def script(asked: Asked) -> bytes:
        if "x-amz-tagging" in asked.headers:
            return answer(
                501, "<Error><Code>NotImplemented</Code><Message>Header 'x-amz-tagging' not implemented</Message></Error>"
            )
        return answer(200, b"", etag='"e"', x_amz_checksum_crc64nvme=asked.headers.get("x-amz-checksum-crc64nvme", ""))

    like = ObjectInfo("k", 1, tags={"a": "<b>"})
    async with scripted(script) as (store, server):
        for _ in range(2):
            await store.write("k", b"x", crc64nvme=crc64nvme(b"x"), like=like)
        assert [note.code for note in store.notes] == ["tag_header"]
        assert store.capabilities.tags
        assert store.capabilities.stored_checksum == frozenset({"crc64nvme"})
    put, bare, tagged, *again = server.asked
    assert ("x-amz-tagging" in put.headers, "x-amz-tagging" in bare.headers) == (True, False)
    assert "x-amz-checksum-crc64nvme" in bare.headers
    assert (tagged.target, b"<Value>&lt;b&gt;</Value>" in tagged.body) == ("/bucket/k?tagging=", True)
    assert [asked.target for asked in again] == ["/bucket/k", "/bucket/k?tagging="]


async def test_a_server_without_any_tags_is_told_of_and_the_object_arrives() -> None:
    def script(asked: Asked) -> bytes:
        if "x-amz-tagging" in asked.headers or "tagging" in asked.target:
            return answer(501, "<Error><Code>NotImplemented</Code></Error>")
        return answer(200, b"", etag='"e"', x_amz_checksum_crc64nvme=asked.headers.get("x-amz-checksum-crc64nvme", ""))

    async with scripted(script) as (store, _):
        written = await store.write("k", b"x", crc64nvme=crc64nvme(b"x"), like=ObjectInfo("k", 1, tags={"a": "b"}))
        assert dict(written.tags) == {}
        assert not store.capabilities.tags
        assert "tags" in [note.code for note in store.notes]


async def test_a_write_denied_for_its_tags_fails_and_loses_none() -> None:
    async with scripted(lambda _: answer(403, "<Error><Code>AccessDenied</Code></Error>")) as (store, server):
        with pytest.raises(StoreDenied):
            await store.write("k", b"x", crc64nvme=crc64nvme(b"x"), like=ObjectInfo("k", 1, tags={"a": "b"}))
        assert len(server.asked) == 1


@pytest.mark.parametrize(("told", "kept"), [("aws-chunked", None), ("gzip,aws-chunked", "gzip"), ("zstd, gzip", "zstd, gzip")])
def test_how_a_body_was_sent_is_no_encoding_of_the_object(told: str, kept: str | None) -> None:
    assert info_of("k", {"content-encoding": told}).headers.get("content-encoding") == kept
