"""What a wire does to bytes: cut, short, flipped, lost answers; up and down, small objects and large ones in parts."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from backends.stores.local import LocalStore
from tests.faults.transfer.rig import (
    BIG,
    SMALL,
    Rig,
    assert_same,
    go,
    is_begin,
    is_complete,
    is_get,
    is_part,
    is_put,
    put,
    verified,
)
from tests.peers.fault_proxy import Act, Request, fault_proxy

When = Callable[[Request], bool]
BOTH = SMALL | BIG


@pytest.mark.parametrize("act", ["refuse", "cut_up", "lose", "short_up", "flip_up"])
@pytest.mark.parametrize("when", [is_put, is_part], ids=["small", "part"])
async def test_what_goes_wrong_on_the_way_up_is_sent_again_and_nothing_wrong_stays(rig: Rig, act: Act, when: When) -> None:
    await put(rig.old, BOTH)
    rule = rig.other.add(act, when, times=2, after=1)
    result = await rig.round()
    assert rule.struck == 2
    await assert_same(rig.new, BOTH)
    assert (result.copied, result.failed, result.lag_objects) == (len(BOTH), 0, 0)
    assert (await rig.verify(re_read=True)).problems == ()
    assert await rig.new.list_uploads() == []


@pytest.mark.parametrize("act", ["refuse", "cut_down", "lose", "short_down", "flip_down"])
@pytest.mark.parametrize("when", [is_get, lambda r: is_get(r) and "range" in r.headers], ids=["small", "part"])
async def test_what_goes_wrong_on_the_way_down_is_read_again_and_nothing_wrong_arrives(rig: Rig, act: Act, when: When) -> None:
    await put(rig.old, BOTH)
    rule = rig.legacy.add(act, when, times=2, after=1)
    result = await rig.round()
    assert rule.struck == 2
    await assert_same(rig.new, BOTH)
    assert (result.copied, result.failed) == (len(BOTH), 0)
    assert (await rig.verify(re_read=True)).problems == ()


async def test_a_bit_flipped_on_the_way_down_is_named_as_repaired(rig: Rig) -> None:
    await put(rig.old, SMALL)
    key = "set/05.bin"
    rig.legacy.add("flip_down", lambda r: is_get(r) and r.path == rig.path_of(key))
    result = await rig.round()
    assert [(f.key, f.reason) for f in result.repaired] == [(key, "the bytes read are not those of the source's own checksum")]
    await assert_same(rig.new, SMALL)


async def test_a_wire_that_always_flips_is_that_objects_failure_and_leaves_nothing_wrong(rig: Rig) -> None:
    await put(rig.old, SMALL)
    key = "set/05.bin"
    rig.legacy.add("flip_down", lambda r: is_get(r) and r.path == rig.path_of(key), times=None)
    result = await rig.round()
    assert [f.key for f in result.failures] == [key]
    await assert_same(rig.new, {k: v for k, v in SMALL.items() if k != key})
    rig.legacy.rules.clear()
    assert (await rig.round(retry_failed=True)).copied == 1
    await assert_same(rig.new, SMALL)


async def test_a_flip_that_no_checksum_of_the_source_can_show_is_found_by_verify(rig: Rig) -> None:
    """A source that keeps no checksum: what came is all that the copy can prove, and `manifest` says so. Verify reads again."""
    body = random.Random(1).randbytes(5000)
    await rig.put_bare("bare", body)
    told = await rig.old.head("bare")
    assert told is not None
    assert told.checksums == {}
    rule = rig.legacy.add("flip_down", is_get)
    result = await rig.round()
    assert rule.struck == 1
    assert result.proofs == {"manifest": 1}
    found = await rig.verify()
    assert [(p.key, p.problem) for p in found.problems] == [("bare", "differs")]


@pytest.mark.parametrize("when", [is_begin, is_complete], ids=["begin", "complete"])
@pytest.mark.parametrize("act", ["refuse", "lose", "cut_down"])
async def test_an_upload_whose_begin_or_end_was_not_heard_is_whole_and_leaves_none_open(rig: Rig, act: Act, when: When) -> None:
    await put(rig.old, BIG)
    rule = rig.other.add(act, when)
    result = await rig.round()
    assert rule.struck == 1
    await assert_same(rig.new, BIG)
    assert (result.copied, result.failed) == (1, 0)
    assert await rig.new.list_uploads() == []


@pytest.mark.parametrize("act", ["cut_down", "short_down", "flip_down"])
async def test_a_local_tree_gets_right_bytes_over_a_wire_that_goes_wrong(rig: Rig, tmp_path: Path, act: Act) -> None:
    await put(rig.old, BOTH)
    rule = rig.legacy.add(act, is_get, times=3, after=2)
    async with LocalStore("tree", tmp_path / "tree") as tree:
        await tree.prepare()
        result = await go(rig.source, tree, rig.index)
        assert rule.struck == 3
        assert (result.copied, result.failed) == (len(BOTH), 0)
        await assert_same(tree, BOTH)
        assert (await verified(rig.source, tree, rig.index)).problems == ()


@pytest.mark.parametrize("act", ["cut_up", "short_up", "flip_up"])
async def test_a_local_tree_arrives_right_over_a_wire_that_goes_wrong(rig: Rig, tmp_path: Path, act: Act) -> None:
    rule = rig.other.add(act, lambda r: is_put(r) or is_part(r), times=3, after=2)
    async with LocalStore("tree", tmp_path / "tree") as tree:
        await tree.prepare()
        await put(tree, BOTH)
        result = await go(tree, rig.target, rig.index)
    assert rule.struck == 3
    assert (result.copied, result.failed) == (len(BOTH), 0)
    await assert_same(rig.new, BOTH)


async def test_parts_that_arrived_before_a_wire_broke_for_good_are_not_sent_again(rig: Rig) -> None:
    await put(rig.old, BIG)
    rig.other.add("refuse", is_part, times=None, after=2)
    first = await rig.round()
    assert (first.copied, first.failed) == (0, 1)
    rig.other.rules.clear()
    rig.other.seen.clear()
    result = await rig.round()
    again = [seen for seen in rig.other.seen if is_part(seen.request)]
    assert len(again) == 3 - 2
    await assert_same(rig.new, BIG)
    assert result.failed == 0


async def test_the_proxy_itself_changes_nothing(rig: Rig) -> None:
    async with fault_proxy(rig.other.endpoint) as second:
        assert second.endpoint != rig.other.endpoint
    await put(rig.source, BOTH)
    await assert_same(rig.old, BOTH)
    await assert_same(rig.source, BOTH)
