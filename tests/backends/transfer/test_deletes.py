"""Deletes after commit: what goes, and all that must stay. Each complaint of a wiped destination is a promise here."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.stores.base import ObjectInfo, Skipped
from backends.stores.errors import ListingFailed, StoreDenied
from backends.transfer.deletes import share_of
from backends.transfer.errors import ListingEmptied
from backends.transfer.index import Index
from backends.transfer.models import Progress, RoundOptions, RoundResult
from backends.transfer.round import sync_round
from tests.backends.transfer.memory import OLD, MemoryStore

TEN = {f"k{i}": bytes([i]) * (i + 1) for i in range(10)}


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with Index(tmp_path / "index.db") as opened:
        yield opened


async def go(source: MemoryStore, target: MemoryStore, index: Index, **options: object) -> RoundResult:
    """A round after the commit, of a plan with `delete: after-commit` and `max_delete: 50%`, unless said otherwise."""
    chosen = {"parallel": 4, "delete": True, "delete_barred": "", "max_delete": 0.5, **options}
    return await sync_round("d", source, target, index, RoundOptions(**chosen), Progress())  # type: ignore[arg-type]


async def copied(index: Index, **more: bytes) -> tuple[MemoryStore, MemoryStore]:
    """Both sides after a first round; then legacy loses `k1` and `k2`."""
    source, target = MemoryStore("a", TEN), MemoryStore("b", more)
    await go(source, target, index)
    source.remove("k1")
    source.remove("k2")
    return source, target


async def test_what_legacy_lost_goes_after_the_commit(index: Index) -> None:
    source, target = await copied(index, own=b"mine")
    result = await go(source, target, index)
    assert set(target.data) == set(TEN) - {"k1", "k2"} | {"own"}
    assert (result.deleted, result.deletes.deletable, result.deletes.listed) == (2, 2, ("k1", "k2"))
    assert (await go(source, target, index)).deletes.deletable == 0


async def test_before_the_commit_nothing_goes_and_the_round_says_what_would(index: Index) -> None:
    source, target = await copied(index)
    result = await go(source, target, index, delete_barred="the migration is soaking, not committed")
    assert target.data == TEN
    assert (result.deleted, result.deletes.deletable, result.deletes.bytes, result.deletes.rule) == (0, 2, 5, "SR4")


async def test_a_plan_that_says_nothing_of_deletes_deletes_nothing(index: Index) -> None:
    source, target = await copied(index)
    result = await go(source, target, index, delete=False)
    assert (target.data, result.deletes.deletable) == (TEN, 0)


async def test_a_dry_run_names_what_would_go_and_deletes_nothing(index: Index) -> None:
    source, target = await copied(index)
    result = await go(source, target, index, dry_run=True)
    assert target.data == TEN
    assert (result.deleted, result.deletes.listed, result.deletes.reason) == (0, ("k1", "k2"), "")
    assert not target.calls["delete"]


async def test_over_max_delete_none_goes_and_all_are_named(index: Index) -> None:
    source, target = await copied(index)
    result = await go(source, target, index, max_delete=0.19)
    assert target.data == TEN
    assert (result.deleted, result.deletes.rule, result.deletes.listed) == (0, "MAX_DELETE", ("k1", "k2"))
    assert "2 of 10 objects" in result.deletes.reason


async def test_round_after_round_cannot_delete_what_one_round_may_not(index: Index) -> None:
    source, target = await copied(index)
    assert (await go(source, target, index, max_delete=0.2)).deleted == 2
    source.remove("k3")
    result = await go(source, target, index, max_delete=0.2)
    assert (result.deleted, result.deletes.rule) == (0, "MAX_DELETE")
    assert "2 deleted in the last 24 h" in result.deletes.reason


async def test_a_share_of_the_plan_is_exact() -> None:
    assert [share_of(n, 0.01) for n in (99, 100, 199, 200)] == [0, 1, 1, 2]
    assert [share_of(10, s) for s in (0.0, 0.1, 0.3, 1.0)] == [0, 1, 3, 10]


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("page", [0, 1, 2])
async def test_a_listing_that_broke_off_deletes_nothing(index: Index, side: str, page: int) -> None:
    source, target = await copied(index)
    (source if side == "source" else target).break_listing_after = page
    with pytest.raises(ListingFailed):
        await go(source, target, index, max_delete=1.0)
    assert target.data == TEN


async def test_a_missing_source_folder_does_not_wipe_the_target(index: Index) -> None:
    source, target = await copied(index)
    source.data.clear()
    source.infos.clear()
    with pytest.raises(ListingEmptied):
        await go(source, target, index, max_delete=1.0)
    result = await go(source, target, index, max_delete=1.0, accept_empty=True)
    assert target.data == TEN
    assert (result.deleted, result.deletes.reason) == (0, "legacy's listing is empty")


async def test_what_is_excluded_or_was_never_ours_stays(index: Index) -> None:
    source, target = MemoryStore("a", TEN), MemoryStore("b", {"k1": TEN["k1"], "own": b"x"})
    await go(source, target, index)  # k1 was there before us: proven equal, not copied
    source.remove("k1")
    source.remove("k2")
    source.remove("k3")
    result = await go(source, target, index, exclude=("k3",))
    assert set(target.data) == set(TEN) - {"k2"} | {"own"}
    assert result.deleted == 1


async def test_an_index_that_was_lost_deletes_nothing_of_what_it_finds(index: Index, tmp_path: Path) -> None:
    source, target = MemoryStore("a", TEN), MemoryStore("b")
    await go(source, target, index)
    async with Index(tmp_path / "new.db") as fresh:
        await go(source, target, fresh)
        source.remove("k1")
        assert (await go(source, target, fresh)).deletes.deletable == 0
    assert target.data == TEN


async def test_what_changed_on_the_target_stays(index: Index) -> None:
    source, target = await copied(index)
    target.put("k1", b"somebody's")
    result = await go(source, target, index)
    assert target.data["k1"] == b"somebody's"
    assert "k2" not in target.data
    assert result.deleted == 1


class Moody(MemoryStore):
    """Somebody acts between the listing and the last look."""

    def __init__(self, name: str, objects: dict[str, bytes]) -> None:
        super().__init__(name, objects)
        self.before_head: dict[str, bytes] = {}

    async def head(self, key: str) -> ObjectInfo | None:
        if key in self.before_head:
            self.put(key, self.before_head.pop(key))
        return await super().head(key)


async def test_what_changed_since_it_was_listed_is_kept(index: Index) -> None:
    source, target = Moody("a", TEN), Moody("b", {})
    await go(source, target, index)
    for key in ("k1", "k2", "k3"):
        source.remove(key)
    target.before_head = {"k1": b"new on target"}
    source.before_head = {"k2": b"back on legacy"}
    result = await go(source, target, index)
    assert (result.deleted, result.deletes.kept) == (1, 2)
    assert target.data["k1"] == b"new on target"
    assert "k2" in target.data
    assert "k3" not in target.data


async def test_a_round_with_a_failure_deletes_nothing(index: Index) -> None:
    source, target = await copied(index)
    source.skipped = (Skipped("folder", "permission denied"),)
    result = await go(source, target, index)
    assert target.data == TEN
    assert result.deletes.reason == "objects of this round failed"


async def test_a_delete_that_is_denied_is_that_objects_failure(index: Index) -> None:
    source, target = await copied(index)
    target.fail["delete"] = deque([StoreDenied("b: k1 is denied")])
    result = await go(source, target, index)
    assert (result.deleted, result.failed) == (1, 1)
    assert result.failures[0].reason.startswith("not deleted: ")


async def test_reverse_rounds_never_delete(index: Index) -> None:
    source, target = await copied(index)
    result = await go(target, source, index, direction="reverse", max_delete=1.0)
    assert (result.deleted, result.deletes.deletable) == (0, 0)
    assert target.data == TEN


async def test_a_folder_loses_its_marker_before_its_objects(index: Index) -> None:
    source, target = MemoryStore("a", {"s/a": b"1", "s/_SUCCESS": b"", "s/z": b"2", "k": b"3"}), MemoryStore("b")
    await go(source, target, index, folders=True, settle=0.0)
    for key in ("s/a", "s/_SUCCESS", "s/z"):
        source.remove(key)
    gone: list[str] = []
    plain_delete = target.delete

    async def delete(key: str) -> None:
        gone.append(key)
        await plain_delete(key)

    target.delete = delete  # type: ignore[method-assign]
    await go(source, target, index, folders=True, settle=0.0, max_delete=1.0)
    assert gone[0] == "s/_SUCCESS"
    assert set(gone) == {"s/a", "s/_SUCCESS", "s/z"}


KEYS = st.sampled_from([f"{folder}{name}" for folder in ("", "a/", "a/b/") for name in ("x", "y", "z")])
MOVES = st.lists(st.tuples(st.sampled_from(["put", "drop", "theirs", "round"]), KEYS, st.integers(0, 3)), max_size=25)


@settings(max_examples=40, deadline=None)
@given(MOVES)
async def test_nothing_goes_that_we_did_not_copy_or_that_legacy_has(moves: list[tuple[str, str, int]]) -> None:
    with TemporaryDirectory() as folder:
        async with Index(Path(folder) / "index.db") as index:
            source, target = MemoryStore("a", {"stays": b"1"}), MemoryStore("b")
            theirs: dict[str, bytes] = {}
            for number, (move, key, value) in enumerate([*moves, ("round", "x", 0)]):
                body, instant = bytes([value]) * 3, OLD + timedelta(hours=number)
                if move == "put":
                    source.put(key, body, instant)
                elif move == "drop" and key in source.data:
                    source.remove(key)
                elif move == "theirs":
                    theirs[key] = b"theirs" + bytes([number])
                    target.put(key, theirs[key], instant)
                elif move == "round":
                    await go(source, target, index, max_delete=1.0)
                    theirs = {k: v for k, v in theirs.items() if k not in source.data}
                    assert {k: target.data.get(k) for k in source.data} == source.data
                    assert {k: target.data.get(k) for k in theirs} == theirs
                    assert set(target.data) == set(source.data) | set(theirs)
