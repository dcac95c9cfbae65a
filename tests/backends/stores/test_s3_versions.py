"""Versions of objects, and checksums joined from those that a server keeps of their parts."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.stores.base import ObjectInfo
from backends.stores.checksum import combine_parts, crc32c, crc64nvme, hex_to_base64
from backends.stores.errors import SourceChanged
from backends.stores.s3 import S3Store
from tests.backends.stores.conftest import new_bucket, s3_store
from tests.backends.stores.test_s3_faults import scripted
from tests.peers.ministack import MiniStack
from tests.peers.scripted_http import Asked, answer
from tests.peers.seaweedfs import SeaweedFs

ENABLED = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"


@pytest.fixture(params=["weed", "mini"])
def server(request: pytest.FixtureRequest) -> SeaweedFs | MiniStack:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, SeaweedFs | MiniStack)
    return found


async def put(store: S3Store, key: str, body: bytes) -> ObjectInfo:
    return await store.write(key, body, crc64nvme=crc64nvme(body))


async def test_the_version_that_was_looked_at_is_read_after_a_newer_one_came(server: SeaweedFs | MiniStack) -> None:
    async with s3_store(server, new_bucket()) as store:
        await store.create_bucket()
        await store._bucket.client.call("PUT", None, what="versions", params=(("versioning", ""),), body=ENABLED)
        assert await store.control.versioning() == "Enabled"
        await put(store, "k", b"first one")
        seen = await store.head("k")
        assert seen is not None
        assert seen.version is not None
        await put(store, "k", b"second")
        assert await store.read("k", start=6, length=3, if_match=seen.identity, version=seen.version) == b"one"
        assert (await store.fetch(seen))[1] == b"first one"
        with pytest.raises(SourceChanged):
            await store.read("k", if_match=seen.identity)
        await store.delete("k")
        assert await store.head("k") is None
        assert [found async for page in store.list_pages() for found in page] == []
        assert (await store.fetch(seen))[1] == b"first one"  # a delete makes a marker


async def test_who_may_not_ask_for_versions_reads_the_latest_and_is_told() -> None:
    def script(asked: Asked) -> bytes:
        if "versionId" in asked.target:
            return answer(403, "<Error><Code>AccessDenied</Code></Error>")
        return answer(200, b"x", etag='"e"')

    async with scripted(script) as (store, server):
        for _ in range(2):
            assert await store.read("k", if_match="e", version="v1") == b"x"
        assert [note.code for note in store.notes] == ["versions_denied"]
        assert not store.capabilities.versions
    assert len(server.asked) == 3


@pytest.mark.parametrize("version", [None, "null"])
async def test_a_bucket_without_versions_is_asked_for_none(version: str | None) -> None:
    async with scripted(lambda _: answer(200, b"x", etag='"e"')) as (store, server):
        await store.read("k", version=version)
    assert server.asked[0].target == "/bucket/k"


# -- joined checksums


def attributes(
    bodies: list[bytes],
    *,
    first: int = 0,
    most: int = 1000,
    etag: str | None = None,
    name: str = "CRC32C",
    composite: str | None = None,
) -> str:
    """GetObjectAttributes as Amazon documents it, of an object uploaded in these parts with CRC32C."""
    sums = [bytes.fromhex(crc32c(body)) for body in bodies]
    whole = composite or f"{base64.b64encode(bytes.fromhex(crc32c(b''.join(sums)))).decode()}-{len(bodies)}"
    chosen = list(enumerate(bodies, start=1))[first : first + most]
    parts = "".join(
        f"<Part><Checksum{name}>{base64.b64encode(sums[n - 1]).decode()}</Checksum{name}><PartNumber>{n}</PartNumber><Size>{len(body)}</Size></Part>"
        for n, body in chosen
    )
    last = chosen[-1][0] if chosen else 0
    truncated = "true" if last < len(bodies) else "false"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<GetObjectAttributesResponse xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<ETag>{etag or f'abc-{len(bodies)}'}</ETag><Checksum><Checksum{name}>{whole}</Checksum{name}>"
        "<ChecksumType>COMPOSITE</ChecksumType></Checksum>"
        f"<ObjectParts><IsTruncated>{truncated}</IsTruncated><MaxParts>{most}</MaxParts><NextPartNumberMarker>{last}</NextPartNumberMarker>"
        f"<PartNumberMarker>{first}</PartNumberMarker>{parts}<PartsCount>{len(bodies)}</PartsCount></ObjectParts>"
        f"<ObjectSize>{sum(map(len, bodies))}</ObjectSize></GetObjectAttributesResponse>"
    )


def info_of(bodies: list[bytes], etag: str | None = None) -> ObjectInfo:
    return ObjectInfo("k", sum(map(len, bodies)), etag=etag or f"abc-{len(bodies)}")


async def test_the_sums_of_the_parts_join_to_that_of_the_whole_over_pages() -> None:
    bodies = [os.urandom(n) for n in (1000, 1000, 7, 0, 300)]

    def script(asked: Asked) -> bytes:
        marker = int(asked.headers.get("x-amz-part-number-marker", "0"))
        return answer(200, attributes(bodies, first=marker, most=2))

    async with scripted(script) as (store, server):
        assert dict(await store.joined_checksums(info_of(bodies))) == {"crc32c": crc32c(b"".join(bodies))}
    assert len(server.asked) == 3
    assert {asked.method for asked in server.asked} == {"GET"}


BODIES = [b"abc", b"defg"]
WHOLE = hex_to_base64(crc32c(b"".join(BODIES)))


@pytest.mark.parametrize(
    "said",
    [
        attributes(BODIES, composite="AAAAAA==-2"),  # a list of other parts
        attributes(BODIES, composite=f"{WHOLE}-3"),
        attributes(BODIES, name="SHA256"),
        attributes(BODIES).replace("<Size>4</Size>", "<Size>5</Size>"),
        attributes(BODIES).replace("<PartNumber>2</PartNumber>", "<PartNumber>1</PartNumber>"),
        attributes(BODIES).replace("<PartsCount>2<", "<PartsCount>3<"),
        attributes(BODIES).replace("<ETag>abc-2</ETag>", ""),
        "<!DOCTYPE x><GetObjectAttributesResponse/>",
        "<Error><Code>Odd</Code></Error>",
        "",
    ],
)
async def test_parts_that_do_not_add_up_prove_nothing(said: str) -> None:
    async with scripted(lambda _: answer(200, said)) as (store, _):
        assert dict(await store.joined_checksums(info_of(BODIES))) == {}


async def test_an_object_that_changed_since_has_no_joined_checksum() -> None:
    async with scripted(lambda _: answer(200, attributes(BODIES, etag="new-2"))) as (store, _):
        with pytest.raises(SourceChanged):
            await store.joined_checksums(info_of(BODIES))


@pytest.mark.parametrize(
    ("status", "code", "told"), [(403, "AccessDenied", ["parts_denied"]), (501, "NotImplemented", [])], ids=["denied", "unknown"]
)
async def test_a_server_that_tells_no_parts_is_asked_once(status: int, code: str, told: list[str]) -> None:
    async with scripted(lambda _: answer(status, f"<Error><Code>{code}</Code></Error>")) as (store, server):
        for _ in range(2):
            assert dict(await store.joined_checksums(info_of(BODIES))) == {}
        assert [note.code for note in store.notes] == told
    assert len(server.asked) == 1


async def test_an_object_that_came_whole_costs_no_request() -> None:
    async with scripted(lambda _: answer(500)) as (store, server):
        assert dict(await store.joined_checksums(info_of(BODIES, etag="abc"))) == {}
    assert server.asked == []


async def test_real_servers_that_keep_no_sums_of_parts_prove_nothing(server: SeaweedFs | MiniStack) -> None:
    async with s3_store(server, new_bucket()) as store:
        await store.create_bucket()
        upload = await store.create_upload("k")
        part = await store.write_part("k", upload, 1, 0, b"body", crc64nvme=crc64nvme(b"body"))
        done = await store.complete_upload("k", upload, [part], size=4, crc64nvme=crc64nvme(b"body"), like=None)
        joined = dict(await store.joined_checksums(done))
        assert joined in ({}, {"crc64nvme": crc64nvme(b"body")})
        with pytest.raises(SourceChanged):
            await store.joined_checksums(done._replace(etag="another-1"))


@given(st.lists(st.binary(max_size=200), max_size=6))
def test_parts_of_any_size_join_to_the_whole(bodies: list[bytes]) -> None:
    one: tuple[tuple[str, Callable[[bytes], str]], ...] = (("crc64nvme", crc64nvme), ("crc32c", crc32c))
    for name, crc in one:
        assert combine_parts([(crc(body), len(body)) for body in bodies], name) == crc(b"".join(bodies))
