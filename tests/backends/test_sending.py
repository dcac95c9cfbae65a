"""Asked before anything is sent: what is refused does not start, and what asking itself sends is not asked about."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.children import Children
from backends.errors import RefusedByRule
from backends.sending import asking
from backends.ssh.pool import SshPool
from tests.peers.openssh import openssh


async def refuse() -> None:
    raise RefusedByRule("LEASE", "somebody else has it")


async def test_no_command_starts_where_it_is_refused(tmp_path: Path) -> None:
    with asking(refuse), pytest.raises(RefusedByRule):
        await Children().run(["touch", "made"], cwd=tmp_path, timeout=5)
    assert not (tmp_path / "made").exists()
    await Children().run(["touch", "made"], cwd=tmp_path, timeout=5)
    assert (tmp_path / "made").exists()


async def test_no_command_starts_on_a_host_where_it_is_refused(tmp_path: Path) -> None:
    async with openssh(tmp_path / "sshd") as server, SshPool(server.settings, [server.host()]) as pool:
        with asking(refuse), pytest.raises(RefusedByRule):
            await pool.run("box", ["touch", str(tmp_path / "made")])
        assert not (tmp_path / "made").exists()


async def test_what_asking_sends_is_not_asked_about(tmp_path: Path) -> None:
    asked = 0

    async def by_a_command() -> None:
        nonlocal asked
        asked += 1
        await Children().run(["true"], cwd=tmp_path, timeout=5)

    with asking(by_a_command):
        await Children().run(["true"], cwd=tmp_path, timeout=5)
        await Children().run(["true"], cwd=tmp_path, timeout=5)
    assert asked == 2
