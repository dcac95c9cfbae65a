"""Connections that a sync makes beside its first look at the lease."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backends.plan.load import parse_plan
from backends.plan.models import Plan
from backends.ssh.errors import HostUnreachable
from backends.ssh.models import SshSettings
from backends.ssh.pool import SshPool
from console.commands.transfer_bar import connecting
from tests.peers.openssh import OpenSsh, openssh

PLAN = """
version: 1
name: chat
legacy: {provider: a}
target: {provider: b}
stores:
  old: {url: "ssh://box/old/"}
  new: {url: "file:///new/"}
  more: {url: "file:///more/"}
datasets: [{name: corpus, from: old, to: new}, {name: other, from: old, to: more}]
"""


@pytest.fixture
def plan() -> Plan:
    found = parse_plan(PLAN, Path("plan.yaml"))
    assert found.plan is not None, found.problems
    return found.plan


@pytest.fixture
async def sshd(tmp_path: Path) -> AsyncIterator[OpenSsh]:
    async with openssh(tmp_path / "sshd") as server:
        yield server


async def test_a_host_is_called_before_anybody_asks_for_it(plan: Plan, sshd: OpenSsh) -> None:
    called = asyncio.Event()

    def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        called.set()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        host = OpenSsh(sshd.folder, server.sockets[0].getsockname()[1]).host()
        async with SshPool(sshd.settings, [host]) as pool, connecting(pool, plan, plan.datasets), asyncio.timeout(20):
            await called.wait()


async def test_a_host_of_two_datasets_is_entered_once(plan: Plan, sshd: OpenSsh) -> None:
    async with SshPool(sshd.settings, [sshd.host()]) as pool, connecting(pool, plan, plan.datasets):
        client = await pool.sftp("box")
        assert await client.exists("/")
        assert (sshd.folder / "sshd.log").read_text().count("Accepted publickey") == 1


async def test_a_host_that_cannot_be_reached_is_told_to_who_needs_it_and_to_nobody_before(plan: Plan, sshd: OpenSsh) -> None:
    settings = SshSettings(config=sshd.config, known_hosts=sshd.known_hosts)
    closed = OpenSsh(sshd.folder, 1).host()
    async with SshPool(settings, [closed]) as pool:
        async with connecting(pool, plan, plan.datasets):
            with pytest.raises(HostUnreachable, match="box"):
                await pool.sftp("box")
        async with connecting(pool, plan, plan.datasets):
            pass  # over before it has begun
    async with connecting(None, plan, plan.datasets):
        pass
