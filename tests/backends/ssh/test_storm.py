"""Hundreds of hosts behind one jump host of Debian's own limits: none is refused for a storm of our own making."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from backends.ssh.errors import SshError
from backends.ssh.models import SshHost, SshSettings
from backends.ssh.pool import SshPool
from tests.peers.openssh import OpenSsh, openssh

HOSTS = 120
DEBIANS_OWN = "MaxStartups 10:30:100\nMaxSessions 10\n"


async def reach_all(settings: SshSettings, hosts: list[SshHost]) -> list[SshError]:
    """Connects to all at once; what was refused."""
    async with SshPool(settings, hosts) as pool:
        ended = await asyncio.gather(*(pool.connect(host.name) for host in hosts if host.name != "jump"), return_exceptions=True)
    faults = [error for error in ended if isinstance(error, BaseException)]
    assert all(isinstance(error, SshError) for error in faults), faults
    return [error for error in faults if isinstance(error, SshError)]


def dropped(server: OpenSsh) -> list[str]:
    """What sshd's log says of connections that it would not take."""
    lines = (server.folder / "sshd.log").read_text(errors="replace").splitlines()
    return [line for line in lines if "MaxStartups" in line or "drop connection" in line]


@pytest.mark.slow
async def test_many_hosts_behind_one_jump_host_are_all_reached_and_none_is_refused(tmp_path: Path) -> None:
    async with openssh(tmp_path / "jump", options=DEBIANS_OWN) as jump, openssh(tmp_path / "hosts") as target:
        known = tmp_path / "known_hosts"
        known.write_text(jump.known_hosts.read_text() + target.known_hosts.read_text())
        config = tmp_path / "ssh_config"
        config.write_text(f"Host *\n  IdentityFile {jump.folder}/id_ed25519\n  IdentityFile {target.folder}/id_ed25519\n")
        hosts = [jump.host("jump"), *(target.host(f"h{i:03}", via="jump") for i in range(HOSTS))]
        assert await reach_all(SshSettings(config=config, known_hosts=known, connect_timeout=60), hosts) == []
        assert dropped(jump) == []
        assert dropped(target) == []
