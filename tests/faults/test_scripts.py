"""Scripts are pinned at arming: another one moves nothing forward, and never keeps a rollback from running."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.errors import RefusedByRule
from backends.snapshot import State
from tests.faults.small_world import SmallWorld, client_of, start, wait_until_gone
from tests.faults.test_failpoints import advance, until


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SmallWorld]:
    made = SmallWorld(tmp_path)
    with made.served():
        yield made


async def test_a_script_changed_after_arming_holds_and_a_rollback_still_runs(world: SmallWorld) -> None:
    start(world)
    async with client_of(world) as client:
        for _ in range(5):
            await advance(client)
        await until(client, State.SOAKING)
        script = world.folder / "route.py"
        script.write_text(script.read_text() + "# changed\n")
        with pytest.raises(RefusedByRule, match=r"route\.py: not the script that was armed"):
            await advance(client)
        assert world.weights["chat"] == 50
        assert (await client.snapshot()).held
        await client.command("rollback", {"confirm": "small"})
        assert world.weights == {"chat": 0, "jobs": 0}
        await client.command("down", {})
    wait_until_gone(world)
