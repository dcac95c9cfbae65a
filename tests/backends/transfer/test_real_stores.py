"""Rounds and verifications over real stores: S3 by SeaweedFS, SFTP by OpenSSH, local trees."""

from __future__ import annotations

import asyncio
import json
import os
import random
from pathlib import Path

import pytest

from backends.stores.base import Store
from backends.stores.errors import ListingFailed
from backends.transfer.index import Index
from backends.transfer.models import Progress, RoundOptions, RoundResult
from backends.transfer.round import sync_round
from backends.transfer.sums import Sums
from backends.transfer.verify import VerifyResult, verify_dataset
from tests.backends.transfer.conftest import Stores
from tests.peers.seaweedfs import STRANGER, SeaweedFs

PLAIN = {f"set/{i:02}.bin": random.Random(i).randbytes(2000 + i) for i in range(12)} | {"empty": b""}
ODD = ("with space", "plus+and&", "100%", "%2F", "a%2Fb", "new\nline", "tab\there", "emoji-🛰️", "caf\u00e9", "cafe\u0301",
       "q?x=1#f", "quote\"'", "back\\slash", "\u202etxt", "~", "dir/only/deep", "[red]bold[/red]", "\x1b[31mred")  # fmt: skip
BIG = random.Random(7).randbytes((20 << 20) + 123)


async def put(store: Store, objects: dict[str, bytes]) -> None:
    for key, body in objects.items():
        await store.write(key, body, crc64nvme=Sums.of(body).crc64nvme)


async def contents(store: Store) -> dict[str, bytes]:
    return {info.key: await store.read(info.key) async for page in store.list_pages() for info in page}


async def go(source: Store, target: Store, index: Index, **options: object) -> RoundResult:
    chosen = RoundOptions(**{"parallel": 6, **options})  # type: ignore[arg-type]
    return await sync_round("d", source, target, index, chosen, Progress())


async def check(source: Store, target: Store, index: Index, re_read: bool = False, report: Path | None = None) -> VerifyResult:
    return await verify_dataset("d", source, target, index, re_read=re_read, report=report)


@pytest.mark.parametrize(
    ("kinds", "proof"),
    [
        (("s3", "s3"), {"stored_checksums": 14}),
        (("sftp", "sftp"), {"manifest": 14}),
        (("s3", "local"), {"manifest": 13, "combined_parts": 1}),
        (("local", "s3"), {"manifest": 14}),
        (("local", "sftp"), {"manifest": 14}),
    ],
    ids=["s3-s3", "sftp-sftp", "s3-local", "local-s3", "local-sftp"],
)
async def test_a_round_copies_all_and_the_next_copies_nothing(
    stores: Stores, index: Index, kinds: tuple[str, str], proof: dict[str, int]
) -> None:
    source, target = await stores.make(kinds[0], "old"), await stores.make(kinds[1], "new")
    await put(source, PLAIN | {"big": BIG})
    first = await go(source, target, index)
    assert await contents(target) == PLAIN | {"big": BIG}
    assert (first.copied, first.failed, first.lag_objects) == (14, 0, 0)
    assert first.proofs == proof
    second = await go(source, target, index)
    assert (second.copied, second.unchanged, second.bytes) == (0, 14, 0)
    assert second.is_proven
    verified = await check(source, target, index)
    assert (verified.checked, verified.equal, verified.problems) == (14, 14, ())


@pytest.mark.parametrize("kinds", [("s3", "s3"), ("local", "sftp"), ("s3", "local")], ids="-".join)
async def test_odd_keys_arrive_as_they_are(stores: Stores, index: Index, kinds: tuple[str, str]) -> None:
    source, target = await stores.make(kinds[0], "old"), await stores.make(kinds[1], "new")
    await put(source, {key: key.encode() for key in ODD})
    objects = await contents(source)  # SeaweedFS takes a backslash for a slash
    assert len(objects) == len(ODD)
    result = await go(source, target, index)
    arrived = await contents(target)
    refused = {f.key for f in result.failures}
    assert arrived == {key: body for key, body in objects.items() if key not in refused}
    assert result.copied + result.failed == len(ODD)
    if "local" not in kinds and "sftp" not in kinds:
        assert not refused


async def test_a_double_slash_is_a_key_of_its_own_where_the_server_holds_it(stores: Stores, index: Index) -> None:
    source, target = await stores.make("s3", "old"), await stores.make("s3", "new")
    await put(source, {"a//b": b"two", "a/c": b"one"})
    held = await contents(source)  # SeaweedFS rewrites a//b to a/b
    await go(source, target, index)
    assert await contents(target) == held


async def test_a_key_that_the_target_takes_for_another_is_a_failure_and_not_copied_for_ever(stores: Stores, index: Index) -> None:
    source, target = await stores.make("local", "old"), await stores.make("s3", "new")
    await put(source, {"back\\slash": b"1", "fine": b"2"})
    await go(source, target, index)
    result = await go(source, target, index)
    assert (result.copied, result.failed, result.lag_objects, result.bytes) == (0, 1, 1, 0)
    assert [(f.key, f.reason) for f in result.failures] == [("back\\slash", "new lists it under another name")]


@pytest.mark.parametrize("kinds", [("s3", "s3"), ("local", "sftp")], ids="-".join)
async def test_a_round_cut_off_in_a_large_object_goes_on_with_the_missing_parts(
    stores: Stores, index: Index, kinds: tuple[str, str]
) -> None:
    source, target = await stores.make(kinds[0], "old"), await stores.make(kinds[1], "new")
    body = BIG * 3
    await put(source, {"big": body})
    progress = Progress()
    slow = RoundOptions(parallel=2, bandwidth=16 * len(body))
    cut = asyncio.create_task(sync_round("d", source, target, index, slow, progress))
    async with asyncio.timeout(50):
        while progress.copied_bytes < 8 << 20 and not cut.done():  # noqa: ASYNC110 - it tells how far it is, and no more
            await asyncio.sleep(0.01)
    cut.cancel()
    await asyncio.gather(cut, return_exceptions=True)
    assert cut.cancelled()
    result = await go(source, target, index)
    assert await target.read("big") == body
    assert 0 < result.bytes <= len(body) - (8 << 20)
    assert result.resent_bytes <= 2 * (8 << 20)
    assert await target.list_uploads() == []


async def test_a_denied_listing_of_the_target_copies_nothing(stores: Stores, index: Index, weed: SeaweedFs) -> None:
    source = await stores.make("s3", "old")
    target = await stores.bucket("new", weed, "denied-target")
    await put(source, PLAIN)
    await go(source, target, index)
    await put(source, {"later": b"1"})
    denied = await stores.bucket("new", weed, "denied-target", keys=STRANGER)
    with pytest.raises(ListingFailed):
        await go(source, denied, index)
    assert await contents(target) == PLAIN


async def test_a_reverse_round_over_sftp_brings_back_what_the_target_wrote(stores: Stores, index: Index) -> None:
    legacy, target = await stores.make("sftp", "old"), await stores.make("sftp", "new")
    await put(legacy, PLAIN)
    await go(legacy, target, index)
    await put(target, {"ckpt/2": b"new on target"})
    result = await go(target, legacy, index, direction="reverse")
    assert (result.copied, result.unchanged) == (1, 13)
    assert await contents(legacy) == PLAIN | {"ckpt/2": b"new on target"}


async def test_verify_names_each_kind_of_damage_in_a_tree(stores: Stores, index: Index, tmp_path: Path) -> None:
    source, target = await stores.make("local", "old"), await stores.make("local", "new")
    await put(source, PLAIN)
    await go(source, target, index)
    root = tmp_path / "new" / "set"
    flip(root / "00.bin")
    (root / "01.bin").write_bytes((root / "01.bin").read_bytes()[:-1])
    (root / "02.bin").unlink()
    (root / "extra").write_bytes(b"1")
    report = tmp_path / "evidence.jsonl"
    result = await check(source, target, index, report=report)
    assert [(p.key, p.problem) for p in result.problems] == [
        ("set/00.bin", "differs"),
        ("set/01.bin", "differs"),
        ("set/02.bin", "missing"),
        ("set/extra", "extra"),
    ]
    assert (result.checked, result.equal) == (14, 10)
    lines = {line["key"]: line for line in map(json.loads, report.read_text().splitlines())}
    assert len(lines) == 14
    flipped = lines["set/00.bin"]
    assert (flipped["verdict"], flipped["method"], flipped["algorithm"]) == ("differs", "re_read", "crc64nvme")
    assert flipped["legacy"] == Sums.of(PLAIN["set/00.bin"]).crc64nvme != flipped["target"]
    assert flipped["instant"].endswith("Z")


def flip(path: Path) -> None:
    """One bit, with the time of change as it was."""
    stat = path.stat()
    body = bytearray(path.read_bytes())
    body[5] ^= 1
    path.write_bytes(body)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


async def test_verify_reads_again_what_is_not_what_the_copy_left_in_s3(stores: Stores, index: Index, tmp_path: Path) -> None:
    source, target = await stores.make("s3", "old"), await stores.make("s3", "new")
    await put(source, PLAIN)
    await go(source, target, index)
    changed = bytearray(PLAIN["set/00.bin"])
    changed[3] ^= 1
    await put(target, {"set/00.bin": bytes(changed), "set/01.bin": PLAIN["set/01.bin"]})
    await target.delete("set/02.bin")
    report = tmp_path / "evidence.jsonl"
    result = await check(source, target, index, report=report)
    assert [(p.key, p.problem) for p in result.problems] == [("set/00.bin", "differs"), ("set/02.bin", "missing")]
    methods = {line["key"]: line["method"] for line in map(json.loads, report.read_text().splitlines())}
    assert methods["set/00.bin"] == "re_read"
    assert methods["set/03.bin"] == "stored_checksums"
    again = await check(source, target, index, re_read=True, report=report)
    assert again.problems == result.problems
    methods = {line["key"]: line["method"] for line in map(json.loads, report.read_text().splitlines())}
    assert methods["set/03.bin"] == "re_read"


async def test_a_change_within_the_same_second_over_sftp_is_not_missed(stores: Stores, index: Index, tmp_path: Path) -> None:
    source, target = await stores.make("sftp", "old"), await stores.make("sftp", "new")
    await put(source, {"ckpt": b"first"})
    await go(source, target, index)
    path = tmp_path / "old" / "ckpt"
    stat = path.stat()
    path.write_bytes(b"again")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    result = await go(source, target, index)
    assert result.copied == 1
    assert await contents(target) == {"ckpt": b"again"}
