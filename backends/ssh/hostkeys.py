"""Host keys that are known: read once from known_hosts files, and said by file and line when one does not fit.

A line that cannot be read is skipped, as OpenSSH does; asyncssh alone would refuse the whole file.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncssh
from asyncssh.known_hosts import SSHKnownHosts

from backends.escape import plain
from backends.ssh.errors import HostKeyChanged, HostKeyRefused, SshError

DEFAULT_PORT = 22


@dataclass(frozen=True, slots=True)
class OfferedKey:
    """The key that a host showed and nobody vouched for."""

    host: str
    address: str
    port: int
    shown: str  # algorithm and fingerprint; why not, where the connection ended before a key was shown
    key: str = ""  # as a line of known_hosts has it; empty where none was shown, or only a certificate


@dataclass(frozen=True, slots=True)
class UnknownKey:
    """The key of a host that no file speaks of. `name` is the host's, as it was asked for."""

    name: str
    offered: OfferedKey
    known: HostKeys


@dataclass(frozen=True, slots=True)
class KnownLine:
    path: Path
    number: int
    fingerprint: str
    algorithm: str
    revoked: bool


class HostKeys:
    """The known host keys of some files, in the files' order; absent files hold none."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = tuple(paths)
        self._seen: tuple[tuple[int, int] | None, ...] | None = None
        self._keys = SSHKnownHosts()

    def load(self) -> SSHKnownHosts:
        """The parsed keys; parsed again only when a file has changed. Blocking: call it in a thread."""
        seen = tuple(_stamp(path) for path in self.paths)
        if seen != self._seen:
            keys = SSHKnownHosts()
            for path in self.paths:
                for _, line in _lines(path):
                    _load_line(keys, line)
            self._keys, self._seen = keys, seen
        return self._keys

    def lines_for(self, host: str, address: str, port: int) -> list[KnownLine]:
        """The lines that speak of this host. Blocking."""
        found = []
        for path in self.paths:
            for number, line in _lines(path):
                one = SSHKnownHosts()
                revoked = line.lstrip().startswith("@revoked ")
                if _load_line(one, line.lstrip().removeprefix("@revoked ")):
                    found += [KnownLine(path, number, *key, revoked) for key in _entries(one, host, address, port)]
        return found

    def refusal(self, name: str, offered: OfferedKey, reason: str) -> HostKeyRefused:
        """The error for a key that did not fit: unknown, changed or revoked. Blocking."""
        lines = self.lines_for(offered.host, offered.address, offered.port)
        where = plain(f"{offered.host}:{offered.port}")
        shown = plain(offered.shown)
        at = f"[{offered.host}]:{offered.port}" if offered.port != DEFAULT_PORT else offered.host
        revoked = next((line for line in lines if line.revoked), None)
        if revoked is not None and "revoked" in reason:
            return HostKeyRefused(
                f"host {plain(name)} ({where}): its key is revoked by {revoked.path}:{revoked.number}",
                where=f"{revoked.path}:{revoked.number}",
                hint="do not go on before the host has a new key",
            )
        changed = next((line for line in lines if not line.revoked), None)
        if changed is not None:
            return HostKeyChanged(
                f"host {plain(name)} ({where}): its key has CHANGED: {changed.path}:{changed.number} says "
                f"{changed.algorithm} {changed.fingerprint}, the host shows {shown}",
                where=f"{changed.path}:{changed.number}",
                hint=f"somebody may be in between; if the host was rebuilt: ssh-keygen -R '{plain(at)}' -f {changed.path}",
            )
        files = ", ".join(str(path) for path in self.paths)
        refused = HostKeyRefused(
            f"host {plain(name)} ({where}): its key is unknown: {shown} is not in {files}",
            where=str(self.paths[0]) if self.paths else "",
            hint="compare the fingerprint with the one the provider gives, then add the key to that file: "
            "cutover probe --accept-new does",
        )
        if offered.key and self.paths:
            refused.unknown = UnknownKey(name, offered, self)
        return refused

    def holds(self, offered: OfferedKey) -> bool:
        """Does a line say this very key of the host? Blocking."""
        lines = self.lines_for(offered.host, offered.address, offered.port)
        return any(not line.revoked and f"{line.algorithm} {line.fingerprint}" == offered.shown for line in lines)


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SshError(f"cannot read known hosts: {error.strerror}", where=str(path)) from error
    return stat.st_mtime_ns, stat.st_size


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    try:
        text = path.read_text("utf-8", "surrogateescape")
    except FileNotFoundError:
        return
    except OSError as error:
        raise SshError(f"cannot read known hosts: {error.strerror}", where=str(path)) from error
    yield from enumerate(text.split("\n"), 1)


def _load_line(keys: SSHKnownHosts, line: str) -> bool:
    try:
        keys.load(line)
    except (ValueError, asyncssh.KeyImportError):
        return False
    return bool(line.strip()) and not line.lstrip().startswith("#")


def _entries(keys: SSHKnownHosts, host: str, address: str, port: int) -> Iterator[tuple[str, str]]:
    at = None if port == DEFAULT_PORT else port
    hosts, authorities, *_ = keys.match(host, address or _literal(host), at)
    for key in hosts:
        yield key.get_fingerprint(), key.get_algorithm()
    for key in authorities:
        yield key.get_fingerprint(), f"authority {key.get_algorithm()}"


def _literal(host: str) -> str:
    """`host` where it is an address itself, else nothing."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return host
    return ""


def known_hosts_paths(configured: Sequence[str] | None) -> list[Path]:
    """The files that an ssh_config names in UserKnownHostsFile, else OpenSSH's own; with `none` no host is known."""
    if configured is None:
        system = Path("/etc/ssh/ssh_known_hosts")
        return [Path.home() / ".ssh" / "known_hosts", *([system] if os.access(system, os.R_OK) else [])]
    return [Path(name.replace("%d", str(Path.home()))).expanduser() for name in configured]
