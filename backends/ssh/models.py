"""Hosts and results of commands over SSH."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from backends.errors import UsageError
from backends.escape import plain


@dataclass(frozen=True, slots=True)
class SshHost:
    """Where a host is. What is None comes from the operator's ssh_config."""

    name: str
    address: str
    user: str | None = None
    port: int | None = None
    via: str | None = None


@dataclass(frozen=True, slots=True)
class SshSettings:
    config: Path | None = None  # None: ~/.ssh/config
    known_hosts: Path | None = None  # None: as the ssh_config says, else ~/.ssh/known_hosts
    connect_timeout: float = 10.0
    keepalive: float = 5.0

    def over(self, config: str | Path | None, known_hosts: str | Path | None) -> SshSettings:
        """These, with other files where some were chosen, as by `-F` and `--known-hosts`."""
        return replace(
            self,
            config=Path(config) if config else self.config,
            known_hosts=Path(known_hosts) if known_hosts else self.known_hosts,
        )


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a remote command left. `exit_status` is never None: a lost link raises `LinkLost` instead."""

    exit_status: int
    stdout: bytes
    stderr: bytes
    truncated: bool = False


def parse_destination(name: str, text: str) -> SshHost:
    """`[user@]host[:port]`, `[user@][IPv6]:port` or `ssh://…`, as ProxyJump and command lines have it. Raises `UsageError`."""
    where = text.strip().removeprefix("ssh://").rstrip("/")
    user, _, rest = where.rpartition("@")
    address, port = rest, ""
    if rest.startswith("["):
        address, _, tail = rest[1:].partition("]")
        port = tail.removeprefix(":")
    elif rest.count(":") == 1:
        address, _, port = rest.partition(":")
    if not address or address.startswith("-") or not address.isprintable() or " " in address:
        raise UsageError(f"not a host: {plain(text, 100)}", hint="write [USER@]HOST[:PORT]")
    if port and not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise UsageError(f"not a port: {plain(port, 20)} in {plain(text, 100)}", hint="a port is 1 to 65535")
    return SshHost(name, address, user or None, int(port) if port else None)
