"""HAProxy's runtime API (2.0 and newer): one line of commands a connection, the answer until its end.

The socket is a file of this machine, or of a host that is reached over the shared SSH connection (`ssh://HOST/run/haproxy/admin.sock`:
OpenSSH's direct-streamlocal, which sshd allows unless AllowStreamLocalForwarding says no). What succeeds answers with nothing.
Formats: management.txt of HAProxy 2.6, 9.1 (CSV statistics) and 9.3 (`show servers state`).
"""

from __future__ import annotations

import asyncio
import csv
import errno
import io
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

import asyncssh

from backends.errors import CutoverError
from backends.escape import plain
from backends.sending import before_sending
from backends.ssh.pool import SshPool
from backends.traffic.base import RouteError
from backends.traffic.haproxy_weights import MOST

LIMIT = 5.0
MAX_ANSWER = 4 << 20
NO_WEIGHT = 0x01 | 0x02 | 0x04 | 0x20 | 0x40 | 0x08 | 0x10  # bits of srv_admin_state: every maintenance and drain there is
MAINT = 0x01 | 0x02 | 0x04 | 0x20 | 0x40
NO_RIGHTS = "the socket needs `level admin`"
CURES = {
    "ermission denied": NO_RIGHTS,
    "static LB algorithm": "static-rr, source, uri and other hashes take no weight while HAProxy runs: `balance roundrobin` or leastconn",
}


@dataclass(frozen=True, slots=True)
class Server:
    """A server of the backend. `weight` is what was last set, `initial` the configuration's; `admin` the bits of srv_admin_state."""

    name: str
    weight: int
    initial: int
    admin: int
    is_up: bool | None  # None: no check of HAProxy's looks at it
    status: str
    sessions: int
    total: int  # sessions since it started
    is_backup: bool = False  # serves only while no other server can

    @property
    def counted(self) -> int:
        """The weight that clients are shared out by, among those that are backups, or among those that are none."""
        return 0 if self.admin & NO_WEIGHT else self.weight

    @property
    def is_in_maintenance(self) -> bool:
        return bool(self.admin & MAINT)


class HaproxySocket:
    """One socket of one route."""

    def __init__(self, route: str, socket: str, pool: SshPool | None) -> None:
        self._route = route
        parts = urlsplit(socket)
        self.host = parts.netloc.rpartition("@")[2].partition(":")[0] if parts.scheme == "ssh" else None
        self.path = unquote(parts.path) if self.host is not None else socket
        self._pool = pool

    @property
    def shown(self) -> str:
        return plain(f"{self.host}:{self.path}" if self.host is not None else self.path, 200)

    async def servers(self, backend: str) -> dict[str, Server]:
        """Every server of a backend, by name. Raises `RouteError`."""
        state = parse_state(await self.ask(f"show servers state {backend}"))
        rows = parse_stat(await self.ask(f"show stat {backend} 4 -1"))
        if not state:
            raise RouteError(
                f"route {self._route}: HAProxy ({self.shown}) has no backend {plain(backend)}", hint="haproxy.backend"
            )
        out = {}
        for name, (weight, initial, admin) in state.items():
            row = rows.get(name, {})
            status = row.get("status", "")
            is_backup = row.get("bck") == "1"
            sessions, total = _count(row.get("scur")), _count(row.get("stot"))
            out[name] = Server(name, weight, initial, admin, _is_up(status), plain(status, 40), sessions, total, is_backup)
        return out

    async def check_rights(self) -> None:
        """Raises `RouteError` where the socket lets us look and change nothing."""
        level = (await self.ask("show cli level")).strip()
        if level != "admin":
            said = plain(level, 200) or "nothing"
            raise RouteError(f"route {self._route}: HAProxy ({self.shown}) gives us level {said}, expected admin", hint=NO_RIGHTS)

    async def tell(self, commands: Sequence[str]) -> None:
        """Commands that answer with nothing when they succeed, in one line. Raises `RouteError` with what HAProxy said else."""
        lines = (await self.ask("; ".join(commands))).splitlines()
        said = " ".join(dict.fromkeys(line.strip() for line in lines if line.strip()))
        if said:
            hint = next((cure for sign, cure in CURES.items() if sign in said), "")
            raise RouteError(f"route {self._route}: HAProxy ({self.shown}) says: {plain(said, 200)}", hint=hint)

    async def ask(self, line: str) -> str:
        """The answer to one line. Raises `RouteError`."""
        try:
            async with asyncio.timeout(LIMIT):
                data = await self._exchange(line.encode() + b"\n")
        except TimeoutError as error:
            raise RouteError(f"route {self._route}: HAProxy ({self.shown}) does not answer within {LIMIT:g} s") from error
        except OSError as error:
            raise RouteError(f"route {self._route}: HAProxy ({self.shown}): {_reason(error)}", hint=_cure(error)) from error
        except asyncssh.ChannelOpenError as error:
            raise RouteError(
                f"route {self._route}: {plain(self.host or '')} does not open {plain(self.path)}: {plain(error.reason)}",
                hint="its sshd has to allow it (AllowStreamLocalForwarding), and the user to reach the socket",
            ) from error
        except (asyncssh.Error, CutoverError) as error:
            text = error.message if isinstance(error, CutoverError) else plain(str(error), 200)
            raise RouteError(f"route {self._route}: HAProxy ({self.shown}) cannot be reached: {text}") from error
        if len(data) > MAX_ANSWER:
            raise RouteError(f"route {self._route}: HAProxy ({self.shown}) answers without an end")
        return data.decode("utf-8", "backslashreplace")

    async def _exchange(self, data: bytes) -> bytes:
        if self.host is None:
            reader, writer = await asyncio.open_unix_connection(self.path)
            try:
                await before_sending()
                writer.write(data)
                await writer.drain()
                return await _whole(reader)
            finally:
                writer.close()
        if self._pool is None:
            raise RouteError(f"route {self._route}: no SSH to reach {self.shown}")
        connection = await self._pool.connect(self.host)
        remote, out = await connection.open_unix_connection(self.path, encoding=None)
        try:
            await before_sending()
            out.write(data)
            await out.drain()
            return await _whole(remote)
        finally:
            out.close()


async def _whole(reader: asyncio.StreamReader | asyncssh.SSHReader[bytes]) -> bytes:
    out = bytearray()
    while piece := await reader.read(1 << 16):
        out += piece
        if len(out) > MAX_ANSWER:
            break
    return bytes(out)


def parse_state(text: str) -> dict[str, tuple[int, int, int]]:
    """`show servers state`: of each server (weight now, of the configuration, admin bits). Lines that are none are passed over."""
    names: list[str] = []
    out = {}
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["#"]:
            names = words[1:]
        elif names and len(words) >= len(names):
            row = dict(zip(names, words, strict=False))
            try:
                found = int(row["srv_uweight"]), int(row["srv_iweight"]), int(row["srv_admin_state"])
            except (KeyError, ValueError):
                continue
            if 0 <= found[0] <= MOST and 0 <= found[1] <= MOST:
                out[row["srv_name"]] = found
    return out


def parse_stat(text: str) -> dict[str, dict[str, str]]:
    """`show stat`: the rows by server name."""
    lines = [line for line in text.lstrip("# ").splitlines() if line]
    if not lines:
        return {}
    rows = csv.DictReader(io.StringIO("\n".join(lines)), restkey="", restval="")
    try:
        return {row["svname"]: row for row in rows if row.get("svname")}
    except csv.Error:  # a field without an end
        return {}


def _is_up(status: str) -> bool | None:
    if status.startswith("no check"):
        return None
    if status.startswith(("UP", "NOLB", "DRAIN")):
        return True
    return False if status.startswith(("DOWN", "MAINT")) else None


def _count(text: str | None) -> int:
    return int(text) if text and text.isascii() and text.isdigit() else 0


def _reason(error: OSError) -> str:
    return plain(error.strerror or str(error) or type(error).__name__, 200)


def _cure(error: OSError) -> str:
    if error.errno in (errno.EACCES, errno.EPERM):
        return "let the engine's user into the socket's group (`stats socket … group`)"
    if error.errno in (errno.ENOENT, errno.ECONNREFUSED):
        return "is HAProxy up, and is that its `stats socket … level admin`?"
    return ""
