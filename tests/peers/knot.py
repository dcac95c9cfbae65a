"""Knot DNS of its own process on the loopback: one primary, or a secondary of another, with a key that may update.

The zone's file and journal keep Knot's defaults: with `zonefile-sync: -1` everything was lost at a restart.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

from tests.peers.name_server import ALGORITHM, KEY_NAME, Server, Zone, new_secret
from tests.peers.process import free_ports, running


def knotd_path() -> str | None:
    return shutil.which("knotd", path="/usr/sbin:/usr/bin:/usr/local/sbin")


@contextlib.asynccontextmanager
async def knot(
    folder: Path,
    zone: Zone | None = None,
    *,
    address: str = "127.0.0.1",
    port: int | None = None,
    secret: str | None = None,
    notify: tuple[str, ...] = (),
    primary: str | None = None,
    deny: bool = False,
) -> AsyncIterator[Server]:
    """A server that answers for the zone. `notify` names secondaries (`address@port`), which may transfer; `primary` makes this one a
    secondary; `deny` leaves the key without a right to update. A folder that was served before is served as it was left."""
    folder.mkdir(parents=True, exist_ok=True)
    zone = zone or Zone()
    server = Server(address, port or free_ports(1)[0], folder, secret or new_secret())
    if not (folder / "zones").exists():
        (folder / "zones").mkdir()
        if primary is None:
            (folder / "zones" / f"{zone.name}.zone").write_text(zone.text())
    (folder / "db").mkdir(exist_ok=True)
    config = folder / "knot.conf"
    config.write_text(_config(server, zone, notify, primary, deny))
    config.chmod(0o600)
    program = knotd_path()
    assert program is not None

    async def ready() -> bool:
        return await server.serves(zone.name)

    async with running([program, "-c", str(config)], log=folder / "knot.log", ready=ready, cwd=folder) as process:
        server.pid = process.pid
        yield server


def _config(server: Server, zone: Zone, notify: tuple[str, ...], primary: str | None, deny: bool) -> str:
    acls = ["transfer", "notify"] if deny else ["update", "transfer", "notify"]
    remotes = "".join(f"  - id: second{i}\n    address: {at}\n" for i, at in enumerate(notify))
    if primary is not None:
        remotes += f"  - id: primary\n    address: {primary}\n"
    lines = [
        "server:",
        f"  rundir: {server.folder}",
        f"  listen: {server.address}@{server.port}",
        "  udp-workers: 1",
        "  tcp-workers: 1",
        "  background-workers: 1",
        "log:",
        "  - target: stderr",
        "    any: info",
        "database:",
        f"  storage: {server.folder}/db",
        "key:",
        f"  - id: {KEY_NAME}",
        f"    algorithm: {ALGORITHM}",
        f"    secret: {server.secret}",
        "acl:",
        f"  - id: update\n    key: {KEY_NAME}\n    action: update",
        "  - id: transfer\n    address: 127.0.0.0/8\n    action: transfer",
        "  - id: notify\n    address: 127.0.0.0/8\n    action: notify",
    ]
    if remotes:
        lines += ["remote:", remotes.rstrip("\n")]
    lines += [
        "zone:",
        f"  - domain: {zone.name}",
        f"    storage: {server.folder}/zones",
        f"    file: {zone.name}.zone",
        f"    acl: [{', '.join(acls)}]",
    ]
    if notify:
        lines.append(f"    notify: [{', '.join(f'second{i}' for i in range(len(notify)))}]")
    if primary is not None:
        lines.append("    master: primary")
    return "\n".join([*lines, ""])
