"""Bandwidth, streams and patience, with a clock of their own."""

from __future__ import annotations

import asyncio
import os

import pytest

from backends.ssh.errors import HostKeyRefused, LinkLost
from backends.stores.errors import StoreBusy, StoreDenied, StoreUnreachable
from backends.transfer.pace import Bandwidth, Lane, Pace, Patience, Streams, jittered, pours_for


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_all_streams_together_stay_within_the_bandwidth() -> None:
    clock = Clock()
    limit = Bandwidth(8_000_000, clock)  # one megabyte a second
    waits = [limit.wait_for(500_000) for _ in range(6)]
    assert waits == pytest.approx([0, 0.25, 0.75, 1.25, 1.75, 2.25])  # a quarter of a second is let through at once


def test_an_idle_line_saves_up_no_more_than_a_short_burst() -> None:
    clock = Clock()
    limit = Bandwidth(8_000_000, clock)
    limit.wait_for(1_000_000)
    clock.now += 3600
    limit.wait_for(1_000_000)
    assert limit.wait_for(1) == pytest.approx(0.75)


def test_without_a_limit_nobody_waits() -> None:
    assert Bandwidth(None).wait_for(1 << 40) == 0.0


async def test_a_busy_store_halves_the_streams_once_a_second_and_they_come_back() -> None:
    clock = Clock()
    streams = Streams(16, clock)
    for _ in range(5):
        streams.busy()
    assert streams.limit == 8
    clock.now += 1.0
    streams.busy()
    assert streams.limit == 4
    for _ in range(200):
        streams.good()
    assert streams.limit == 16


async def test_never_more_at_once_than_there_are_streams_and_none_is_lost_by_cancelling() -> None:
    streams, active, most = Streams(3).lane(), 0, 0

    async def use() -> None:
        nonlocal active, most
        async with streams:
            active += 1
            most = max(most, active)
            try:
                await asyncio.sleep(0)
            finally:
                active -= 1

    tasks = [asyncio.create_task(use()) for _ in range(40)]
    await asyncio.sleep(0)
    for task in tasks[::3]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.gather(*(use() for _ in range(20)))
    assert most == 3


async def test_patience_waits_as_long_as_a_busy_store_asks() -> None:
    waited: list[float] = []

    async def sleep(seconds: float) -> None:
        waited.append(seconds)

    answers = iter([StoreBusy("a", 7.0), StoreBusy("a", 7.0), None])

    async def attempt() -> str:
        if (error := next(answers)) is not None:
            raise error
        return "done"

    assert await Patience(Streams(4).lane(), sleep).call(attempt) == "done"
    assert all(3.5 <= seconds <= 10.5 for seconds in waited)
    assert len(waited) == 2


@pytest.mark.parametrize(
    ("error", "tries"),
    [
        (StoreUnreachable("a"), 8),
        (LinkLost("a"), 8),
        (TimeoutError(), 8),
        (StoreDenied("a"), 1),
        (HostKeyRefused("a"), 1),
        (StoreBusy("a"), 12),
    ],
)
async def test_only_passing_errors_are_tried_again_and_not_for_ever(error: Exception, tries: int) -> None:
    count = 0

    async def sleep(seconds: float) -> None:
        assert seconds > 0

    async def attempt() -> None:
        nonlocal count
        count += 1
        raise error

    with pytest.raises(type(error)):
        await Patience(Streams(4).lane(), sleep).call(attempt)
    assert count == tries


def test_jitter_spreads_and_has_an_end() -> None:
    values = [jittered(4.0) for _ in range(100)]
    assert 2.0 <= min(values) < max(values) <= 6.0
    assert max(jittered(1e9) for _ in range(100)) <= 30.0


async def test_lanes_share_what_is_free_and_who_has_fewer_is_next() -> None:
    streams = Streams(4)
    one, other = streams.lane("one"), streams.lane("other")
    release = asyncio.Event()

    async def hold(lane: Lane) -> None:
        async with lane:
            await release.wait()

    async with asyncio.TaskGroup() as group:
        for _ in range(8):
            group.create_task(hold(one))
        await asyncio.sleep(0)
        assert (one.active, other.active) == (4, 0)
        for _ in range(2):
            group.create_task(hold(other))
        await asyncio.sleep(0)
        streams.reach(6)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (one.active, other.active) == (4, 2)
        release.set()
    assert streams.active == 0


async def test_of_a_datasets_objects_that_with_the_fewest_streams_is_next_and_other_datasets_lose_nothing_by_it() -> None:
    streams = Streams(6)
    release = asyncio.Event()

    async def hold(lane: Lane) -> None:
        async with lane:
            await release.wait()

    with streams.own_lane("one") as first, streams.own_lane("one") as second, streams.own_lane("other") as third:
        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(hold(first))
            await asyncio.sleep(0)
            assert first.active == 6
            for lane in (second, third):
                for _ in range(8):
                    group.create_task(hold(lane))
            await asyncio.sleep(0)
            streams.reach(12)
            for _ in range(3):
                await asyncio.sleep(0)
            assert (first.active, second.active, third.active) == (6, 0, 6)
            streams.reach(16)
            for _ in range(3):
                await asyncio.sleep(0)
            assert (first.active, second.active, third.active) == (6, 2, 8)
            release.set()
    assert streams.active == 0
    assert not streams._own


def test_few_streams_write_one_near_file_and_many_a_far_one() -> None:
    near, far, said = Pace(None, None), Pace(None, None), Pace(10, None)
    for pace, latency in ((near, 0.002), (far, 0.06), (said, 0.002)):
        pace.fit(latency)
    assert [(p.writers, p.files.limit) for p in (near, far, said)] == [(3, 4), (32, 8), (10, 4)]
    assert [p.pours.limit for p in (near, far, said)] == [pours_for(os.cpu_count() or 1), 32, 10]
    assert [pours_for(cores) for cores in (1, 2, 3, 64)] == [4, 4, 6, 8]


def test_latency_decides_how_many_are_under_way_where_the_plan_does_not() -> None:
    near, far = Pace(None, None), Pace(None, None)
    near.fit(0.002)
    far.fit(0.06)
    assert (near.streams.limit, near.parts.limit, near.large.limit) == (16, 8, 2)
    assert (far.streams.limit, far.parts.limit, far.large.limit) == (240, 32, 8)
    said = Pace(10, None)
    said.fit(0.06)
    assert (said.streams.limit, said.parts.limit) == (10, 10)


def test_a_store_that_asked_for_less_is_not_reached_for_with_more() -> None:
    pace = Pace(None, None)
    pace.streams.busy()
    pace.fit(0.06)
    assert pace.streams.limit == 8
