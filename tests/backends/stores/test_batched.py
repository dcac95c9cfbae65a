"""Blocking calls in batches: each gets its own result, a slow one holds up nobody else for long, none is lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from backends.stores.batched import BatchThreads


@pytest_asyncio.fixture
async def threads() -> AsyncIterator[BatchThreads]:
    threads = BatchThreads(3, "test")
    yield threads
    await threads.close()


async def test_every_call_gets_its_own_result_or_error(threads: BatchThreads) -> None:
    def half(number: int) -> int:
        if number % 7 == 0:
            raise ValueError(number)
        return number * 2

    for _ in range(20):
        found = await asyncio.gather(*(threads.run(half, n) for n in range(100)), return_exceptions=True)
        for number, result in enumerate(found):
            assert result == number * 2 or (isinstance(result, ValueError) and result.args == (number,))


async def test_many_short_calls_wake_few_threads(threads: BatchThreads) -> None:
    names = await asyncio.gather(*(threads.run(threading.get_ident) for _ in range(50)))
    assert len(set(names)) == 1


async def test_a_slow_call_holds_up_neither_those_after_it_nor_what_was_done_before_it(threads: BatchThreads) -> None:
    gate = threading.Event()
    before = asyncio.create_task(threads.run(lambda: "before"))
    slow = asyncio.create_task(threads.run(gate.wait))
    after = [asyncio.create_task(threads.run(lambda n=n: n)) for n in range(5)]  # type: ignore[misc]
    async with asyncio.timeout(5):
        assert await before == "before"
        assert await asyncio.gather(*after) == list(range(5))
    assert not slow.done()
    gate.set()
    assert await slow is True


async def test_what_is_slow_takes_as_many_threads_as_there_are_and_no_more(threads: BatchThreads) -> None:
    gate, inside, most = threading.Event(), 0, 0
    lock, all_in = threading.Lock(), threading.Event()

    def wait() -> None:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
            if inside == 3:
                all_in.set()
        gate.wait()
        with lock:
            inside -= 1

    waiting = [asyncio.create_task(threads.run(wait)) for _ in range(9)]
    assert await asyncio.to_thread(all_in.wait, 5)
    gate.set()
    await asyncio.gather(*waiting)
    assert most == 3


async def test_who_is_cancelled_takes_nobody_along(threads: BatchThreads) -> None:
    gate = threading.Event()
    slow = asyncio.create_task(threads.run(gate.wait))
    dropped = asyncio.create_task(threads.run(lambda: "dropped"))
    kept = asyncio.create_task(threads.run(lambda: "kept"))
    await asyncio.sleep(0)
    dropped.cancel()
    gate.set()
    assert await kept == "kept"
    assert await slow is True
    with pytest.raises(asyncio.CancelledError):
        await dropped


async def test_closing_waits_for_what_is_under_way() -> None:
    threads, gate, ended = BatchThreads(2, "test"), threading.Event(), threading.Event()

    def wait() -> None:
        gate.wait()
        ended.set()

    task = asyncio.create_task(threads.run(wait))
    await asyncio.sleep(0)
    closing = asyncio.create_task(threads.close())
    await asyncio.sleep(0)
    gate.set()
    await closing
    assert ended.is_set()
    await task
