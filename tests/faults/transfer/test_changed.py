"""Objects that somebody else changes: the source under the copy, the target between rounds and during the copy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from tests.faults.transfer.rig import BIG, SMALL, Rig, assert_same, contents, is_complete, is_get, is_part, is_put, put
from tests.peers.fault_proxy import Request

KEY = "set/05.bin"
LATER = b"\xff" * len(SMALL[KEY])  # the same size: only identity and bytes tell
BIG_LATER = bytes(reversed(BIG["big"]))


def writes(rig: Rig, side: str, key: str, body: bytes) -> Callable[[Request], Awaitable[None]]:
    """What another client does, past the proxies."""

    async def write(request: Request) -> None:
        await put(rig.old if side == "old" else rig.new, {key: body})

    return write


# -- the source


async def test_a_small_source_rewritten_under_the_copy_arrives_as_it_is_now(rig: Rig) -> None:
    await put(rig.old, SMALL)
    path = rig.path_of(KEY)
    rule = rig.legacy.add("call", lambda r: is_get(r) and r.path == path, then=writes(rig, "old", KEY, LATER))
    result = await rig.round()
    assert rule.struck == 1
    assert (result.copied, result.failed) == (len(SMALL), 0)
    await assert_same(rig.new, SMALL | {KEY: LATER})


async def test_a_large_source_rewritten_between_two_parts_is_never_a_mixture(rig: Rig) -> None:
    await put(rig.old, BIG)
    rule = rig.legacy.add("call", is_get, after=1, then=writes(rig, "old", "big", BIG_LATER))
    result = await rig.round()
    assert rule.struck == 1
    assert (result.copied, result.failed) == (1, 0)
    await assert_same(rig.new, {"big": BIG_LATER})
    assert await rig.new.list_uploads() == []
    assert (await rig.verify(re_read=True)).problems == ()


async def test_a_source_rewritten_under_every_read_fails_alone_and_the_target_keeps_what_it_had(rig: Rig) -> None:
    await put(rig.old, SMALL)
    await rig.round()
    await put(rig.old, {KEY: b"a change"})
    count = iter(range(1000))
    path = rig.path_of(KEY)

    async def write(request: Request) -> None:
        await put(rig.old, {KEY: b"change %d" % next(count)})

    rig.legacy.add("call", lambda r: is_get(r) and r.path == path, times=None, then=write)
    result = await rig.round()
    assert [(f.key, "changed under each of 3 reads" in f.reason) for f in result.failures] == [(KEY, True)]
    await assert_same(rig.new, SMALL)
    rig.legacy.rules.clear()
    assert (await rig.round()).copied == 1
    assert (await contents(rig.new))[KEY].startswith(b"change ")


@pytest.mark.parametrize("objects", [SMALL, BIG], ids=["small", "large"])
async def test_a_source_deleted_under_the_copy_is_no_failure_and_leaves_nothing_open(rig: Rig, objects: dict[str, bytes]) -> None:
    await put(rig.old, objects)
    key = KEY if objects is SMALL else "big"

    async def delete(request: Request) -> None:
        await rig.old.delete(key)

    path = rig.path_of(key)
    rule = rig.legacy.add("call", lambda r: is_get(r) and r.path == path, then=delete)
    result = await rig.round()
    assert rule.struck == 1
    assert (result.vanished, result.failed) == (1, 0)
    await assert_same(rig.new, {k: v for k, v in objects.items() if k != key})
    assert await rig.new.list_uploads() == []


async def test_a_source_that_changed_between_two_runs_of_an_upload_begins_it_anew(rig: Rig) -> None:
    """rclone 2206, 6424: parts of two states of the source in one object."""
    await put(rig.old, BIG)
    rig.other.add("refuse", is_part, times=None, after=2)
    assert (await rig.round()).failed == 1
    rig.other.rules.clear()
    await put(rig.old, {"big": BIG_LATER})
    result = await rig.round()
    assert (result.copied, result.failed) == (1, 0)
    await assert_same(rig.new, {"big": BIG_LATER})
    assert await rig.new.list_uploads() == []


# -- the target


@pytest.mark.parametrize("change", ["altered", "truncated", "deleted"])
async def test_a_target_changed_between_rounds_is_set_right_by_the_next(rig: Rig, change: str) -> None:
    await put(rig.old, SMALL)
    await rig.round()
    if change == "deleted":
        await rig.new.delete(KEY)
    else:
        await put(rig.new, {KEY: LATER if change == "altered" else SMALL[KEY][:-1]})
    assert [p.key for p in (await rig.verify()).problems] == [KEY]
    result = await rig.round()
    assert (result.copied, result.unchanged, result.failed) == (1, len(SMALL) - 1, 0)
    await assert_same(rig.new, SMALL)


@pytest.mark.parametrize("objects", [SMALL, BIG], ids=["small", "large"])
async def test_what_somebody_wrote_over_our_copy_at_once_is_found_by_verify_and_the_next_round(
    rig: Rig, objects: dict[str, bytes]
) -> None:
    await put(rig.old, objects)
    key = KEY if objects is SMALL else "big"
    path = rig.path_of(key, "new")
    other = writes(rig, "new", key, LATER)
    rule = rig.other.add("call_after", lambda r: r.path == path and (is_put(r) or is_complete(r)), then=other)
    await rig.round()
    assert rule.struck == 1
    if (await contents(rig.new))[key] == LATER:  # the copy was not repeated in the round itself
        assert [p.key for p in (await rig.verify()).problems] == [key]
    result = await rig.round()
    assert result.failed == 0
    await assert_same(rig.new, objects)
    assert (await rig.verify(re_read=True)).problems == ()


async def test_what_appears_on_the_target_during_the_copy_ends_as_the_source_or_is_told(rig: Rig) -> None:
    """Between our listing and our write somebody writes the key: the end of it is the source's bytes, or a failure by name."""
    await put(rig.old, SMALL)
    path = rig.path_of(KEY, "new")
    rule = rig.other.add("call", lambda r: r.path == path and is_put(r), then=writes(rig, "new", KEY, LATER))
    result = await rig.round()
    assert rule.struck == 1
    expected = SMALL | ({KEY: LATER} if result.failed else {})
    assert [f.key for f in result.failures] in ([], [KEY])
    await assert_same(rig.new, expected)
    result = await rig.round()
    assert (result.failed, result.lag_objects) == (0, 0)
    await assert_same(rig.new, SMALL)
