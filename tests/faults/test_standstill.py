"""The real engine process stopped with SIGSTOP for a minute in the middle of a rollback."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.snapshot import State
from tests.faults.small_world import SmallWorld
from tests.faults.table import fault_case
from tests.faults.test_failpoints import until
from tests.faults.test_window import CONFIRM, assert_home, dual, pid_of, running, seen

STOPPED = 60.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SmallWorld]:
    made = SmallWorld(tmp_path)
    with made.served():
        yield made


@pytest.mark.slow
@pytest.mark.timeout(300)
@fault_case("real: the engine is stopped for 60 s in a rollback (SIGSTOP)", "the rollback goes on, no client sees an error")
async def test_a_stopped_engine_finishes_its_rollback_when_it_may_run_again(world: SmallWorld) -> None:
    async with running(world) as client:
        await dual(client)
        pid = await pid_of(client)
        rollback = asyncio.create_task(client.command("rollback", CONFIRM))
        await seen(client, lambda now: now.state in (State.ROLLING_BACK, State.ROLLED_BACK))
        os.kill(pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(STOPPED)
        finally:
            os.kill(pid, signal.SIGCONT)
        assert (await rollback)["state"] == "rolled_back"
        await until(client, State.ROLLED_BACK)
        assert_home(world)
    assert world.errors == 0
    world.journal()
