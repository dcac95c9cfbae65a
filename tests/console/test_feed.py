"""The feed: newest first, never faster than the screen can use, back after every loss."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from backends.snapshot import Snapshot
from console import feed as feeds
from console.feed import Feed
from tests.console.link import MadeLink
from tests.fixtures.snapshots import nothing


def numbered(seq: int) -> Snapshot:
    return nothing().model_copy(update={"seq": seq})


class Heard:
    """What a feed told, and a way to wait for it."""

    def __init__(self) -> None:
        self.seqs: list[int] = []
        self.lost: list[str] = []
        self._news = asyncio.Event()

    def arrived(self, snapshot: Snapshot) -> None:
        self.seqs.append(snapshot.seq)
        self._news.set()

    def gone(self, reason: str) -> None:
        self.lost.append(reason)
        self._news.set()

    async def until(self, *, seq: int | None = None, lost: int = 0) -> None:
        async with asyncio.timeout(20):
            while (seq is not None and seq not in self.seqs) or len(self.lost) < lost:
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def following(link: MadeLink, spacing: float = 0.0) -> AsyncIterator[tuple[Feed, Heard]]:
    heard = Heard()
    feed = Feed(link, arrived=heard.arrived, lost=heard.gone, spacing=spacing)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(feed.run())
        yield feed, heard
        task.cancel()


async def test_the_newest_snapshot_wins_where_they_come_too_fast() -> None:
    link = MadeLink(numbered(0))
    async with following(link, spacing=0.2) as (_, heard):
        await heard.until(seq=0)
        for seq in range(1, 60):
            link.tell(numbered(seq))
        await heard.until(seq=59)
        assert heard.seqs == [0, 59]


async def test_an_engine_that_comes_back_is_heard_again() -> None:
    link = MadeLink(numbered(1))
    async with following(link) as (feed, heard):
        await heard.until(seq=1)
        link.go()
        await heard.until(lost=1)
        link.come()
        link.now = numbered(2)
        feed.retry_now()
        await heard.until(seq=2)
    assert heard.lost[0] == "the engine does not answer"


async def test_a_silent_stream_is_asked_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    link = MadeLink(numbered(1))
    monkeypatch.setattr(feeds, "SILENCE", 0.05)
    async with following(link) as (_, heard):
        await heard.until(seq=1)
        link.now = numbered(2)  # told to nobody
        await heard.until(seq=2)
    assert heard.lost == []


async def test_the_last_word_before_the_end_is_handed_on() -> None:
    link = MadeLink(numbered(1))
    async with following(link, spacing=30) as (_, heard):
        await heard.until(seq=1)
        link.tell(numbered(2))
        link.go()
        await heard.until(lost=1)
        assert heard.seqs == [1, 2]
