"""What `prepare` finds out of a server: real ones, and such as refuse, ignore or forget."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.stores.base import ObjectInfo, key_order
from backends.stores.checksum import crc64nvme, hex_to_base64
from backends.stores.errors import StoreDenied, TargetChanged
from backends.stores.ours import ESTIMATES, LEASES, PROBES, without_ours
from backends.stores.s3 import S3Store
from backends.stores.s3_probe import forget
from tests.backends.stores.conftest import new_bucket, s3_store
from tests.backends.stores.test_s3_faults import scripted
from tests.backends.stores.test_s3_xml import ENTRY, page
from tests.peers.ministack import MiniStack
from tests.peers.scripted_http import Asked, answer
from tests.peers.seaweedfs import READONLY, SeaweedFs

MOST_REQUESTS = 9  # the look for the bucket and eight of the probe


@pytest.fixture(autouse=True)
def _nothing_is_known() -> Iterator[None]:
    """The kernel gives a port again."""
    forget()
    yield
    forget()


def codes(store: S3Store) -> list[str]:
    return [note.code for note in store.notes]


async def all_keys(server: SeaweedFs | MiniStack, bucket: str) -> list[str]:
    """By the raw listing, so that what a store leaves out shows too."""
    async with s3_store(server, bucket, prefix="") as store:
        answered = await store._bucket.client.call("GET", None, what="listing", params=(("list-type", "2"),))
        return [part.partition("<")[0] for part in bytes(answered.body).decode().split("<Key>")[1:]]


async def test_a_server_that_does_all_has_nothing_to_be_told_of_it(weed: SeaweedFs) -> None:
    bucket = new_bucket()
    async with s3_store(weed, bucket) as store:
        await store.create_bucket()
        forget()
        await store.prepare()
        assert codes(store) == []
        can = store.capabilities
        assert (can.conditional_write, can.tags, can.stored_checksum) == (True, True, frozenset({"crc64nvme"}))
        assert await store.list_uploads() == []
    assert await all_keys(weed, bucket) == []


async def test_a_server_that_does_not_join_checksums_is_told_of(mini: MiniStack) -> None:
    bucket = new_bucket()
    async with s3_store(mini, bucket) as store:
        await store.create_bucket()
        await store.prepare()
        assert codes(store) == ["joined_checksum"]
        assert store.capabilities.conditional_write
    assert await all_keys(mini, bucket) == []


async def test_a_probe_leaves_no_version_behind(weed: SeaweedFs) -> None:
    enabled = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    async with s3_store(weed, new_bucket()) as store:
        await store.create_bucket()
        await store._bucket.client.call("PUT", None, what="versions", params=(("versioning", ""),), body=enabled)
        await store.prepare()
        told = await store._bucket.client.call("GET", None, what="versions", params=(("versions", ""),))
    assert b"<Version>" not in bytes(told.body)
    assert b"<DeleteMarker>" not in bytes(told.body)


async def test_who_may_not_write_is_told_so_and_the_run_decides(weed: SeaweedFs) -> None:
    bucket = new_bucket()
    async with s3_store(weed, bucket) as store:
        await store.create_bucket()
    async with s3_store(weed, bucket, keys=READONLY) as store:
        await store.prepare()
        assert codes(store) == ["not_probed"]


def poor(
    *, checks: bool = True, keeps: bool = True, conditions: str = "held", tags: str = "held", encodes: bool = True
) -> Callable[[Asked], bytes]:
    """A server that does not do all: `held`, `ignored` or `refused`."""

    def put(asked: Asked) -> bytes:
        headers, said = asked.headers, {"etag": '"e"'}
        if "tagging" in asked.target:
            return answer(501, "<Error><Code>NotImplemented</Code></Error>") if tags == "refused" else answer(200)
        conditional = "if-match" in headers or "if-none-match" in headers
        if conditional and conditions == "held":
            return answer(412, "<Error><Code>PreconditionFailed</Code></Error>")
        if conditional and conditions == "refused":
            return answer(501, "<Error><Code>NotImplemented</Code><Message>If-Match is not implemented</Message></Error>")
        if "x-amz-tagging" in headers and tags == "refused":
            return answer(501, "<Error><Code>NotImplemented</Code><Message>x-amz-tagging is not implemented</Message></Error>")
        if checks and headers.get("x-amz-checksum-crc64nvme", right(asked)) != right(asked):
            return answer(400, "<Error><Code>BadDigest</Code></Error>")
        return answer(200, b"", **said)

    def right(asked: Asked) -> str:
        return hex_to_base64(crc64nvme(asked.body))

    def script(asked: Asked) -> bytes:
        if asked.method == "PUT":
            return put(asked)
        if asked.method == "DELETE":
            return answer(204)
        if asked.method == "POST":
            said = "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>"
            return answer(200, said, x_amz_checksum_type="FULL_OBJECT")
        if asked.method == "HEAD":
            kept = {"x_amz_checksum_crc64nvme": "AAAAAAAAAAA="} if keeps else {}
            return answer(200, b"", etag='"e"', **kept, **({"x_amz_tagging_count": "1"} if tags == "held" else {}))
        if "tagging" in asked.target:
            return answer(200, "<Tagging><TagSet></TagSet></Tagging>")
        listed = page()
        return answer(200, listed if encodes else listed.replace(b"<EncodingType>url</EncodingType>", b""))

    return script


@pytest.mark.parametrize(
    ("server", "told", "can"),
    [
        (poor(), [], (True, True, True)),
        (poor(checks=False, keeps=False), ["checksum"], (True, True, False)),
        (poor(keeps=False), ["stored_checksum"], (True, True, False)),
        (poor(conditions="ignored"), ["conditions"], (False, True, True)),
        (poor(conditions="refused"), ["conditions"], (False, True, True)),
        (poor(tags="ignored"), ["tag_header"], (True, True, True)),
        (poor(tags="refused"), ["tag_header"], (True, True, True)),
        (poor(encodes=False), ["encoding"], (True, True, True)),
    ],
    ids=["all", "unchecked", "unkept", "conditions-ignored", "conditions-refused", "tags-forgotten", "tags-refused", "unencoded"],
)
async def test_what_a_server_refuses_ignores_or_forgets_is_found_out(
    server: Callable[[Asked], bytes], told: list[str], can: tuple[bool, bool, bool]
) -> None:
    async with scripted(server) as (store, seen):
        await store.prepare()
        found = store.capabilities
        assert codes(store) == told
        assert (found.conditional_write, found.tags, bool(found.stored_checksum)) == can
        if not told:
            assert len(seen.asked) <= MOST_REQUESTS
        assert seen.asked[-1].method == "DELETE"


async def test_a_server_that_knows_no_checksum_is_sent_md5_from_then_on() -> None:
    def script(asked: Asked) -> bytes:
        if any("checksum" in name for name in asked.headers if name != "x-amz-checksum-mode"):
            return answer(501, "<Error><Code>NotImplemented</Code></Error>")
        return poor(keeps=False)(asked)

    async with scripted(script) as (store, seen):
        await store.prepare()
        assert "checksum" in codes(store)
        assert store.capabilities.tags
        await store.write("k", b"x", crc64nvme=crc64nvme(b"x"))
    assert "content-md5" in seen.asked[-1].headers


async def test_what_was_found_out_is_known_to_the_next_store_of_the_same_bucket() -> None:
    async with scripted(poor(conditions="ignored"), prefix="a/") as (store, seen):
        await store.prepare()
        before = len(seen.asked)
        await store.prepare()
        assert len(seen.asked) == before + 1
        assert codes(store) == ["conditions"]


async def test_a_probe_that_is_cut_off_takes_its_object_away() -> None:
    arrived = asyncio.Event()

    def script(asked: Asked) -> bytes | None:
        if asked.method == "HEAD":
            arrived.set()
            return None
        return poor()(asked)

    async with scripted(script) as (store, seen):
        task = asyncio.create_task(store.prepare())
        await asyncio.wait_for(arrived.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(task, 10)
    assert seen.asked[-1].method == "DELETE"


async def test_what_a_death_left_behind_is_no_object_and_is_removed_by_the_next_probe() -> None:
    left = ENTRY.format(f"data/{PROBES}0123", 1)
    data = page(left, ENTRY.format("data/a", 1))
    old = page(left)

    def script(asked: Asked) -> bytes:
        if asked.method == "GET" and "cutover-probe" in asked.target:
            return answer(200, old)
        return answer(200, data) if asked.method == "GET" else poor()(asked)

    async with scripted(script, prefix="data/") as (store, seen):
        assert [found.key async for objects in store.list_pages() for found in objects] == ["a"]
        await store.prepare()
    assert f"/bucket/data/{PROBES}0123" in [asked.target for asked in seen.asked if asked.method == "DELETE"]


@given(
    st.sets(
        st.sampled_from(
            [
                ".",
                ".a",
                ".cutover-prob",
                ".cutover-probe",
                ".cutover-probe-",
                f"{PROBES}a",
                f"{PROBES}b",
                f"{LEASES}a",
                f"{ESTIMATES}a",
                ".cutover-e",
                ".cutover-m",
                ".d",
                "z",
            ]
        )
    )
)
def test_only_objects_of_probes_are_left_out_of_a_page(keys: set[str]) -> None:
    objects = [ObjectInfo(key, 1) for key in sorted(keys, key=key_order)]
    assert without_ours(objects) == [found for found in objects if not found.key.startswith((ESTIMATES, LEASES, PROBES))]


async def test_reading_finds_out_without_writing() -> None:
    async with scripted(lambda asked: answer(200, page(ENTRY.format("a", 1))) if asked.method == "GET" else answer(200)) as (
        store,
        seen,
    ):
        notes = await store.probe()
    assert [asked.method for asked in seen.asked] == ["GET", "HEAD"]
    assert [note.code for note in notes] == ["stored_checksum"]


async def test_a_bucket_that_may_not_be_listed_fails_before_anything_is_written() -> None:
    async with scripted(lambda _: answer(403, "<Error><Code>AccessDenied</Code></Error>")) as (store, seen):
        with pytest.raises(StoreDenied):
            await store.prepare()
    assert [asked.method for asked in seen.asked] == ["GET"]


# -- conditional writes


async def test_a_lost_answer_to_a_conditional_write_is_made_good_by_what_stands_there() -> None:
    crc = hex_to_base64(crc64nvme(b"ours"))

    def script(asked: Asked) -> bytes:
        if asked.method == "HEAD":
            return answer(200, b"", content_length="4", etag='"new"', x_amz_checksum_crc64nvme=crc)
        return answer(412, "<Error><Code>PreconditionFailed</Code></Error>")

    async with scripted(script) as (store, _):
        written = await store.write("k", b"ours", crc64nvme=crc64nvme(b"ours"), if_match="old")
        assert (written.etag, written.size) == ("new", 4)
        with pytest.raises(TargetChanged):
            await store.write("k", b"else", crc64nvme=crc64nvme(b"else"), if_match="old")


async def test_a_server_without_conditions_is_looked_at_before_it_is_written_to() -> None:
    def script(asked: Asked) -> bytes:
        if "if-match" in asked.headers:
            return answer(501, "<Error><Code>NotImplemented</Code></Error>")
        if asked.method == "HEAD":
            return answer(200, b"", etag='"theirs"')
        return answer(200, b"", etag='"e"', x_amz_checksum_crc64nvme=hex_to_base64(crc64nvme(b"ours")))

    async with scripted(script) as (store, server):
        for _ in range(2):
            with pytest.raises(TargetChanged):
                await store.write("k", b"ours", crc64nvme=crc64nvme(b"ours"), if_match="old")
        await store.write("k", b"ours", crc64nvme=crc64nvme(b"ours"), if_match="theirs")
    assert not any(asked.method == "PUT" and "if-match" not in asked.headers for asked in server.asked[:-1])
