"""kill -9 while a workload is stopped and started that is a partition of a real Slurm, over a real sshd (cutover.md, section 5).

After the restart one partition takes work and the other does not, the token says which, and a rollback opens legacy's again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from backends.engine.client import EngineClient
from backends.engine.errors import EngineGone
from backends.snapshot import State
from tests.faults.small_world import SmallWorld, client_of, start, wait_until_gone
from tests.faults.table import fault_case
from tests.faults.test_failpoints import advance, until
from tests.faults.test_window import CONFIRM
from tests.peers.openssh import OpenSsh, openssh
from tests.peers.slurm import Slurm, slurm

PARTITIONS = {"legacy": "old", "target": "new"}
MOMENTS = ("after-intent", "after-send", "after-observed")
POINTS = [f"{kind}.{m}" for kind in ("quiesce.forward", "resume.safety", "quiesce.backward", "resume.backward") for m in MOMENTS]


class SlurmWorld(SmallWorld):
    """The writing workload is partition `old` on legacy and `new` on target, of one Slurm behind one sshd."""

    def __init__(self, folder: Path, cluster: Slurm, sshd: OpenSsh) -> None:
        super().__init__(folder)
        self.cluster, self.sshd = cluster, sshd

    def write_plan(self, port: int, **more: Any) -> None:
        super().write_plan(port)
        plan = json.loads(self.plan.read_text())
        plan["ssh"] = {"config": str(self.sshd.config), "known_hosts": str(self.sshd.known_hosts)}
        where = {"address": self.sshd.address, "port": self.sshd.port, "user": self.sshd.user}
        for side in PARTITIONS:
            plan[side]["hosts"] = [{"name": f"{side}-login"} | where]
        train = plan["workloads"][1]
        train["runs_on"] = {side: [f"{side}-login"] for side in PARTITIONS}
        ways = {side: {"slurm": name, "timeout": "20s"} for side, name in PARTITIONS.items()}
        train["quiesce"] = ways["legacy"] | ways
        self.plan.write_text(json.dumps(plan | more, indent=1))

    async def open(self) -> dict[str, bool]:
        """Which side's partition takes and starts work."""
        return {side: await self.cluster.state(name) == "UP" for side, name in PARTITIONS.items()}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Slurm]:
    async with slurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest_asyncio.fixture
async def world(tmp_path: Path, cluster: Slurm) -> AsyncIterator[SlurmWorld]:
    async with openssh(tmp_path / "sshd", env=cluster.env) as sshd:
        made = SlurmWorld(tmp_path, cluster, sshd)
        await cluster.set_state("new", "INACTIVE")
        with made.served():
            yield made
    await cluster.reset()


async def whole_way(world: SlurmWorld, client: EngineClient) -> None:
    """Planned to dual with a job that is awaited, and all the way back with another one."""
    for _ in range(4):
        await advance(client)
    await world.cluster.submit("old", "sleep 2")
    for _ in range(2):
        await advance(client)
    await until(client, State.DUAL)
    await world.cluster.submit("new", "sleep 2")
    await client.command("rollback", CONFIRM)


@pytest.mark.slow
@pytest.mark.parametrize("point", POINTS)
@fault_case("real Slurm: kill -9 at {point}", "one partition takes work, the token says which; a rollback opens legacy's")
async def test_killed_at(world: SlurmWorld, point: str) -> None:
    await asyncio.to_thread(start, world, point)
    async with client_of(world) as client:
        with pytest.raises(EngineGone):
            await whole_way(world, client)
    await asyncio.to_thread(wait_until_gone, world)
    was_going_back = world.journal().state is State.ROLLING_BACK
    await asyncio.to_thread(start, world)
    async with client_of(world) as client:
        settled = (State.ROLLED_BACK,) if was_going_back else (State.ARMED, State.SOAKING, State.DUAL)
        await until(client, *settled)
        writer = world.journal().token("ckpt").writer
        assert await world.open() == {"legacy": writer == "legacy", "target": writer == "target"}
        if not was_going_back:
            await client.command("rollback", CONFIRM)
        assert await world.open() == {"legacy": True, "target": False}
        assert world.weights == {"chat": 0, "jobs": 0}
        assert world.errors == 0
        await client.command("down", {"anyway": True})
    await asyncio.to_thread(wait_until_gone, world)
    world.journal()
