"""What every store promises, against each kind of a real one."""

from __future__ import annotations

import asyncio
import os

import pytest

from backends.stores.base import ObjectInfo, Store, key_order
from backends.stores.checksum import combine_parts, crc64nvme
from backends.stores.errors import (
    ChecksumRefused,
    KeyRefused,
    ObjectMissing,
    ShortBody,
    SourceChanged,
    StoreError,
    TargetChanged,
    UploadGone,
)

PART = 5 << 20  # S3's smallest


async def put(store: Store, key: str, body: bytes) -> ObjectInfo:
    return await store.write(key, body, crc64nvme=crc64nvme(body))


async def keys_of(store: Store, start_after: str = "") -> list[str]:
    return [found.key async for page in store.list_pages(start_after) for found in page]


async def test_what_was_written_reads_back_and_is_told_by_head(store: Store) -> None:
    written = await put(store, "a/b.bin", b"0123456789")
    assert await store.read("a/b.bin") == b"0123456789"
    head = await store.head("a/b.bin")
    assert head is not None
    assert (head.key, head.size, head.identity) == ("a/b.bin", 10, written.identity)
    assert head.mtime is not None
    assert head.mtime.utcoffset() is not None


async def test_an_empty_object_is_an_object(store: Store) -> None:
    written = await put(store, "empty", b"")
    assert await store.read("empty", if_match=written.identity) == b""
    assert await store.read("empty", length=0, if_match=written.identity) == b""
    assert await keys_of(store) == ["empty"]


async def test_ranges_are_exact(store: Store) -> None:
    await put(store, "k", b"0123456789")
    assert await store.read("k", start=2, length=3) == b"234"
    assert await store.read("k", start=7) == b"789"
    assert await store.read("k", start=9, length=1) == b"9"


async def test_a_range_beyond_the_end_is_never_a_shorter_answer(store: Store) -> None:
    await put(store, "k", b"0123456789")
    with pytest.raises(ShortBody):
        await store.read("k", start=8, length=5)
    with pytest.raises(SourceChanged):
        await store.read("k", start=10, length=5)


async def test_what_is_not_there_is_none_or_missing(store: Store) -> None:
    assert await store.head("no/such") is None
    with pytest.raises(ObjectMissing):
        await store.read("no/such")
    await store.delete("no/such")


async def test_an_object_that_changed_since_is_not_read(store: Store) -> None:
    before = await put(store, "k", b"first")
    await put(store, "k", b"second one")
    with pytest.raises(SourceChanged):
        await store.read("k", if_match=before.identity)


async def test_a_write_replaces_and_a_delete_removes(store: Store) -> None:
    await put(store, "k", b"first")
    await put(store, "k", b"second")
    assert await store.read("k") == b"second"
    await store.delete("k")
    assert await store.head("k") is None
    assert await keys_of(store) == []


async def test_bytes_that_are_not_what_was_summed_are_refused_and_leave_nothing(store: Store) -> None:
    with pytest.raises(ChecksumRefused):
        await store.write("k", b"damaged", crc64nvme=crc64nvme(b"whole"))
    assert await keys_of(store) == []


async def test_listings_rise_by_the_bytes_of_the_key(store: Store) -> None:
    keys = ["a", "a-b", "a.b/c", "a/b", "b/c/d", "b/c-d", "b-c", "z", "é", "e\u0301", "😀", "ab"]
    if "a" in keys and not store.url.startswith("s3:"):
        keys.remove("a")  # a tree cannot have a file `a` and a folder `a/`
    async with asyncio.TaskGroup() as group:
        for key in keys:
            group.create_task(put(store, key, key.encode()))
    found = await keys_of(store)
    assert found == sorted(keys, key=key_order)


async def test_a_listing_can_start_anywhere(store: Store) -> None:
    for key in ("a-b", "a/b", "a/c", "b"):
        await put(store, key, b"x")
    for start in ("", "a", "a-b", "a/", "a/b", "a/bb", "b", "c"):
        expected = [k for k in ("a-b", "a/b", "a/c", "b") if key_order(k) > key_order(start)]
        assert await keys_of(store, start) == expected, start


async def test_a_listing_tells_the_identity_that_head_tells(store: Store) -> None:
    await put(store, "k", b"body")
    [listed] = [found async for page in store.list_pages() for found in page]
    head = await store.head("k")
    assert head is not None
    assert (listed.size, listed.identity) == (4, head.identity)


ODD_KEYS = [
    "sp ace",
    "pl+us",
    "%2F",
    "til~de",
    "new\nline",
    "tab\t",
    "\x1b[31m",
    "amp&<>\"'",
    "q?u=e#r",
    "é",
    "e\u0301",
    "😀",
    "[bold]",
]


# What the services themselves forbid in names.
FORBIDDEN = {"az": {"new\nline", "tab\t", "\x1b[31m"}, "gs": {"new\nline"}}


async def test_odd_keys_travel_as_they_are_or_are_refused_by_name(store: Store) -> None:
    forbidden = FORBIDDEN.get(store.url.partition("://")[0], set())
    for key in forbidden:
        with pytest.raises(KeyRefused, match="names"):
            await put(store, key, key.encode())
    keys = [key for key in ODD_KEYS if key not in forbidden]
    for key in keys:
        written = await put(store, key, key.encode())
        assert await store.read(key, if_match=written.identity) == key.encode()
    assert await keys_of(store) == sorted(keys, key=key_order)
    for key in keys:
        await store.delete(key)
    assert await keys_of(store) == []


async def test_an_upload_in_parts_appears_whole_and_only_then(store: Store) -> None:
    bodies = [os.urandom(PART), os.urandom(PART), b"the rest"]
    whole = b"".join(bodies)
    upload = await store.create_upload("big/one.bin")
    parts = []
    for number in (3, 1, 2):  # in any order
        body = bodies[number - 1]
        offset = (number - 1) * PART
        parts.append(await store.write_part("big/one.bin", upload, number, offset, body, crc64nvme=crc64nvme(body)))
    assert await keys_of(store) == []
    assert await store.list_uploads() == [("big/one.bin", upload)]
    there = await store.list_parts("big/one.bin", upload)
    assert there is not None
    assert [(p.number, p.size) for p in there] == [(1, PART), (2, PART), (3, 8)]
    crc = combine_parts((p.checksum, p.size) for p in sorted(parts, key=lambda p: p.number))
    done = await store.complete_upload("big/one.bin", upload, parts, size=len(whole), crc64nvme=crc, like=None)
    assert done.size == len(whole)
    assert await store.read("big/one.bin", if_match=done.identity) == whole
    assert await store.list_uploads() == []
    assert await keys_of(store) == ["big/one.bin"]


async def test_a_damaged_part_is_refused(store: Store) -> None:
    upload = await store.create_upload("k")
    with pytest.raises(ChecksumRefused):
        await store.write_part("k", upload, 1, 0, b"damaged", crc64nvme=crc64nvme(b"whole"))
    await store.abort_upload("k", upload)


async def test_an_aborted_upload_is_gone(store: Store) -> None:
    upload = await store.create_upload("k")
    part = await store.write_part("k", upload, 1, 0, b"abc", crc64nvme=crc64nvme(b"abc"))
    await store.abort_upload("k", upload)
    await store.abort_upload("k", upload)
    assert await store.list_uploads() == []
    assert await store.list_parts("k", upload) is None
    with pytest.raises(UploadGone):
        await store.complete_upload("k", upload, [part], size=3, crc64nvme=crc64nvme(b"abc"), like=None)
    with pytest.raises(UploadGone):
        await store.write_part("k", upload, 1, 0, b"abc", crc64nvme=crc64nvme(b"abc"))
    assert await keys_of(store) == []


async def test_a_part_that_never_came_completes_nothing(store: Store) -> None:
    upload = await store.create_upload("k")
    part = await store.write_part("k", upload, 1, 0, b"abc", crc64nvme=crc64nvme(b"abc"))
    ghost = type(part)(2, "0" * 32, 3, crc64nvme(b"def"))
    with pytest.raises(StoreError):
        await store.complete_upload("k", upload, [part, ghost], size=6, crc64nvme=crc64nvme(b"abcdef"), like=None)
    assert await keys_of(store) == []
    await store.abort_upload("k", upload)


async def test_prepare_can_be_said_twice_and_harms_nothing(store: Store) -> None:
    await put(store, "k", b"x")
    await store.prepare()
    assert await keys_of(store) == ["k"]
    assert store.skipped == ()


async def test_what_somebody_else_wrote_meanwhile_is_not_overwritten(store: Store) -> None:
    before = await put(store, "k", b"before")
    theirs = await put(store, "k", b"theirs, longer")
    for condition in ({"if_match": before.identity}, {"if_absent": True}):
        with pytest.raises(TargetChanged):
            await store.write("k", b"ours", crc64nvme=crc64nvme(b"ours"), **condition)  # type: ignore[arg-type]
    with pytest.raises(TargetChanged):
        await store.write("gone", b"ours", crc64nvme=crc64nvme(b"ours"), if_match=before.identity)
    assert await store.read("k") == b"theirs, longer"
    assert await keys_of(store) == ["k"]
    ours = await store.write("k", b"ours", crc64nvme=crc64nvme(b"ours"), if_match=theirs.identity)
    assert await store.read("k", if_match=ours.identity) == b"ours"
    await store.write("new", b"ours", crc64nvme=crc64nvme(b"ours"), if_absent=True)
    assert await keys_of(store) == ["k", "new"]


async def test_an_upload_in_parts_does_not_overwrite_what_somebody_else_wrote_meanwhile(store: Store) -> None:
    crc = crc64nvme(b"ours")
    upload = await store.create_upload("k")
    part = await store.write_part("k", upload, 1, 0, b"ours", crc64nvme=crc)
    theirs = await put(store, "k", b"theirs, longer")
    for condition in ({"if_match": "another"}, {"if_absent": True}):
        with pytest.raises(TargetChanged):
            await store.complete_upload("k", upload, [part], size=4, crc64nvme=crc, like=None, **condition)  # type: ignore[arg-type]
    assert await store.read("k") == b"theirs, longer"
    await store.complete_upload("k", upload, [part], size=4, crc64nvme=crc, like=None, if_match=theirs.identity)
    assert await store.read("k") == b"ours"
