"""What only Azure Blob does, against Azurite; and what a scripted server says on Azure's bad days."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from backends.stores import object_listing
from backends.stores.azure import AzureStore
from backends.stores.azure_blocks import Block, block_of, new_upload
from backends.stores.azure_credentials import AzureSigner, Sas, string_to_sign
from backends.stores.azure_headers import given_back, renamed
from backends.stores.base import ObjectInfo
from backends.stores.checksum import crc64nvme
from backends.stores.errors import (
    ChecksumRefused,
    KeyRefused,
    KeysRefused,
    ListingFailed,
    ShortBody,
    SourceChanged,
    StoreBusy,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnreachable,
    UploadGone,
)
from backends.stores.object_client import ObjectClient, Place, Request
from backends.stores.object_errors import azure_error
from backends.stores.object_xml import azure_block_list, parse_azure_list
from backends.stores.s3_xml import BadXml
from tests.backends.stores.conftest import azure_store, new_bucket
from tests.peers.azurite import Azurite
from tests.peers.scripted_http import Asked, ScriptedHttp, answer, scripted_http


@pytest_asyncio.fixture
async def store(blobs: Azurite) -> AsyncIterator[AzureStore]:
    async with azure_store(blobs, new_bucket()) as opened:
        await opened.create_bucket()
        yield opened


async def put(store: AzureStore, key: str, body: bytes, like: ObjectInfo | None = None) -> ObjectInfo:
    return await store.write(key, body, crc64nvme=crc64nvme(body), like=like)


async def put_in_blocks(store: AzureStore, key: str, body: bytes) -> ObjectInfo:
    upload = await store.create_upload(key)
    part = await store.write_part(key, upload, 1, 0, body, crc64nvme=crc64nvme(body))
    return await store.complete_upload(key, upload, [part], size=len(body), crc64nvme=part.checksum, like=None)


async def test_an_md5_that_a_client_claimed_is_never_told(store: AzureStore) -> None:
    await put_in_blocks(store, "claimed", b"the bytes")
    claim = {"x-ms-blob-content-md5": base64.b64encode(b"claimed, false!!").decode(), "content-type": "application/xml"}
    ident = Block(new_upload(), 1, "0" * 16).ident
    await store._call("PUT", "claimed", "PUT", params=(("comp", "block"), ("blockid", ident)), body=b"the bytes")
    await store._call("PUT", "claimed", "PUT", params=(("comp", "blocklist"),), headers=claim, body=azure_block_list([ident]))
    head = await store.head("claimed")
    assert head is not None
    assert head.checksums == {}
    fetched, body = await store.fetch(head)
    assert (bytes(body), fetched.checksums) == (b"the bytes", {})


async def test_an_md5_that_the_service_computed_is_told(store: AzureStore) -> None:
    await put(store, "whole", b"hello")
    head = await store.head("whole")
    assert head is not None
    assert head.checksums == {"md5": "5d41402abc4b2a76b9719d911017c592"}


async def test_tags_travel(store: AzureStore) -> None:
    await put(store, "k", b"x", ObjectInfo("k", 1, tags={"team": "ml ops", "run": "a/b=1"}))
    head = await store.head("k")
    assert head is not None
    assert head.tags == {"team": "ml ops", "run": "a/b=1"}


async def test_what_is_not_carried_is_said(store: AzureStore) -> None:
    assert store.notes == ()
    await put(store, "k", b"x", ObjectInfo("k", 1, headers={"expires": "Thu, 01 Jan 2026 00:00:00 GMT"}))
    assert [note.code for note in store.notes] == ["expires"]


async def test_a_name_that_the_service_may_take_for_another_is_refused(store: AzureStore) -> None:
    await put(store, "b", b"the other")
    for key in ("a/../b", "./b", "..", "a/."):
        with pytest.raises(KeyRefused):
            await put(store, key, b"x")
    assert await store.read("b") == b"the other"


async def test_such_a_name_that_is_there_is_listed(store: AzureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(store, "_unfit", lambda full: "")
        await put(store, "a/../b", b"x")
    await put(store, "z", b"x")
    assert [info.key async for page in store.list_pages() for info in page] == ["a/../b", "z"]
    with pytest.raises(KeyRefused):
        await store.read("a/../b")


async def test_a_page_that_cannot_be_had_fails_the_listing(store: AzureStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Azurite answers 500 to a listing that holds a control character."""
    monkeypatch.setattr(object_listing, "_TRIES", 1)
    with monkeypatch.context() as patched:
        patched.setattr(store, "_unfit", lambda full: "")
        await put(store, "not\x1bfine", b"x")
    await put(store, "fine", b"x")
    with pytest.raises(ListingFailed, match="broke off"):
        [page async for page in store.list_pages()]


async def test_an_abandoned_upload_never_shows_and_blocks_nothing(store: AzureStore) -> None:
    upload = await store.create_upload("k")
    await store.write_part("k", upload, 1, 0, b"left", crc64nvme=crc64nvme(b"left"))
    assert await store.list_uploads() == [("k", upload)]
    assert await store.head("k") is None
    await store.abort_upload("k", upload)
    assert await store.list_uploads() == []
    await put_in_blocks(store, "k", b"another")
    assert await store.read("k") == b"another"


async def test_parts_that_do_not_make_the_object_complete_nothing(store: AzureStore) -> None:
    upload = await store.create_upload("k")
    part = await store.write_part("k", upload, 1, 0, b"part", crc64nvme=crc64nvme(b"part"))
    with pytest.raises(ChecksumRefused):
        await store.complete_upload("k", upload, [part], size=4, crc64nvme="0" * 16, like=None)
    with pytest.raises(UploadGone):
        await store.complete_upload("k", upload, [part], size=5, crc64nvme=part.checksum, like=None)
    assert await store.head("k") is None


def xml(code: str) -> str:
    return f'\ufeff<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>Said.\nRequestId:1</Message></Error>'


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (503, "ServerBusy", StoreBusy),
        (429, "", StoreBusy),
        (500, "OperationTimedOut", StoreUnreachable),
        (403, "AuthorizationPermissionMismatch", StoreDenied),
        (403, "AuthenticationFailed", KeysRefused),
        (401, "", KeysRefused),
        (412, "ConditionNotMet", SourceChanged),
        (416, "InvalidRange", SourceChanged),
        (412, "LeaseIdMissing", StoreError),
        (409, "BlobArchived", StoreError),
        (400, "Md5Mismatch", ChecksumRefused),
        (413, "RequestBodyTooLarge", StoreFull),
        (400, "OutOfRangeInput", KeyRefused),
        (302, "", StoreError),
    ],
)
async def test_an_error_of_azure_is_one_of_ours(status: int, code: str, kind: type[StoreError]) -> None:
    async with scripted(answer(status, xml(code) if code else "", retry_after="7")) as (store, _):
        with pytest.raises(kind) as failed:
            await store.read("k")
    assert type(failed.value) is kind
    if isinstance(failed.value, StoreBusy):
        assert failed.value.retry_after == 7.0
    elif code:
        assert code in failed.value.message


@asynccontextmanager
async def scripted(said: bytes) -> AsyncIterator[tuple[AzureStore, ScriptedHttp]]:
    """A store of a server that always says the same."""

    async def find() -> Sas:
        return Sas.of("?sv=2022-11-02&sig=se%2Bcret%3D")

    async with scripted_http(lambda _: said) as server:
        client = ObjectClient("corpus", Place.of(server.endpoint, "box"), AzureSigner("corpus", "acme", find), azure_error)
        async with AzureStore("corpus", "az://acme/box/", "", client) as store:
            yield store, server


@pytest.mark.parametrize(
    ("blocks", "kept"),
    [("", True), ("<Block><Name>eA==</Name><Size>4</Size></Block>", False)],
    ids=["computed", "claimed"],
)
async def test_bytes_that_are_not_what_the_service_keeps_are_read_again(blocks: str, kept: bool) -> None:
    """Where the MD5 is a client's claim, other bytes than it says are no damage."""

    async def find() -> Sas:
        return Sas.of("sig=x")

    def script(asked: Asked) -> bytes:
        if "comp=blocklist" in asked.target:
            body = f"<BlockList><CommittedBlocks>{blocks}</CommittedBlocks></BlockList>"
            return answer(200, body, etag='"0x1"')
        return answer(200, b"bod\x00", etag='"0x1"', content_md5=base64.b64encode(hashlib.md5(b"body").digest()).decode())

    async with scripted_http(script) as server:
        client = ObjectClient("corpus", Place.of(server.endpoint, "box"), AzureSigner("corpus", "acme", find), azure_error)
        async with AzureStore("corpus", "az://acme/box/", "", client) as store:
            listed = ObjectInfo("k", 4, etag="0x1")
            if kept:
                with pytest.raises(ShortBody, match="other bytes"):
                    await store.fetch(listed)
            else:
                told, body = await store.fetch(listed)
                assert (bytes(body), told.checksums) == (b"bod\x00", {})


async def test_a_shared_access_signature_is_sent_as_it_is_and_never_shown() -> None:
    async with scripted(answer(403, xml("AuthenticationFailed"))) as (store, server):
        with pytest.raises(StoreDenied) as denied:
            await store.head("a//b")
    assert server.asked[0].target == "/box/a%2F%2Fb?sig=se%2Bcret%3D&sv=2022-11-02"
    assert "cret" not in str(denied.value) + repr(Sas.of("sig=secret"))


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<EnumerationResults><Blobs><Blob><Name>a</Name>",
        "<EnumerationResults><Blobs></Blobs></EnumerationResults>",
        "<EnumerationResults><Blobs><Blob><Name>a</Name></Blob></Blobs><NextMarker/></EnumerationResults>",
        "<Error><Code>InternalError</Code></Error>",
    ],
)
async def test_a_listing_that_is_not_whole_fails(body: str) -> None:
    async with scripted(answer(200, body)) as (store, _):
        with pytest.raises(ListingFailed):
            [page async for page in store.list_pages()]


async def test_a_listing_that_stands_still_fails() -> None:
    page = "<EnumerationResults><Blobs></Blobs><NextMarker>same</NextMarker></EnumerationResults>"
    async with scripted(answer(200, page)) as (store, _):
        with pytest.raises(ListingFailed, match="same page"):
            [page async for page in store.list_pages()]


def test_folders_of_a_hierarchical_namespace_are_no_objects_and_encoded_names_are_decoded() -> None:
    entry = "<Blob>{}<Properties><Etag>0x1</Etag><Content-Length>1</Content-Length>{}</Properties></Blob>"
    blobs = entry.format("<Name>dir</Name>", "<ResourceType>directory</ResourceType>")
    blobs += entry.format('<Name Encoded="true">a%EF%BF%BEb</Name>', "<ResourceType>file</ResourceType>")
    page = parse_azure_list(f"\ufeff<EnumerationResults><Blobs>{blobs}</Blobs><NextMarker /></EnumerationResults>".encode())
    assert [info.key for info in page.objects] == ["a\ufffeb"]
    assert page.token is None


@given(st.binary(max_size=300))
def test_any_answer_is_a_page_or_refused(body: bytes) -> None:
    try:
        page = parse_azure_list(body)
    except BadXml:
        return
    assert body.rstrip().endswith((b"</EnumerationResults>", b"/>"))
    assert page.objects == [] or b"<Blob>" in body


@given(st.dictionaries(st.text("ab-_.R1", min_size=1, max_size=8).map(str.lower), st.text("xyz-", max_size=4), max_size=6))
def test_metadata_names_that_azure_refuses_come_back(metadata: dict[str, str]) -> None:
    fit = renamed(metadata)
    assert given_back(fit) == metadata
    assert all(name.isidentifier() and name.isascii() for name in fit)


def test_a_block_says_whose_it_is() -> None:
    block = Block(new_upload(), 10_000, crc64nvme(b"part"))
    assert block_of(block.ident) == block
    assert len(base64.b64decode(block.ident)) <= 64
    assert block_of("bm90IG91cnM=") is None
    assert block_of("not base64!") is None


def test_the_text_that_is_signed_is_azures() -> None:
    """The example of "Authorize with Shared Key", with the version's rule for an empty body."""
    headers = {"x-ms-date": "Fri, 26 Jun 2015 23:39:12 GMT", "x-ms-version": "2015-02-21"}
    params = (("restype", "container"), ("comp", "metadata"), ("timeout", "20"))
    text = string_to_sign(Request("GET", "/mycontainer", params, headers, 0), headers, "myaccount")
    assert text == (
        "GET\n\n\n\n\n\n\n\n\n\n\n\nx-ms-date:Fri, 26 Jun 2015 23:39:12 GMT\nx-ms-version:2015-02-21\n"
        "/myaccount/mycontainer\ncomp:metadata\nrestype:container\ntimeout:20"
    )
