"""The operator's own ssh_config, against a real sshd: Match, certificates, the agent."""

from __future__ import annotations

import asyncio
import os
import shutil
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest

from backends.ssh.errors import AuthFailed
from backends.ssh.pool import SshPool
from tests.peers.openssh import OpenSsh, openssh
from tests.peers.process import running


async def user_of(sshd: OpenSsh, config: str, folder: Path, known_hosts: Path | None = None) -> str:
    """Who we are there, by this ssh_config."""
    path = folder / "operators_config"
    path.write_text(config)
    settings = replace(sshd.settings, config=path, known_hosts=known_hosts or sshd.known_hosts)
    async with SshPool(settings, [sshd.host()]) as pool:
        return (await pool.run("box", ["id", "-un"])).stdout.decode().strip()


async def test_a_match_block_gives_the_key(sshd: OpenSsh, tmp_path: Path) -> None:
    wanted = f"IdentityFile {sshd.folder}/id_ed25519\n  IdentitiesOnly yes\n"
    assert await user_of(sshd, f"Match host 127.0.0.1\n  {wanted}", tmp_path) == sshd.user
    with pytest.raises(AuthFailed):
        await user_of(sshd, f"Host *\n  IdentitiesOnly yes\n  IdentityFile none\nMatch host elsewhere\n  {wanted}", tmp_path)


async def test_a_users_certificate_lets_in_where_the_key_alone_does_not(tmp_path: Path) -> None:
    authority, key = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    (tmp_path / "ca.pub").write_bytes(authority.export_public_key())
    mine = tmp_path / "mine"
    mine.touch(mode=0o600)
    key.write_private_key(mine)
    async with openssh(tmp_path / "sshd", options=f"TrustedUserCAKeys {tmp_path}/ca.pub\n") as server:
        config = f"Host *\n  IdentitiesOnly yes\n  IdentityFile {mine}\n"
        with pytest.raises(AuthFailed):
            await user_of(server, config, tmp_path)
        certificate = authority.generate_user_certificate(key, "operator", principals=[server.user])
        certificate.write_certificate(tmp_path / "mine-cert.pub")
        assert await user_of(server, config + f"  CertificateFile {tmp_path}/mine-cert.pub\n", tmp_path) == server.user


async def test_a_hosts_certificate_is_checked_against_its_authority(tmp_path: Path) -> None:
    authority = asyncssh.generate_private_key("ssh-ed25519")
    async with openssh(tmp_path / "first") as plain:
        host = asyncssh.read_private_key(plain.folder / "host_key")
    certificate = authority.generate_host_certificate(host, "host", principals=["127.0.0.1"])
    certificate.write_certificate(tmp_path / "host_key-cert.pub")
    shutil.copy(plain.folder / "host_key", tmp_path / "certified")
    (tmp_path / "certified").chmod(0o600)
    options = f"HostKey {tmp_path}/certified\nHostCertificate {tmp_path}/host_key-cert.pub\n"
    async with openssh(tmp_path / "sshd", options=options) as server:
        known = tmp_path / "known"
        known.write_text(f"@cert-authority [127.0.0.1]:{server.port} {authority.export_public_key().decode()}")
        assert await user_of(server, server.config.read_text(), tmp_path, known) == server.user


async def test_a_key_that_only_the_agent_holds_opens_the_host(
    sshd: OpenSsh, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("ssh-agent") is None or shutil.which("ssh-add") is None:
        pytest.skip("program missing: ssh-agent")
    socket = tmp_path / "agent"

    async def ready() -> bool:
        return socket.exists()

    async with running(["ssh-agent", "-D", "-a", str(socket)], log=tmp_path / "agent.log", ready=ready, seconds=20):
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        adding = await asyncio.create_subprocess_exec("ssh-add", "-q", str(sshd.folder / "id_ed25519"), env=dict(os.environ))
        assert await adding.wait() == 0
        (sshd.folder / "id_ed25519").rename(sshd.folder / "away")
        assert await user_of(sshd, "Host *\n  ServerAliveInterval 30\n", tmp_path) == sshd.user
