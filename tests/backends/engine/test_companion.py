"""Waiting for a process that is not our child."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys

import pytest

from backends.engine.companion import has_ended


def started(code: str) -> subprocess.Popen[bytes]:
    """A process of its own that is not asyncio's child to wait for."""
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)


@pytest.mark.parametrize("way", ["pidfd", "asked"])
async def test_it_returns_when_the_process_has_ended_and_not_before(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if way == "asked":
        monkeypatch.setattr("backends.engine.companion.PERIOD", 0.05)
        monkeypatch.delattr(os, "pidfd_open")
    elif not hasattr(os, "pidfd_open"):
        pytest.skip("this system has no pidfd_open")
    process = started("input()")
    task = asyncio.create_task(has_ended(process.pid))
    try:
        await asyncio.wait([task], timeout=0.3)
        assert not task.done()
    finally:
        process.communicate(b"\n")
    await asyncio.wait_for(task, 30)


async def test_a_process_that_is_not_there_has_ended() -> None:
    process = started("")
    process.communicate()
    await asyncio.wait_for(has_ended(process.pid), 30)


async def test_cancelled_it_leaves_no_descriptor_open() -> None:
    before = len(os.listdir("/proc/self/fd"))
    task = asyncio.create_task(has_ended(os.getpid()))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert len(os.listdir("/proc/self/fd")) == before
