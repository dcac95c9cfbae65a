"""`cutover verify` finds every kind of difference, in buckets and in trees; and what a proof may be called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backends.stores.local import LocalStore
from tests.faults.transfer.rig import BIG, SMALL, Rig, contents, go, is_get, put, verified

BOTH = SMALL | BIG
KEYS = sorted(SMALL)
FLIPPED, TRUNCATED, MISSING, CHANGED = KEYS[1:5]


def flipped(body: bytes) -> bytes:
    return body[:1000] + bytes([body[1000] ^ 4]) + body[1001:]


EXPECTED = {FLIPPED: "differs", TRUNCATED: "differs", MISSING: "missing", "added": "extra", "big": "differs"}


@pytest.mark.parametrize("re_read", [False, True])
async def test_verify_finds_each_kind_of_damage_in_a_bucket(rig: Rig, re_read: bool) -> None:
    await put(rig.old, BOTH)
    await rig.round()
    assert (await rig.verify(re_read=re_read)).problems == ()
    await put(
        rig.new, {FLIPPED: flipped(BOTH[FLIPPED]), TRUNCATED: BOTH[TRUNCATED][:-1], "added": b"", "big": flipped(BOTH["big"])}
    )
    await rig.new.delete(MISSING)
    result = await rig.verify(re_read=re_read)
    assert {p.key: p.problem for p in result.problems} == EXPECTED
    assert (result.checked, result.equal) == (len(BOTH) + 1, len(BOTH) - 4)
    assert (await rig.round()).failed == 0
    assert {p.key: p.problem for p in (await rig.verify(re_read=re_read)).problems} == {"added": "extra"}


async def test_verify_finds_each_kind_of_damage_in_a_tree_the_same_size_and_mtime_included(rig: Rig, tmp_path: Path) -> None:
    """aws-cli 1074, mc 3331: a change of the same size was skipped; azcopy 1171, 2070: a truncated file was never repaired."""
    await put(rig.old, BOTH)
    async with LocalStore("tree", tmp_path / "tree") as tree:
        await tree.prepare()
        await go(rig.source, tree, rig.index)
        root = tmp_path / "tree"
        for key in (FLIPPED, "big"):
            stat = (root / key).stat()
            (root / key).write_bytes(flipped(BOTH[key]))
            os.utime(root / key, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        (root / TRUNCATED).write_bytes(BOTH[TRUNCATED][:-1])
        (root / MISSING).unlink()
        (root / "added").write_bytes(b"")
        result = await verified(rig.source, tree, rig.index)
        assert {p.key: p.problem for p in result.problems} == EXPECTED


async def test_a_truncated_copy_is_repaired_by_the_next_round(rig: Rig) -> None:
    """azcopy 1171, 2070."""
    await put(rig.old, BOTH)
    await rig.round()
    await put(rig.new, {"big": BIG["big"][:-1], TRUNCATED: SMALL[TRUNCATED][:-1]})
    result = await rig.round()
    assert (result.copied, result.failed) == (2, 0)
    assert (await rig.verify(re_read=True)).problems == ()


async def test_equal_sizes_without_a_common_checksum_are_read_and_never_taken_for_equal(rig: Rig) -> None:
    """rclone 4855: --checksum was silently by size for multipart; gcloud rsync skips where sizes match and no hash is common."""
    await put(rig.old, {"same": b"a" * 100, "other": b"a" * 100})
    await rig.put_bare("bare", b"b" * 100)
    await rig.put_bare("bare-other", b"b" * 100)
    await put(rig.new, {"same": b"a" * 100, "other": b"c" * 100, "bare": b"b" * 100, "bare-other": b"d" * 100})
    result = await rig.round()
    assert (result.copied, result.compared) == (2, 2)
    assert result.proofs.get("size_only", 0) == 0
    assert await contents(rig.new) == await contents(rig.old)


async def test_a_bit_that_flips_while_verify_reads_is_told_and_not_taken_for_equal(rig: Rig) -> None:
    """Verify's own read may be damaged too: it tells a difference, and the next verify, with a wire that is whole, finds none."""
    await put(rig.old, SMALL)
    await rig.round()
    path = rig.path_of(CHANGED)
    rig.legacy.add("flip_down", lambda r: is_get(r) and r.path == path)
    assert [p.key for p in (await rig.verify(re_read=True)).problems] == [CHANGED]
    assert (await rig.verify(re_read=True)).problems == ()
