"""Folders that are copied whole: which they are, and that no marker is ever on the target without its objects."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.stores.base import Body, ObjectInfo, Skipped
from backends.stores.errors import StoreDenied
from backends.transfer.index import Index
from backends.transfer.models import Progress, RoundOptions, RoundResult
from backends.transfer.round import sync_round
from backends.transfer.units import Place, ancestors, is_below, place_of
from tests.backends.transfer.memory import MemoryStore

STEP = {"s1/a": b"1", "s1/_SUCCESS": b"", "s1/sub/shard": b"2", "s1/sub/.metadata": b"3", "s1/z": b"4"}


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with Index(tmp_path / "index.db") as opened:
        yield opened


async def go(source: MemoryStore, target: MemoryStore, index: Index, **options: object) -> RoundResult:
    chosen = {"parallel": 4, "folders": True, "settle": 30.0, **options}
    return await sync_round("d", source, target, index, RoundOptions(**chosen), Progress())  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "holders", "is_marker", "place"),
    [
        ("s1/model.bin", {"s1"}, False, Place(b"s1", 0)),
        ("s1/optimizer/shard0", {"s1", "s1/optimizer"}, False, Place(b"s1", 0)),
        ("s1/optimizer/.metadata", {"s1", "s1/optimizer"}, True, Place(b"s1", 1)),
        ("runs/a/s1/x", {"runs/a/s1"}, False, Place(b"runs/a/s1", 0)),
        ("runs/a/latest", {"runs/a/s1"}, True, Place(b"runs/a", 2)),
        ("latest", {"s1"}, True, Place(b"", 2)),
        ("README.md", {"s1"}, False, Place(None, 0)),
    ],
)
def test_the_unit_is_the_shallowest_folder_that_holds_an_object(
    key: str, holders: set[str], is_marker: bool, place: Place
) -> None:
    assert place_of(key.encode(), is_marker=is_marker, holders=lambda folder: folder.decode() in holders) == place


@given(st.lists(st.text("ab/", min_size=1, max_size=6), min_size=1))
def test_every_object_has_one_place_and_no_unit_lies_in_another(keys: list[str]) -> None:
    holders = {key.encode().rpartition(b"/")[0] for key in keys} - {b""}
    units = {place_of(key.encode(), is_marker=False, holders=holders.__contains__).unit for key in keys}
    for unit in units - {None}:
        assert unit in holders
        assert not any(above in holders for above in ancestors(unit))
        assert not any(is_below(unit, other) for other in units - {None, unit})  # type: ignore[arg-type]


async def test_markers_are_written_last_and_the_deepest_first(index: Index) -> None:
    source, target = MemoryStore("a", STEP), MemoryStore("b")
    await go(source, target, index)
    assert target.written[-2:] == ["s1/sub/.metadata", "s1/_SUCCESS"]
    assert target.data == STEP


async def test_without_a_marker_the_object_modified_last_is_written_last(index: Index) -> None:
    source, target = MemoryStore("a", {"s1/z": b"1", "s1/b": b"2", "s1/a": b"3"}), MemoryStore("b")
    source.put("s1/b", b"4", datetime(2026, 2, 1, tzinfo=UTC))
    await go(source, target, index)
    assert target.written[-1] == "s1/b"


async def test_a_marker_above_folders_comes_after_all_of_them(index: Index) -> None:
    source, target = MemoryStore("a", {**STEP, "latest": b"s1", "t/x": b"5", "README": b"6"}), MemoryStore("b")
    await go(source, target, index)
    assert target.written[-1] == "latest"


async def test_a_folder_with_a_failure_gets_no_marker_and_the_others_do(index: Index) -> None:
    source, target = MemoryStore("a", {**STEP, "s2/x": b"1", "s2/_SUCCESS": b"", "latest": b"s2"}), MemoryStore("b")
    source.damage = lambda key, body: b"?" if key == "s1/a" else body
    result = await go(source, target, index)
    assert {key for key in target.data if key.endswith(("_SUCCESS", ".metadata", "latest"))} == {"s2/_SUCCESS"}
    assert {(w.folder, w.reason) for w in result.waiting} == {
        ("s1", "an object of it failed"),
        ("latest", "something below its folder is still missing"),
    }
    assert [f.key for f in result.failures] == ["s1/a"]
    source.damage = lambda key, body: body
    assert (await go(source, target, index, retry_failed=True)).failed == 0
    assert "s1/_SUCCESS" in target.data
    assert "latest" not in target.data  # a round that lists all sees that nothing is missing
    assert (await go(source, target, index)).is_proven
    assert target.data == source.data


async def test_a_folder_that_was_written_to_a_moment_ago_waits_and_is_no_failure(index: Index) -> None:
    source, target = MemoryStore("a", {**STEP, "s2/x": b"1"}), MemoryStore("b")
    source.put("s1/z", b"9", datetime.now(UTC) - timedelta(seconds=5))
    result = await go(source, target, index)
    assert set(target.data) == {"s2/x"}
    assert [w.folder for w in result.waiting] == ["s1"]
    assert (result.failed, result.lag_objects, result.is_proven) == (0, 5, False)
    assert (await go(source, target, index, settle=1.0)).is_proven
    assert target.data == source.data


async def test_a_folder_that_changes_while_it_is_copied_waits(index: Index) -> None:
    source, target = MemoryStore("a", STEP), MemoryStore("b")
    changes = deque([b"new"])

    def change(key: str) -> None:
        if key == "s1/z" and changes:
            source.put("s1/z", changes.popleft())

    source.before_read = change
    result = await go(source, target, index)
    assert not {"s1/_SUCCESS", "s1/sub/.metadata"} & set(target.data)
    assert [(w.folder, w.reason) for w in result.waiting] == [("s1", "it changed while it was copied")]
    assert result.failed == 0
    assert (await go(source, target, index)).is_proven
    assert target.data == source.data


async def test_what_the_listing_could_not_give_keeps_the_markers_above_it_back(index: Index) -> None:
    source, target = MemoryStore("a", {**STEP, "latest": b"s1"}), MemoryStore("b")
    source.skipped = (Skipped("s2/socket", "a socket"),)
    result = await go(source, target, index)
    assert "latest" not in target.data
    assert (result.failed, [w.folder for w in result.waiting]) == (1, ["latest"])


async def test_a_folder_that_is_complete_stays_so_while_it_is_updated(index: Index) -> None:
    source, target = MemoryStore("a", STEP), MemoryStore("b")
    await go(source, target, index)
    source.put("s1/a", b"new")
    source.put("s1/_SUCCESS", b"again")
    target.written.clear()
    await go(source, target, index)
    assert target.written == ["s1/a", "s1/_SUCCESS"]


async def test_the_newest_folder_goes_first_and_whole(index: Index) -> None:
    source, target = MemoryStore("a"), MemoryStore("b")
    for number in (1, 3, 2):
        for name in ("x", "y", "_SUCCESS"):
            source.put(f"s{number}/{name}", b"1", datetime(2026, 1, number, tzinfo=UTC))
    await go(source, target, index, newest_first=True, parallel=1)
    assert [key.partition("/")[0] for key in target.written] == ["s3"] * 3 + ["s2"] * 3 + ["s1"] * 3


async def test_a_denied_marker_is_a_failure_and_nothing_above_it_is_written(index: Index) -> None:
    source, target = MemoryStore("a", {"s1/a": b"1", "s1/_SUCCESS": b"2", "latest": b"s1"}), MemoryStore("b")
    plain_write = target.write

    async def write(key: str, body: Body, **how: Any) -> ObjectInfo:
        if key == "s1/_SUCCESS":
            raise StoreDenied("b: denied")
        return await plain_write(key, body, **how)

    target.write = write  # type: ignore[method-assign]
    result = await go(source, target, index)
    assert set(target.data) == {"s1/a"}
    assert [f.key for f in result.failures] == ["s1/_SUCCESS"]


class Watched(MemoryStore):
    """Looks at itself after each write, as a reader would who trusts the markers."""

    def __init__(self, name: str, wanted: dict[str, set[str]]) -> None:
        super().__init__(name)
        self.wanted = wanted
        self.broken: list[str] = []

    async def write(self, key: str, body: Body, **how: Any) -> ObjectInfo:
        await asyncio.sleep(0)
        info = await super().write(key, body, **how)
        for marker, keys in self.wanted.items():
            if marker in self.data and not keys <= set(self.data):
                self.broken.append(marker)
        return info


async def test_a_trainer_that_writes_while_rounds_run_is_never_seen_half(index: Index) -> None:
    steps = {f"s{n:02}": {f"s{n:02}/{name}" for name in ("a", "m/0", "m/1", "z")} for n in range(12)}
    wanted = {f"{step}/_SUCCESS": keys for step, keys in steps.items()}
    source, target = MemoryStore("a", page=2), Watched("b", wanted)
    ended = asyncio.Event()

    async def train() -> None:
        for step, keys in steps.items():
            for key in sorted(keys):
                source.put(key, step.encode(), datetime.now(UTC))
                await asyncio.sleep(0.004)
            source.put(f"{step}/_SUCCESS", b"", datetime.now(UTC))
            source.put("latest", step.encode(), datetime.now(UTC))
            await asyncio.sleep(0.03)
        ended.set()

    async def follow() -> int:
        waited = 0
        while not ended.is_set():
            result = await go(source, target, index, settle=0.02, newest_first=True)
            assert result.failed == 0
            waited += len(result.waiting)
            if "latest" in target.data:
                assert f"{target.data['latest'].decode()}/_SUCCESS" in target.data
        return waited

    async with asyncio.TaskGroup() as group:
        group.create_task(train())
        following = group.create_task(follow())
    assert following.result() > 0
    assert (await go(source, target, index, settle=0.0)).is_proven
    assert target.data == source.data
    assert not target.broken
