"""A round over stores in memory: what it copies, what it refuses, how it repairs, how it goes on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backends.stores.base import Skipped
from backends.stores.errors import ChecksumRefused, KeyRefused, ListingFailed, StoreBusy, StoreDenied, StoreUnreachable
from backends.transfer import parts
from backends.transfer.errors import ListingEmptied, ListingUnsorted
from backends.transfer.index import Index
from backends.transfer.models import Progress, RoundOptions, RoundResult
from backends.transfer.round import sync_round
from tests.backends.transfer.memory import MemoryStore

SMALL = {f"k{i:03}": bytes([i]) * (i + 1) for i in range(20)}


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with Index(tmp_path / "index.db") as opened:
        yield opened


async def go(source: MemoryStore, target: MemoryStore, index: Index, **options: object) -> RoundResult:
    """A round with these options."""
    chosen = RoundOptions(**{"parallel": 4, **options})  # type: ignore[arg-type]
    return await sync_round("d", source, target, index, chosen, Progress())


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backoff takes its jitter from here: nothing, so that tests do not wait."""
    monkeypatch.setattr("backends.transfer.pace.jittered", lambda seconds: 0.0)


async def test_a_first_round_copies_all_and_proves_it_by_stored_checksums(index: Index) -> None:
    source, target = MemoryStore("a", SMALL), MemoryStore("b")
    result = await go(source, target, index)
    assert target.data == SMALL
    assert (result.listed, result.copied, result.unchanged, result.failed) == (20, 20, 0, 0)
    assert result.proofs == {"stored_checksums": 20}
    assert result.bytes == sum(map(len, SMALL.values()))
    assert (result.lag_objects, result.lag_bytes, result.lag_seconds) == (0, 0, 0.0)
    assert result.is_proven


async def test_a_second_round_asks_nothing_of_what_is_unchanged(index: Index) -> None:
    source, target = MemoryStore("a", SMALL), MemoryStore("b")
    await go(source, target, index)
    source.calls.clear()
    target.calls.clear()
    result = await go(source, target, index)
    assert (result.copied, result.unchanged) == (0, 20)
    assert not source.calls
    assert not target.calls


async def test_a_change_of_the_same_size_is_copied(index: Index) -> None:
    source, target = MemoryStore("a", SMALL), MemoryStore("b")
    await go(source, target, index)
    source.put("k005", b"x" * 6)
    result = await go(source, target, index)
    assert (result.copied, result.unchanged) == (1, 19)
    assert target.data["k005"] == b"x" * 6


@pytest.mark.parametrize("side", ["source", "target"])
@pytest.mark.parametrize("page", [0, 2])
async def test_a_failed_listing_copies_and_deletes_nothing(index: Index, side: str, page: int) -> None:
    source, target = MemoryStore("a", SMALL), MemoryStore("b", {"k000": b"old", "own": b"mine"})
    before = dict(target.data)
    (source if side == "source" else target).break_listing_after = page
    with pytest.raises(ListingFailed, match="a" if side == "source" else "b"):
        await go(source, target, index)
    assert target.data == before
    assert not target.written


@pytest.mark.parametrize("side", ["source", "target"])
async def test_a_listing_that_is_empty_where_the_last_was_not_is_refused(index: Index, side: str) -> None:
    source, target = MemoryStore("a", SMALL), MemoryStore("b")
    await go(source, target, index)
    emptied = source if side == "source" else target
    emptied.data.clear()
    emptied.infos.clear()
    target.written.clear()
    with pytest.raises(ListingEmptied, match="is empty where the last round saw 20 objects") as caught:
        await go(source, target, index)
    assert "--accept-empty" in caught.value.hint
    assert not target.written
    result = await go(source, target, index, accept_empty=True)
    assert result.copied == (0 if side == "source" else 20)
    assert target.data == SMALL  # an emptied source takes nothing from the target


async def test_keys_out_of_order_end_the_round_with_nothing_copied(index: Index) -> None:
    source, target = MemoryStore("a", SMALL), MemoryStore("b")
    source.infos = dict(sorted(source.infos.items()))
    source.infos["k003"], source.infos["k004"] = source.infos["k004"], source.infos["k003"]
    with pytest.raises(ListingUnsorted, match="k003 out of order"):
        await go(source, target, index)
    assert not target.written


async def test_a_damaged_read_is_found_by_the_proof_copied_again_and_named(index: Index) -> None:
    source, target = MemoryStore("a", SMALL), MemoryStore("b")
    left = {"k007": 1}

    def damage(key: str, body: bytes) -> bytes:
        if left.get(key):
            left[key] -= 1
            return bytes([body[0] ^ 1]) + body[1:]
        return body

    source.damage = damage
    result = await go(source, target, index)
    assert target.data == SMALL
    assert [(f.key, f.reason) for f in result.repaired] == [("k007", "the bytes read are not those of the source's own checksum")]
    assert result.failed == 0


async def test_a_write_that_the_store_finds_damaged_is_repeated_and_named(index: Index) -> None:
    source, target = MemoryStore("a", {"x": b"1"}), MemoryStore("b")
    target.fail["write"] = deque([ChecksumRefused("b: x: other bytes than its checksum says")])
    result = await go(source, target, index)
    assert target.data == {"x": b"1"}
    assert [f.key for f in result.repaired] == ["x"]


async def test_damage_that_stays_is_that_objects_failure_and_the_others_go_on(index: Index) -> None:
    source, target = MemoryStore("a", SMALL), MemoryStore("b")
    source.damage = lambda key, body: b"?" * len(body) if key == "k007" else body
    result = await go(source, target, index)
    assert (result.copied, result.failed) == (19, 1)
    assert [f.key for f in result.failures] == ["k007"]
    assert (result.lag_objects, result.lag_bytes) == (1, 8)
    assert not result.is_proven
    assert "k007" not in target.data


async def test_retry_failed_looks_only_at_what_failed_and_lists_nothing(index: Index) -> None:
    source, target = MemoryStore("a", SMALL), MemoryStore("b")
    source.damage = lambda key, body: b"?" * len(body) if key == "k007" else body
    await go(source, target, index)
    source.damage = lambda key, body: body
    source.break_listing_after = target.break_listing_after = 0
    result = await go(source, target, index, retry_failed=True)
    assert (result.listed, result.copied, result.failed) == (1, 1, 0)
    assert target.data == SMALL
    assert await index.failures("d", "forward") == []


async def test_a_key_the_target_cannot_hold_is_a_failure_with_its_reason(index: Index) -> None:
    source, target = MemoryStore("a", {"x": b"1"}), MemoryStore("b")
    target.fail["write"] = deque([KeyRefused("b cannot hold \x1b[31mx")])
    result = await go(source, target, index)
    assert [(f.key, f.reason) for f in result.failures] == [("x", "b cannot hold \\x1b[31mx")]


async def test_what_a_listing_skipped_is_a_failure_and_never_silent(index: Index) -> None:
    source, target = MemoryStore("a", {"x": b"1"}), MemoryStore("b")
    source.skipped = (Skipped("link", "a symlink"),)
    result = await go(source, target, index)
    assert (result.copied, result.failed, result.lag_objects) == (1, 1, 1)
    assert [f.key for f in result.failures] == ["link"]


async def test_a_store_that_asks_to_slow_down_is_obeyed_and_all_arrives(index: Index) -> None:
    source, target = MemoryStore("a", SMALL), MemoryStore("b")
    target.fail["write"] = deque(StoreBusy("b", 0.0) for _ in range(15))
    result = await go(source, target, index)
    assert target.data == SMALL
    assert result.failed == 0


async def test_passing_errors_are_tried_again(index: Index) -> None:
    source, target = MemoryStore("a", {"x": b"1"}), MemoryStore("b")
    source.fail["read"] = deque([StoreUnreachable("a"), StoreUnreachable("a")])
    result = await go(source, target, index)
    assert (result.copied, result.failed) == (1, 0)


async def test_a_store_that_has_gone_ends_the_round_instead_of_failing_every_object(index: Index) -> None:
    source, target = MemoryStore("a", {f"{i:04}": b"1" for i in range(500)}), MemoryStore("b")
    target.fail["write"] = deque(StoreUnreachable("b does not answer") for _ in range(100_000))
    with pytest.raises(StoreUnreachable):
        await go(source, target, index)
    assert target.calls["write"] < 500


async def test_a_target_that_denies_every_write_ends_the_round(index: Index) -> None:
    source, target = MemoryStore("a", {f"{i:04}": b"1" for i in range(500)}), MemoryStore("b")
    target.fail["write"] = deque(StoreDenied("b: may not write") for _ in range(500))
    with pytest.raises(StoreDenied):
        await go(source, target, index)
    assert target.calls["write"] < 50


async def test_a_source_that_changes_under_the_read_is_begun_again_from_head(index: Index) -> None:
    source, target = MemoryStore("a", {"x": b"old"}), MemoryStore("b")
    once = [True]

    def change(key: str) -> None:
        if once:
            once.pop()
            source.put("x", b"newer")

    source.before_read = change
    result = await go(source, target, index)
    assert target.data == {"x": b"newer"}
    assert (result.copied, result.failed) == (1, 0)


async def test_a_source_that_never_stops_changing_is_a_failure_of_that_object(index: Index) -> None:
    source, target = MemoryStore("a", {"x": b"0"}), MemoryStore("b")
    count = iter(range(100))
    source.before_read = lambda key: source.put("x", b"v%d" % next(count)) and None
    result = await go(source, target, index)
    assert (result.copied, result.failed) == (0, 1)
    assert "changed under each of 3 reads" in result.failures[0].reason


async def test_an_object_gone_since_it_was_listed_is_no_failure(index: Index) -> None:
    source, target = MemoryStore("a", {"x": b"1", "y": b"2"}), MemoryStore("b")
    source.before_read = lambda key: source.remove("y") if key == "y" and "y" in source.data else None
    result = await go(source, target, index)
    assert (result.copied, result.failed, result.vanished, result.lag_objects) == (1, 0, 1, 0)


async def test_what_is_there_but_unknown_is_proven_and_not_copied(index: Index) -> None:
    source, target = MemoryStore("a", SMALL), MemoryStore("b", SMALL)
    result = await go(source, target, index)
    assert not target.written
    assert (result.copied, result.unchanged, result.compared) == (0, 20, 20)
    assert result.proofs == {"stored_checksums": 20}
    assert result.is_proven


async def test_what_is_there_in_the_same_size_is_not_trusted(index: Index) -> None:
    source, target = MemoryStore("a", {"x": b"abc"}), MemoryStore("b", {"x": b"abd"})
    result = await go(source, target, index)
    assert target.data == {"x": b"abc"}
    assert result.copied == 1


async def test_without_stored_checksums_what_is_there_is_read_again(index: Index) -> None:
    both = {"same": b"abc", "other": b"abc"}
    source, target = (
        MemoryStore("a", both, keeps_sums=False),
        MemoryStore("b", {"same": b"abc", "other": b"abd"}, keeps_sums=False),
    )
    result = await go(source, target, index)
    assert target.written == ["other"]
    assert result.proofs == {"re_read": 1, "manifest": 1}


async def test_the_proof_is_the_strongest_that_both_sides_allow(index: Index) -> None:
    source, target = MemoryStore("a", {"x": b"1"}, keeps_sums=False), MemoryStore("b")
    assert (await go(source, target, index)).proofs == {"manifest": 1}


async def test_a_target_altered_by_someone_else_is_set_right(index: Index) -> None:
    source, target = MemoryStore("a", SMALL), MemoryStore("b")
    await go(source, target, index)
    target.put("k004", b"?" * 5)
    result = await go(source, target, index)
    assert target.data == SMALL
    assert (result.copied, result.unchanged) == (1, 19)


async def test_what_someone_deleted_from_the_target_is_copied_again(index: Index) -> None:
    source, target = MemoryStore("a", SMALL), MemoryStore("b")
    await go(source, target, index)
    target.remove("k003")
    result = await go(source, target, index)
    assert (result.copied, result.failed) == (1, 0)
    assert target.data == SMALL


async def test_a_reverse_round_knows_what_the_forward_round_proved(index: Index) -> None:
    legacy, target = MemoryStore("a", SMALL), MemoryStore("b")
    await go(legacy, target, index)
    target.put("new", b"written on target")
    legacy.calls.clear()
    result = await go(target, legacy, index, direction="reverse")
    assert (result.copied, result.unchanged) == (1, 20)
    assert legacy.data["new"] == b"written on target"
    assert legacy.calls["read"] == 0
    assert (await go(legacy, target, index)).copied == 0


async def test_a_dry_run_changes_nothing_and_says_what_is_missing(index: Index) -> None:
    source, target = MemoryStore("a", SMALL), MemoryStore("b", {"k000": SMALL["k000"]})
    source.put("k001", b"22", datetime.now(UTC) - timedelta(seconds=100))
    result = await go(source, target, index, dry_run=True)
    assert result.dry_run
    assert (result.copied, result.bytes, result.lag_objects) == (0, 0, 20)
    assert not target.written
    assert await index.count("d") == 0
    assert await index.expected("d", "legacy") == 0


async def test_lag_seconds_is_the_age_of_the_oldest_missing_object(index: Index) -> None:
    source, target = MemoryStore("a"), MemoryStore("b")
    source.put("x", b"1", datetime.now(UTC) - timedelta(seconds=100))
    source.put("y", b"1", datetime.now(UTC) - timedelta(seconds=5))
    result = await go(source, target, index, dry_run=True)
    assert 99 < result.lag_seconds < 130


async def test_newest_first_copies_the_newest_first(index: Index) -> None:
    source, target = MemoryStore("a", SMALL), MemoryStore("b")
    await go(source, target, index, newest_first=True, parallel=1)
    assert target.written == sorted(SMALL, reverse=True)


async def test_a_folder_is_copied_together_the_newest_folder_first(index: Index) -> None:
    source, target = MemoryStore("a"), MemoryStore("b")
    for key in ("s1/a", "s2/a", "s3/a", "s1/b", "s3/b", "s2/b"):
        source.put(key, b"1")
    await go(source, target, index, newest_first=True, folders=True, parallel=1)
    assert target.written == ["s2/a", "s2/b", "s3/a", "s3/b", "s1/a", "s1/b"]


async def test_excluded_keys_are_left_alone_on_both_sides(index: Index) -> None:
    source, target = MemoryStore("a", {"tmp/x": b"1", "a": b"2"}), MemoryStore("b", {"tmp/y": b"3"})
    result = await go(source, target, index, exclude=("tmp/**",))
    assert target.data == {"tmp/y": b"3", "a": b"2"}
    assert (result.listed, result.lag_objects) == (1, 0)


async def test_extra_objects_on_the_target_stay(index: Index) -> None:
    source, target = MemoryStore("a", SMALL), MemoryStore("b", {"zz": b"own"})
    await go(source, target, index)
    assert target.data == {**SMALL, "zz": b"own"}


class TestLarge:
    """Objects in parts; the sizes are made small so that the tests are."""

    BODY = bytes(range(256)) * 40  # 10,240 bytes

    @pytest.fixture(autouse=True)
    def small_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("backends.transfer.copier.WHOLE_UP_TO", 1000)
        monkeypatch.setattr(parts, "LEAST_PART", 1000)
        monkeypatch.setattr(parts, "_MEBIBYTE", 1000)

    async def test_a_large_object_arrives_whole_and_proven(self, index: Index) -> None:
        source, target = MemoryStore("a", {"big": self.BODY}), MemoryStore("b")
        result = await go(source, target, index)
        assert target.data == {"big": self.BODY}
        assert target.calls["write_part"] == 11
        assert result.proofs == {"stored_checksums": 1}
        assert not target.uploads

    async def test_parts_that_arrived_are_not_sent_again(self, index: Index) -> None:
        source, target = MemoryStore("a", {"big": self.BODY}), MemoryStore("b")
        target.fail["write_part"] = After(6, KeyRefused("stop here"))
        first = await go(source, target, index, parallel=1)
        assert (first.copied, first.failed) == (0, 1)
        arrived = dict(next(iter(target.uploads.values()))[1])
        target.calls.clear()
        second = await go(source, target, index, parallel=1)
        assert target.data == {"big": self.BODY}
        assert target.calls["write_part"] == 11 - len(arrived)
        assert second.bytes == len(self.BODY) - sum(map(len, arrived.values()))
        assert second.resent_bytes <= 1000

    async def test_damage_in_a_part_is_found_by_the_whole_and_copied_again(self, index: Index) -> None:
        source, target = MemoryStore("a", {"big": self.BODY}), MemoryStore("b")
        once = [True]

        def damage(key: str, body: bytes) -> bytes:
            return bytes([body[0] ^ 1]) + body[1:] if once and once.pop() else body

        source.damage = damage
        result = await go(source, target, index)
        assert target.data == {"big": self.BODY}
        assert [f.key for f in result.repaired] == ["big"]
        assert not target.uploads

    async def test_a_source_that_changed_begins_a_new_upload_and_aborts_the_old(self, index: Index) -> None:
        source, target = MemoryStore("a", {"big": self.BODY}), MemoryStore("b")
        target.fail["write_part"] = After(3, KeyRefused("stop here"))
        await go(source, target, index, parallel=1)
        source.put("big", self.BODY[::-1])
        result = await go(source, target, index)
        assert target.data == {"big": self.BODY[::-1]}
        assert result.resent_bytes > 0
        assert not target.uploads

    async def test_uploads_left_open_are_aborted_when_a_later_round_has_ended(self, index: Index) -> None:
        source, target = MemoryStore("a", {"big": self.BODY, "x": b"1"}), MemoryStore("b")
        target.fail["write_part"] = After(3, KeyRefused("stop here"))
        await go(source, target, index, parallel=1)
        assert len(target.uploads) == 1
        source.remove("big")
        result = await go(source, target, index)
        assert result.aborted_uploads == 1
        assert not target.uploads

    async def test_retry_failed_leaves_the_uploads_of_others_for_the_next_round(self, index: Index) -> None:
        source, target = MemoryStore("a", {"big": self.BODY}), MemoryStore("b")
        target.fail["write_part"] = After(3, KeyRefused("stop here"))
        await go(source, target, index, parallel=1)
        index.forgive("d", "forward", "big")
        await go(source, target, index, retry_failed=True)
        assert len(target.uploads) == 1
        assert (await go(source, target, index)).bytes < len(self.BODY)

    @pytest.mark.parametrize("turns", range(1, 60, 6))
    async def test_a_round_cut_off_anywhere_ends_right_when_it_is_run_again(self, index: Index, turns: int) -> None:
        source, target = MemoryStore("a", SMALL | {"big": self.BODY, "big2": self.BODY[::-1]}), MemoryStore("b")
        cut = asyncio.create_task(go(source, target, index))
        for _ in range(turns):
            await index.database.flush()
        cut.cancel()
        await asyncio.gather(cut, return_exceptions=True)
        arrived = sum(map(len, target.data.values()))
        result = await go(source, target, index)
        assert target.data == source.data
        assert not target.uploads
        assert result.is_proven
        assert result.bytes <= sum(map(len, source.data.values())) - arrived
        assert (await go(source, target, index)).unchanged == 22

    async def test_an_upload_that_is_gone_is_begun_anew(self, index: Index) -> None:
        source, target = MemoryStore("a", {"big": self.BODY}), MemoryStore("b")
        target.fail["write_part"] = After(3, KeyRefused("stop here"))
        await go(source, target, index, parallel=1)
        target.uploads.clear()
        result = await go(source, target, index)
        assert target.data == {"big": self.BODY}
        assert result.resent_bytes > 0


class After(deque[Exception]):
    """Errors that begin after so many good calls."""

    def __init__(self, good: int, error: Exception) -> None:
        super().__init__([error])
        self._good = good

    def __bool__(self) -> bool:
        self._good -= 1
        return self._good < 0 and len(self) > 0


def test_part_size_grows_so_that_there_are_never_more_than_ten_thousand() -> None:
    for size in (1 << 24, 78 << 30, 100 << 30, 5 << 40):
        chosen = parts.part_size_of(size)
        assert chosen >= 8 << 20
        assert -(-size // chosen) <= 10_000
