"""A host's key, taken into known_hosts because the operator said so: one new line, never in place of a known key."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import hmac
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from backends.errors import CouldNot
from backends.escape import plain
from backends.ssh.errors import AuthFailed, HostKeyRefused
from backends.ssh.hostkeys import DEFAULT_PORT, HostKeys, OfferedKey
from backends.ssh.pool import SshPool

_HASHED = "|1|"  # then a salt, then HMAC-SHA1 of the name under it, both in base64 (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT)


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that no known_hosts speaks of. `at` is how the file will name the host, `shown` algorithm and fingerprint."""

    host: str
    at: str
    shown: str
    path: Path
    offered: OfferedKey
    known: HostKeys


async def ask_key(pool: SshPool, name: str) -> NewKey | None:
    """The key that this host shows, where it is new; None where it is known already.

    Raises `HostKeyChanged` for one that is known by another key, `HostKeyRefused` for one that is revoked, shown only by a certificate, or of a
    host on the way to this one, and what else keeps a host from being asked.
    """
    try:
        await pool.connect(name)
    except AuthFailed:
        return None  # its key was checked before
    except HostKeyRefused as error:
        if error.unknown is None or error.unknown.name != name:
            raise
        known, offered = error.unknown.known, error.unknown.offered
        at = offered.host if offered.port == DEFAULT_PORT else f"[{offered.host}]:{offered.port}"
        return NewKey(name, at, offered.shown, known.paths[0], offered, known)
    return None


def add_key(key: NewKey) -> bool:
    """Append the key to its file; False where somebody has added the same one meanwhile. Blocking.

    The name is hashed where the file's others are. Raises `HostKeyChanged` where another key of the host has come in between.
    """
    try:
        key.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(key.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CouldNot(f"cannot write known hosts: {error.strerror}", where=str(key.path)) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        if key.known.lines_for(key.offered.host, key.offered.address, key.offered.port):
            refusal = key.known.refusal(key.host, key.offered, "")
            if key.known.holds(key.offered):
                return False
            raise refusal
        text = _read(file)
        name = hashed_name(key.at) if _is_hashed(text) else key.at
        line = f"{name} {key.offered.key}\n".encode()
        os.write(file, line if not text or text.endswith(b"\n") else b"\n" + line)  # one write: whole, or not at all
        os.fsync(file)
    except OSError as error:
        raise CouldNot(f"cannot write known hosts: {error.strerror}", where=str(key.path)) from error
    finally:
        os.close(file)
    return True


def hashed_name(name: str, salt: bytes | None = None) -> str:
    """The name as OpenSSH's HashKnownHosts writes it."""
    salt = secrets.token_bytes(20) if salt is None else salt
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"{_HASHED}{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def _read(file: int) -> bytes:
    with open(file, "rb", closefd=False) as reader:
        reader.seek(0)
        return reader.read()


def _is_hashed(text: bytes) -> bool:
    return any(line.lstrip().startswith(_HASHED.encode()) for line in text.splitlines())


def added_words(key: NewKey) -> str:
    """What the operator is told: the fingerprint to compare, the file, and the way back."""
    return (
        f"{plain(key.host)}: new key {plain(key.shown)} added to {key.path}. Compare it with what the provider gives; "
        f"ssh-keygen -R '{plain(key.at)}' -f {key.path} takes it out"
    )
