"""BIND of its own process on the loopback: an authority with a key that may update, or a caching resolver that asks one authority."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from tests.peers.name_server import ALGORITHM, KEY_NAME, Server, Zone, new_secret
from tests.peers.process import free_ports, running

OPTIONS = """
options {{
  directory "{folder}";
  pid-file none;
  session-keyfile none;
  listen-on port {port} {{ 127.0.0.1; }};
  listen-on-v6 {{ none; }};
  dnssec-validation no;
  notify no;
  {more}
}};
controls {{ }};
"""
KEY = 'key "{name}" {{ algorithm {algorithm}; secret "{secret}"; }};\n'
ZONE_OF = 'zone "{zone}" {{ type primary; file "{zone}.zone"; {update} }};\n'


def named_path() -> str | None:
    return shutil.which("named", path="/usr/sbin:/usr/bin:/usr/local/sbin")


@contextlib.asynccontextmanager
async def bind(folder: Path, zone: Zone | None = None, *, deny: bool = False) -> AsyncIterator[Server]:
    """An authority for the zone. `deny` leaves the key without a right to update."""
    folder.mkdir(parents=True, exist_ok=True)
    zone = zone or Zone()
    server = Server("127.0.0.1", free_ports(1)[0], folder, new_secret())
    (folder / f"{zone.name}.zone").write_text(zone.text())
    update = "" if deny else f'allow-update {{ key "{KEY_NAME}"; }};'
    text = KEY.format(name=KEY_NAME, algorithm=ALGORITHM, secret=server.secret)
    text += OPTIONS.format(folder=folder, port=server.port, more="recursion no;")
    text += ZONE_OF.format(zone=zone.name, update=update)
    async with _running(server, text, zone.name):
        yield server


@contextlib.asynccontextmanager
async def resolver(folder: Path, authority: Server, zone: str) -> AsyncIterator[Server]:
    """A resolver that asks this authority and keeps what it says for its TTL."""
    folder.mkdir(parents=True, exist_ok=True)
    server = Server("127.0.0.1", free_ports(1)[0], folder)
    ahead = f"recursion yes; forward only; forwarders {{ {authority.address} port {authority.port}; }};"
    text = OPTIONS.format(folder=folder, port=server.port, more=ahead)
    async with _running(server, text, zone, is_resolver=True):
        yield server


@contextlib.asynccontextmanager
async def _running(server: Server, text: str, zone: str, *, is_resolver: bool = False) -> AsyncIterator[None]:
    config = server.folder / "named.conf"
    config.write_text(text)
    config.chmod(0o600)
    program = named_path()
    assert program is not None

    async def ready() -> bool:
        return await (server.resolves(zone) if is_resolver else server.serves(zone))

    argv = [program, "-g", "-n", "1", "-c", str(config)]
    async with running(argv, log=server.folder / "named.log", ready=ready, cwd=server.folder) as process:
        server.pid = process.pid
        yield
