"""Copies that a server makes itself."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from backends.stores.base import ObjectInfo
from backends.stores.checksum import crc64nvme
from backends.stores.errors import ObjectMissing, SourceChanged, StoreUnreachable
from backends.stores.local import LocalStore
from backends.stores.s3 import S3Store
from tests.backends.stores.conftest import new_bucket, s3_store
from tests.backends.stores.test_s3_beside import HEADERS, LIKE, TAGS
from tests.backends.stores.test_s3_faults import store_at
from tests.peers.ministack import MiniStack
from tests.peers.scripted_http import Asked, answer, scripted_http
from tests.peers.seaweedfs import READONLY, SeaweedFs

BODY = random.Random(5).randbytes((16 << 20) + 17)  # large enough that its tags are counted where HEAD does not
PIECE = 5 << 20  # S3's smallest part
ODD = "sub/a b+c%2F\u00e9?#&.bin"


@pytest.fixture(params=["weed", "mini"])
def server(request: pytest.FixtureRequest) -> SeaweedFs | MiniStack:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, SeaweedFs | MiniStack)
    return found


async def put(store: S3Store, key: str, body: bytes) -> ObjectInfo:
    return await store.write(key, body, crc64nvme=crc64nvme(body), like=LIKE)


@pytest.mark.parametrize("in_pieces", [False, True], ids=["whole", "pieces"])
async def test_a_copy_has_all_that_its_source_has(server: SeaweedFs | MiniStack, in_pieces: bool) -> None:
    async with s3_store(server, new_bucket(), prefix="a/") as one, s3_store(server, new_bucket(), prefix="b/") as other:
        await one.create_bucket()
        await other.create_bucket()
        if in_pieces:
            other._copies.whole_up_to, other._copies.piece = 0, PIECE
        body = BODY if in_pieces else b"small"
        await put(one, ODD, body)
        [listed] = [found async for page in one.list_pages() for found in page]
        copied = await other.copy_from(one, listed)
        assert copied is not None
        assert (copied.key, copied.size) == (ODD, len(body))
        if "crc64nvme" in copied.checksums:
            assert copied.checksums["crc64nvme"] == crc64nvme(body)
        told, held = await other.fetch(ObjectInfo(ODD, len(body)))
        assert held == body
        assert (dict(told.headers), dict(told.tags), told.content_type, dict(told.metadata)) == (
            HEADERS,
            TAGS,
            "text/plain",
            {"run": "17"},
        )
        assert await other.list_uploads() == []


@pytest.mark.parametrize("in_pieces", [False, True], ids=["whole", "pieces"])
async def test_a_source_that_changed_or_went_is_not_copied(server: SeaweedFs | MiniStack, in_pieces: bool) -> None:
    async with s3_store(server, new_bucket()) as one, s3_store(server, new_bucket()) as other:
        await one.create_bucket()
        await other.create_bucket()
        if in_pieces:
            other._copies.whole_up_to = 0
        before = await put(one, "k", b"before")
        await put(one, "k", b"after that")
        with pytest.raises(SourceChanged):
            await other.copy_from(one, before)
        await one.delete("k")
        with pytest.raises((ObjectMissing, SourceChanged)):
            await other.copy_from(one, before)
        assert await other.head("k") is None
        assert await other.list_uploads() == []


async def test_other_keys_another_server_and_a_tree_are_not_copied_from(weed: SeaweedFs, mini: MiniStack, tmp_path: Path) -> None:
    bucket = new_bucket()
    async with s3_store(weed, bucket, prefix="a/") as one, s3_store(weed, bucket, prefix="b/") as other:
        await one.create_bucket()
        info = await put(one, "k", b"x")
        assert await other.copy_from(other, info) is None  # onto itself
        async with s3_store(weed, bucket, prefix="c/", keys=READONLY) as stranger, s3_store(mini, bucket) as elsewhere:
            assert await stranger.copy_from(one, info) is None
            assert await elsewhere.copy_from(one, info) is None
        async with LocalStore("tree", tmp_path) as tree:
            assert await other.copy_from(tree, info) is None
        assert await other.copy_from(one, info) is not None


@pytest.mark.parametrize(
    ("status", "code", "may_later"), [(403, "AccessDenied", True), (501, "NotImplemented", False)], ids=["denied", "unknown"]
)
async def test_a_server_that_does_not_copy_leaves_it_to_us(status: int, code: str, may_later: bool) -> None:
    async with (
        scripted_http(lambda _: answer(status, f"<Error><Code>{code}</Code></Error>")) as server,
        store_at(server.endpoint, "a/") as one,
        store_at(server.endpoint, "b/") as other,
    ):
        assert await other.copy_from(one, ObjectInfo("k", 1, etag="e")) is None
        assert other.capabilities.server_copy is may_later
        assert bool(other.notes) is not may_later


async def test_a_copy_that_fails_inside_a_good_answer_is_an_error() -> None:
    said = answer(200, "\n <?xml version='1.0'?><Error><Code>InternalError</Code><Message>again</Message></Error>".strip())
    async with (
        scripted_http(lambda _: said) as server,
        store_at(server.endpoint, "a/") as one,
        store_at(server.endpoint, "b/") as other,
    ):
        with pytest.raises(StoreUnreachable, match="again"):
            await other.copy_from(one, ObjectInfo("k", 1, etag="e"))


async def test_a_copy_in_pieces_that_fails_leaves_no_upload_open() -> None:
    def script(asked: Asked) -> bytes:
        if asked.method == "HEAD":
            return answer(200, b"", content_length="10", etag='"e"')
        if asked.method == "POST":
            return answer(200, "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>")
        return answer(204) if asked.method == "DELETE" else answer(412, "<Error><Code>PreconditionFailed</Code></Error>")

    async with (
        scripted_http(script) as server,
        store_at(server.endpoint, "a/") as one,
        store_at(server.endpoint, "b/") as other,
    ):
        other._copies.whole_up_to, other._copies.piece = 0, 4
        with pytest.raises(SourceChanged):
            await other.copy_from(one, ObjectInfo("k", 10, etag="e"))
    assert server.asked[-1].method == "DELETE"
    assert "uploadId=u" in server.asked[-1].target
