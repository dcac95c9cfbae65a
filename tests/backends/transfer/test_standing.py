"""The share that is shown of a dataset: never over the whole, never backwards, whatever the rounds meet."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.transfer import copier, parts
from backends.transfer.index import Index
from backends.transfer.models import Progress, RoundOptions, RoundResult
from backends.transfer.round import sync_round
from backends.transfer.standing import Standing
from backends.transfer.trend import Trend
from tests.backends.transfer.memory import MemoryStore

PART = 4


class World:
    """A source that is written to, a target, and rounds in between: what a `Progress` of them says, without any store."""

    def __init__(self, sizes: list[int]) -> None:
        self.source = dict(enumerate(sizes))
        self.listed: set[int] = set()
        self.failed: set[int] = set()  # in this round
        self.there: set[int] = set()
        self.arrived: dict[int, int] = {}  # of objects not complete
        self.progress = Progress(status="waiting")

    def list_sides(self) -> None:
        p = self.progress
        todo = [n for n in self.source if n not in self.there]
        self.listed, self.failed = set(self.source), set()
        p.status, p.rounds, p.is_listed = "copying", p.rounds + 1, True
        p.objects_total, p.bytes_total = len(self.source), sum(self.source.values())
        p.objects_done = len(self.there)
        p.bytes_done = sum(self.source[n] for n in self.there)
        p.active, p.resumed = {}, {str(n): self.arrived[n] for n in todo if n in self.arrived}

    def copy_part(self, pick: int) -> None:
        todo = sorted(n for n in self.source if n in self.listed and n not in self.there | self.failed)
        if not todo or self.progress.status != "copying":
            return
        n = todo[pick % len(todo)]
        p, size = self.progress, self.source[n]
        done, _ = p.active.get(str(n), (p.resumed.pop(str(n), 0), size))
        done = min(size, done + PART)
        p.active[str(n)], self.arrived[n] = (done, size), done
        if done == size:
            self.there.add(n)
            del self.arrived[n]
            p.objects_done += 1
            p.bytes_done += size
            del p.active[str(n)]

    def fail_one(self) -> None:
        """An active object fails: its parts stay for the next round."""
        if self.progress.active:
            key = next(iter(self.progress.active))
            del self.progress.active[key]
            self.failed.add(int(key))
            self.progress.failed += 1

    def vanish(self) -> None:
        """An object that is not there yet goes from the source."""
        gone = [n for n in self.source if n in self.listed and n not in self.there and str(n) not in self.progress.active]
        if gone and self.progress.status == "copying":
            size = self.source.pop(gone[0])
            self.arrived.pop(gone[0], None)
            self.progress.resumed.pop(str(gone[0]), None)
            self.progress.objects_total -= 1
            self.progress.bytes_total -= size

    def grow(self, size: int) -> None:
        self.source[len(self.source) + 1000 * len(self.there) + size * 10_000] = size


EVENTS = st.sampled_from(["part", "part", "part", "part", "fail", "vanish", "grow", "round", "engine round", "restart"])


@given(st.lists(st.integers(0, 20), max_size=8), st.lists(st.tuples(EVENTS, st.integers(0, 30)), max_size=120))
def test_the_share_never_falls_nor_passes_the_whole(sizes: list[int], events: list[tuple[str, int]]) -> None:
    world, standing = World(sizes), Standing()
    shown = -1.0
    world.list_sides()
    for event, number in events:
        if event == "part":
            world.copy_part(number)
        elif event == "fail":
            world.fail_one()
        elif event == "vanish":
            world.vanish()
        elif event == "grow":
            world.grow(number)
        elif event == "restart":  # a new process: nothing of it is known but what the index and the stores keep
            was_grown = world.progress.bytes_total < sum(world.source.values()) or world.progress.objects_total < len(
                world.source
            )
            before = Standing()
            before.look(world.progress)
            world.progress, standing = Progress(), Standing(is_complete=standing.is_followed)
            assert standing.share in (None, 1.0)
            world.list_sides()
            standing.look(world.progress)
            assert standing.share is not None
            assert before.share is not None
            assert was_grown or standing.share >= before.share, "a resumed run begins where the one before was"
            shown = standing.share if standing.is_followed and standing.share else -1.0
        else:
            if event == "engine round":  # a new Progress each round, as the engine has it
                world.progress = Progress()
                standing.broke_off()
            world.list_sides()
        standing.look(world.progress)
        assert standing.share is not None
        assert shown <= standing.share <= 1.0
        assert standing.objects_total is not None
        assert standing.bytes_total is not None
        assert 0 <= standing.objects_done <= standing.objects_total
        assert 0 <= standing.bytes_done <= standing.bytes_total
        if standing.share == 1.0 and shown < 1.0:
            assert standing.objects_done == standing.objects_total, "100 % is said only when all is there"
        shown = standing.share


def test_what_was_there_and_is_lost_begins_again() -> None:
    standing = Standing()
    standing.look(
        Progress(status="in sync", rounds=1, is_listed=True, objects_total=10, objects_done=10, bytes_total=100, bytes_done=100)
    )
    assert standing.is_followed
    emptied = Progress(status="copying", rounds=2, is_listed=True, objects_total=10, bytes_total=100)
    standing.look(emptied)
    assert (standing.share, standing.is_followed) == (0.0, False)


def test_a_listing_says_nothing_before_its_end_and_keeps_what_was_shown() -> None:
    standing, progress = Standing(), Progress(status="listing", listed=500)
    standing.look(progress)
    assert (standing.share, standing.objects_total) == (None, None)
    standing.look(
        Progress(status="copying", rounds=1, is_listed=True, objects_total=10, objects_done=5, bytes_total=10, bytes_done=5)
    )
    standing.look(Progress(status="listing", listed=3))
    assert (standing.share, standing.objects_done) == (0.5, 5)


async def test_a_large_object_killed_in_the_middle_goes_on_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LEAST_PART", 1024)
    monkeypatch.setattr(parts, "_MEBIBYTE", 1024)
    monkeypatch.setattr(copier, "WHOLE_UP_TO", 1024)
    body = bytes(range(256)) * 64  # 16 parts
    source, target = MemoryStore("a", {"big": body, "small": b"1"}), MemoryStore("b")
    progress, trend = Progress(), Trend()
    shares: list[float] = []

    def look() -> None:
        trend.sample(float(len(shares)), progress)
        if trend.standing.share is not None:
            shares.append(trend.standing.share)

    reads = 0

    def stop_in_the_middle(key: str) -> None:
        nonlocal reads
        look()
        reads += key == "big"
        if reads == 10:
            task.cancel()

    source.before_read = stop_in_the_middle
    async with Index(tmp_path / "index.db") as index:
        task = asyncio.create_task(sync_round("d", source, target, index, RoundOptions(parallel=1), progress))
        with pytest.raises(asyncio.CancelledError):
            await task
    reached = shares[-1]
    assert 0 < reached < 1

    progress, trend, reads = Progress(), Trend(), 100
    source.before_read = lambda key: look()
    before = len(shares)
    async with Index(tmp_path / "index.db") as index:
        result = await sync_round("d", source, target, index, RoundOptions(parallel=1), progress)
    look()
    assert shares[before] >= reached
    assert shares[before:] == sorted(shares[before:])
    assert shares[-1] == 1.0
    assert progress.copied_bytes < len(body), "what had arrived is no rate"
    assert progress.copied_bytes == progress.to_copy_bytes
    assert result.copied == 2
    assert progress.left_objects == 0


async def test_failures_and_what_vanished_are_not_left_to_do(tmp_path: Path) -> None:
    source, target = MemoryStore("a", {f"k{i}": b"x" * 100 for i in range(6)}), MemoryStore("b")

    def lose(key: str) -> None:
        if key == "k1" and key in source.data:
            source.remove(key)

    def cut(key: str, body: bytes) -> bytes:
        return body[:-1] if key == "k2" else body

    source.before_read, source.damage = lose, cut
    progress, trend = Progress(), Trend()
    async with Index(tmp_path / "index.db") as index:
        result: RoundResult = await sync_round("d", source, target, index, RoundOptions(parallel=2), progress)
    assert (result.failed, result.vanished, result.copied) == (1, 1, 4)
    assert progress.left_objects == 0
    assert (progress.to_copy_bytes - progress.copied_bytes - progress.failed_bytes, progress.failed_bytes) == (0, 100)
    assert [f.key for f in progress.failures] == ["k2"]
    assert sum(progress.proofs.values()) == 4
    assert (result.found_objects, result.found_bytes) == (6, 600)
    trend.ended(1.0, result)
    assert trend.standing.share == pytest.approx(4 / 5)
    assert not trend.standing.is_followed
