"""Hosts and results of commands over SSH."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


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


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a remote command left. `exit_status` is never None: a lost link raises `LinkLost` instead."""

    exit_status: int
    stdout: bytes
    stderr: bytes
    truncated: bool = False
