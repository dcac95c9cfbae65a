"""Hands on a real engine: keys that act once across kill -9, and operators of another uid on its socket."""

from __future__ import annotations

import asyncio
import grp
import json
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.engine.client import EngineClient
from backends.engine.errors import EngineGone
from backends.errors import RefusedByRule
from tests.faults.small_world import SmallWorld, client_of, start, wait_until_gone

OTHER = "nobody"


@pytest.fixture
def world() -> Iterator[SmallWorld]:
    with tempfile.TemporaryDirectory(prefix="cutover-hands-") as made:
        Path(made).chmod(0o711)
        small = SmallWorld(Path(made))
        with small.served():
            yield small


def plan_with(world: SmallWorld, **more: Any) -> None:
    world.plan.write_text(json.dumps(json.loads(world.plan.read_text()) | more))


def as_other(world: SmallWorld, command: str, args: dict[str, Any] | None = None) -> Any:
    """A client of another uid, its answer or its error."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    other = pwd.getpwnam(OTHER)
    argv = ["curl", "-sS", "-m", "20", "--unix-socket", str(world.state / "engine.sock")]
    if command == "snapshot":
        argv += ["http://engine/v1/snapshot"]
    else:
        argv += [f"http://engine/v1/commands/{command}", "-d", json.dumps(args or {})]
    done = subprocess.run(
        argv, capture_output=True, text=True, timeout=60, user=other.pw_uid, group=other.pw_gid, extra_groups=[], check=True
    )  # fmt: skip
    return json.loads(done.stdout)


async def up(world: SmallWorld) -> None:
    """Start the engine and wait until it has recovered."""
    start(world)
    async with client_of(world) as client:
        await recovered(client)


async def recovered(client: EngineClient) -> None:
    async with asyncio.timeout(30):
        async for now in client.events():
            if now.engine is not None and not now.engine.recovering:
                return


@pytest.mark.parametrize("point", ["command.after-journaled", "state.preparing.after", "command.before-ended"])
async def test_a_key_whose_engine_was_killed_never_acts_twice(world: SmallWorld, point: str) -> None:
    start(world, failpoint=point)
    async with client_of(world) as client:
        await recovered(client)
        with pytest.raises(EngineGone):
            await client.command("advance", {"idempotency_key": "deploy-7"})
    wait_until_gone(world)
    before = world.journal().phase
    await up(world)
    async with client_of(world) as client:
        with pytest.raises(RefusedByRule, match="cut off by a restart"):
            await client.command("advance", {"idempotency_key": "deploy-7"})
        assert (await client.snapshot()).phase == before


async def test_a_keyed_answer_is_the_same_after_kill_9(world: SmallWorld) -> None:
    await up(world)
    async with client_of(world) as client:
        first = await client.command("advance", {"idempotency_key": "deploy-7"})
        pid = (await client.snapshot()).engine
    assert pid is not None
    os.kill(pid.pid, 9)
    wait_until_gone(world)
    await up(world)
    async with client_of(world) as client:
        assert await client.command("advance", {"idempotency_key": "deploy-7"}) == first | {"repeated": True}
    assert world.journal().phase == "development"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_operators_of_another_uid_act_or_observe_as_the_plan_says(world: SmallWorld) -> None:
    group = grp.getgrgid(pwd.getpwnam(OTHER).pw_gid).gr_name
    plan_with(world, operators_group=group, operators={"acts": [OTHER]})
    await up(world)
    modes = {
        p.name: stat.S_IMODE(p.stat().st_mode) for p in (world.state, world.state / "engine.sock", world.state / "journal.db")
    }
    assert modes == {"state": 0o750, "engine.sock": 0o660, "journal.db": 0o600}
    async with client_of(world) as client:
        await client.command("seat", {})
        assert as_other(world, "snapshot")["name"] == "small"
        refused = as_other(world, "advance")
        assert refused["refused_by"] == "SEAT"
        assert "held by root" in refused["error"]["message"]
        assert as_other(world, "seat")["seat"] == OTHER
        with pytest.raises(RefusedByRule, match="held by nobody"):
            await client.command("advance", {})
        assert as_other(world, "advance")["phase"] == "development"
        told = (await client.snapshot()).events
        assert any(e.text == "seat taken over by nobody from root" for e in told)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_a_member_who_is_not_listed_only_watches(world: SmallWorld) -> None:
    plan_with(world, operators_group=grp.getgrgid(pwd.getpwnam(OTHER).pw_gid).gr_name)
    await up(world)
    assert as_other(world, "snapshot")["name"] == "small"
    for command in ("advance", "hold", "rollback", "seat"):
        body = {"confirm": "small"} if command == "rollback" else {}
        assert as_other(world, command, body)["refused_by"] == "SEAT"
    m = world.journal()
    assert (m.seat, m.holds, m.state) == (None, [], "planned")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_without_a_group_the_folder_is_the_owners_alone_again(world: SmallWorld) -> None:
    group = grp.getgrgid(pwd.getpwnam(OTHER).pw_gid).gr_name
    plan_with(world, operators_group=group)
    await up(world)
    async with client_of(world) as client:
        await client.command("down", {})
    wait_until_gone(world)
    plain_plan = json.loads(world.plan.read_text())
    del plain_plan["operators_group"]
    world.plan.write_text(json.dumps(plain_plan))
    await up(world)
    assert stat.S_IMODE(world.state.stat().st_mode) == 0o700
    assert stat.S_IMODE((world.state / "engine.sock").stat().st_mode) == 0o600


async def test_a_group_that_this_machine_does_not_have_keeps_the_engine_from_starting(world: SmallWorld) -> None:
    plan_with(world, operators_group="no-such-group")
    with pytest.raises(Exception, match="no group no-such-group"):
        start(world)
