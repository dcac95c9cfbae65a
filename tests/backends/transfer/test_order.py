"""In which order a round copies, and what it does with keys that the target cannot hold beside each other."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.stores.local import LocalStore
from backends.transfer.collisions import Clashes
from backends.transfer.errors import KeysCollide
from backends.transfer.index import Index
from backends.transfer.models import Progress, RoundOptions, RoundResult
from backends.transfer.round import sync_round
from tests.backends.transfer.memory import MemoryStore

NFC, NFD = "caf\u00e9", "cafe\u0301"


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with Index(tmp_path / "index.db") as opened:
        yield opened


async def go(source: object, target: object, index: Index, **options: object) -> RoundResult:
    chosen = RoundOptions(**{"parallel": 1, **options})  # type: ignore[arg-type]
    return await sync_round("d", source, target, index, chosen, Progress())  # type: ignore[arg-type]


async def test_what_is_large_is_begun_first_so_that_the_end_waits_for_no_single_object(index: Index) -> None:
    sizes = {"a": 10, "b": 10, "m": 400, "y": 10, "z": 900}
    source, target = MemoryStore("a", {key: b"x" * size for key, size in sizes.items()}), MemoryStore("b")
    await go(source, target, index)
    assert target.written == ["z", "m", "a", "b", "y"]


async def test_objects_of_one_size_go_by_key(index: Index) -> None:
    source, target = MemoryStore("a", {f"{i:02}": b"x" for i in range(20)}), MemoryStore("b")
    await go(source, target, index)
    assert target.written == sorted(target.written)


@given(st.dictionaries(st.text("ab", min_size=1, max_size=4), st.integers(0, 200), max_size=12), st.integers(1, 4))
async def test_the_order_loses_nothing_and_the_large_come_before_the_small(sizes: dict[str, int], parallel: int) -> None:
    async with Index(Path(":memory:")) as index:
        source, target = MemoryStore("a", {key: b"x" * size for key, size in sizes.items()}), MemoryStore("b")
        await go(source, target, index, parallel=parallel)
        assert target.data == source.data
        if parallel == 1:
            share = sum(sizes.values()) / 4
            written = [sizes[key] for key in target.written]
            large = [size for size in written if size > share]
            assert written[: len(large)] == sorted(large, reverse=True)


async def test_a_round_that_is_due_again_begins_nothing_more_and_the_newest_comes_next(index: Index) -> None:
    source, target = MemoryStore("a"), MemoryStore("b")
    for day in range(1, 21):
        source.put(f"day-{day:02}", b"x", datetime(2026, 1, day, tzinfo=UTC))
    first = await go(source, target, index, newest_first=True, copy_seconds=0.0)
    assert (first.was_cut, first.copied, first.lag_objects, first.failed) == (True, 0, 20, 0)
    source.put("day-99", b"x", datetime(2026, 3, 1, tzinfo=UTC))
    rest = await go(source, target, index, newest_first=True, copy_seconds=60.0)
    assert (rest.was_cut, rest.copied) == (False, 21)
    assert target.written[0] == "day-99"
    assert target.written[1] == "day-20"


async def test_a_round_that_was_cut_keeps_the_parts_of_what_it_did_not_reach(index: Index) -> None:
    source, target = MemoryStore("a", {"big": b"1"}), MemoryStore("b")
    upload = await target.create_upload("big")
    from backends.transfer.index import Upload

    await index.bind("d", source.url, target.url)
    await index.note_upload("d", "target", Upload("big", upload, 1, "x", 8 << 20))
    assert (await go(source, target, index, copy_seconds=0.0)).aborted_uploads == 0
    assert target.uploads


@pytest.mark.parametrize(
    ("blind", "keys"),
    [
        ({"case_blind": True}, ("Model/a", "model/b")),
        ({"case_blind": True}, ("README", "readme")),
        ({"form_blind": True}, (NFC, NFD)),
        ({"case_blind": True, "form_blind": True}, (NFC.upper(), NFD)),
        ({"folders": True}, ("a", "a/b")),
        ({"case_blind": True, "folders": True}, ("A", "a/b")),
    ],
)
async def test_keys_that_the_target_cannot_hold_both_are_told_before_anything_moves(
    index: Index, blind: dict[str, bool], keys: tuple[str, str]
) -> None:
    source, target = MemoryStore("a", {"other": b"1", **dict.fromkeys(keys, b"x")}), MemoryStore("b")
    target.capabilities = replace(target.capabilities, **blind)  # type: ignore[arg-type]
    with pytest.raises(KeysCollide) as caught:
        await go(source, target, index)
    assert not target.written
    for key in keys:
        assert f"`{key}`" in caught.value.message


@pytest.mark.parametrize("keys", [(NFC, NFD), ("README", "readme"), ("a//b", "a/b"), ("a", "a/b")])
async def test_keys_that_differ_only_in_form_case_or_slashes_stay_two_objects(index: Index, keys: tuple[str, str]) -> None:
    source, target = MemoryStore("a", {keys[0]: b"1", keys[1]: b"2"}), MemoryStore("b")
    assert (await go(source, target, index)).copied == 2
    assert target.data == {keys[0]: b"1", keys[1]: b"2"}


async def test_a_key_that_meets_a_strangers_other_case_on_the_target_is_told(index: Index) -> None:
    source, target = MemoryStore("a", {"readme": b"1"}), MemoryStore("b", {"README": b"theirs"})
    target.capabilities = replace(target.capabilities, case_blind=True)
    with pytest.raises(KeysCollide, match="README"):
        await go(source, target, index)
    assert target.data == {"README": b"theirs"}


@given(st.sets(st.text("ab-/0", min_size=1, max_size=5)))
def test_a_clash_is_found_whatever_lies_between(keys: set[str]) -> None:
    clashes = Clashes()
    found = {key for key in sorted(keys, key=str.encode) if clashes.take(key) is not None}
    assert found == {key for key in keys if any(key.startswith(other + "/") for other in keys)}


async def test_retry_failed_takes_only_what_failed_and_a_socket_stays_a_failure(index: Index, tmp_path: Path) -> None:
    folder = tmp_path / "legacy"
    folder.mkdir()
    for name in ("fine", "gone", "secret"):
        (folder / name).write_bytes(name.encode())
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "sock"))
        async with LocalStore("legacy", folder) as source:
            target = MemoryStore("b")
            target.capabilities = replace(target.capabilities, parts=False)
            source_read = source.fetch
            source.fetch = _denying(source_read, {"gone", "secret"})  # type: ignore[method-assign, assignment]
            first = await go(source, target, index)
            assert [f.key for f in first.failures] == ["gone", "secret", "sock"]
            source.fetch = source_read  # type: ignore[method-assign]
            os.unlink(folder / "gone")
            (folder / "new").write_bytes(b"not asked for")
            again = await go(source, target, index, retry_failed=True)
            assert [f.key for f in again.failures] == ["sock"]
            assert (again.copied, again.vanished) == (1, 1)
            assert set(target.data) == {"fine", "secret"}
            assert [f.key for f in await index.failures("d", "forward")] == ["sock"]


def _denying(fetch: object, keys: set[str]) -> object:
    from backends.stores.base import Body, ObjectInfo
    from backends.stores.errors import StoreDenied

    async def denied(listed: ObjectInfo) -> tuple[ObjectInfo, Body]:
        if listed.key in keys:
            raise StoreDenied(f"legacy: {listed.key} is denied")
        return await fetch(listed)  # type: ignore[operator, no-any-return]

    return denied
