"""Two routes by two real HAProxies, of which one has died: the other goes home, and it follows by itself when it is back."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from backends.errors import RefusedByRule
from backends.snapshot import State
from tests.faults.table import fault_case
from tests.faults.test_failpoints import advance, until
from tests.faults.test_haproxy import World, armed, gone, started
from tests.peers.haproxy import Haproxy, haproxy


class TwoRoutes(World):
    """As the world of one HAProxy, with a second that stands before the same two sides."""

    other: Haproxy

    def write_plan(self) -> Path:
        path = super().write_plan()
        plan = json.loads(path.read_text())
        first = plan["routes"][0]
        second = json.loads(json.dumps(first)) | {"name": "batch", "workload": "batch"}
        second["haproxy"] |= {"socket": str(self.other.socket), "state_file": str(self.other.state_file)}
        second["probe"]["url"] = self.other.url
        plan["workloads"].append({"name": "batch", "class": "batch"})
        plan["routes"].append(second)
        path.write_text(json.dumps(plan))
        return path


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[TwoRoutes]:
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(haproxy(tmp_path / "ha"))
        made = TwoRoutes(tmp_path, proxy)
        made.other = await stack.enter_async_context(haproxy(tmp_path / "other"))
        made.write_plan()
        yield made


async def share_of(proxy: Haproxy) -> float:
    rows = [line.split() for line in (await proxy.tell("show servers state chat")).splitlines() if "chat" in line]
    weights = {row[3]: 0 if int(row[6]) else int(row[7]) for row in rows}
    return 100 * weights["t0"] / sum(weights.values())


@pytest.mark.slow
@fault_case("real: of two HAProxies one is dead in a rollback", "the other goes home; it follows by itself when it is back")
async def test_a_dead_haproxy_keeps_the_other_route_from_nothing(world: TwoRoutes) -> None:
    await started(world)
    async with world.client() as client:
        await armed(client)
        await advance(client)
        await advance(client)
        await until(client, State.SOAKING)
        assert (await world.share(), await share_of(world.other)) == (25, 25)
        await world.other.kill()
        with pytest.raises(RefusedByRule, match="all is home but batch, tried again and again"):
            await client.command("rollback", {"confirm": "small", "reason": "test"})
        assert await world.share() == 0
        now = await client.snapshot()
        assert now.state is State.ROLLBACK_BLOCKED
        assert any("all is home but batch" in e.text for e in now.events)
        await world.other.start()
        await until(client, State.ROLLED_BACK)
        assert (await world.share(), await share_of(world.other)) == (0, 0)
        await client.command("down", {})
    await gone(world)
    world.journal()
