"""A real OpenSSH sshd on the loopback, with its own host key, user key and known_hosts; key-only."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import shutil
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
import psutil
import pytest

from backends.ssh.models import SshHost, SshSettings
from tests.peers.process import accepts, free_ports, running


@dataclass
class OpenSsh:
    """A running sshd. `folder` holds `known_hosts`, `id_ed25519` and an `ssh_config` that names that key."""

    folder: Path
    port: int
    pid: int = 0
    user: str = field(default_factory=getpass.getuser)
    address: str = "127.0.0.1"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    @property
    def config(self) -> Path:
        return self.folder / "ssh_config"

    @property
    def settings(self) -> SshSettings:
        return SshSettings(config=self.config, known_hosts=self.known_hosts)

    def host(self, name: str = "box", via: str | None = None) -> SshHost:
        return SshHost(name, self.address, self.user, self.port, via)

    def sessions(self) -> int:
        """Connections that are served."""
        return len(psutil.Process(self.pid).children())

    def kill_sessions(self) -> None:
        """Kill what serves the open connections, as a host that dies does; the listener stays."""
        self._signal_sessions(signal.SIGKILL)

    def freeze_sessions(self) -> None:
        """Stop what serves the open connections, so that nothing answers and nothing is closed."""
        self._signal_sessions(signal.SIGSTOP)

    def _signal_sessions(self, number: signal.Signals) -> None:
        for child in psutil.Process(self.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                child.send_signal(number)


def write_keys(folder: Path, name: str) -> asyncssh.SSHKey:
    """A new key pair `name`, `name.pub`, readable by the owner only."""
    key = asyncssh.generate_private_key("ssh-ed25519")
    path = folder / name
    path.touch(mode=0o600)
    key.write_private_key(path)
    path.chmod(0o600)
    key.write_public_key(folder / f"{name}.pub")
    return key


@contextlib.asynccontextmanager
async def openssh(
    folder: Path,
    *,
    env: Mapping[str, str] | None = None,
    options: str = "",
    within: Sequence[str] = (),
    address: str = "127.0.0.1",
) -> AsyncIterator[OpenSsh]:
    """sshd while it runs. `env` is set for its sessions (`PATH` too), `options` are lines of sshd_config that win over ours, `within`
    is what starts it (and becomes it), `address` another one of this machine.

    Skips the test where no sshd is installed.
    """
    server = OpenSsh(folder, free_ports(1)[0], address=address)
    argv = [*within, *await asyncio.to_thread(prepare, server, dict(env or {}), options)]

    async def ready() -> bool:
        return await accepts(server.port, server.address)

    async with running(argv, log=folder / "sshd.log", ready=ready, seconds=30) as process:
        server.pid = process.pid
        try:
            yield server
        finally:
            server.kill_sessions()


def prepare(server: OpenSsh, env: Mapping[str, str], options: str = "") -> list[str]:
    """Write its keys and its configuration; the argv that serves them. Skips the test where no sshd is installed."""
    program = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip("server missing: openssh-server")
    folder = server.folder
    folder.mkdir(parents=True, exist_ok=True)
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(parents=True, exist_ok=True)
    host = write_keys(folder, "host_key")
    user = write_keys(folder, "id_ed25519")
    (folder / "authorized_keys").write_bytes(user.export_public_key())
    where = f"[{server.address}]:{server.port}"
    server.known_hosts.write_text(f"{where} {host.export_public_key().decode()}")
    server.config.write_text(f"Host *\n  IdentityFile {folder}/id_ed25519\n  IdentitiesOnly yes\n")
    # The user's own shell start-up files are no part of a test; a killed one would leave their locks behind.
    (folder / "home").mkdir(exist_ok=True)
    set_env = " ".join(f'"{name}={value}"' for name, value in {"HOME": f"{folder}/home", **env}.items())
    (folder / "sshd_config").write_text(
        f"{options}Port {server.port}\nListenAddress {server.address}\nHostKey {folder}/host_key\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nPidFile none\nUsePAM no\nStrictModes no\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\n"
        f"MaxStartups 200:30:400\nMaxSessions 100\n{'' if 'Subsystem' in options else 'Subsystem sftp internal-sftp'}\n"
        f"SetEnv {set_env}\n"
    )
    return [program, "-D", "-e", "-f", str(folder / "sshd_config")]
