"""PowerDNS of its own process on the loopback: SQLite behind it, the HTTP API before it, LUA records allowed."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.peers.name_server import ZONE, Server, new_secret
from tests.peers.process import free_ports, running

SCHEMAS = (
    Path("/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql"),
    Path("/usr/share/doc/pdns-backend-sqlite3/schema.sqlite3.sql"),
)


def powerdns_missing() -> bool:
    return shutil.which("pdns_server", path="/usr/sbin:/usr/bin") is None or not any(s.exists() for s in SCHEMAS)


@dataclass(slots=True)
class PowerDns:
    """`dns` answers questions, `api` is the URL of the HTTP API, `key` what it wants to hear."""

    dns: Server
    api: str
    key: str = field(repr=False)


@contextlib.asynccontextmanager
async def powerdns(
    folder: Path, records: tuple[tuple[str, str, str], ...], *, lua: str = "yes", kind: str = "NATIVE"
) -> AsyncIterator[PowerDns]:
    """A server of example.net; `records` are (name, type, content), for 60 s each. `kind` is the zone's, `lua` whether LUA records are
    allowed at all."""
    folder.mkdir(parents=True, exist_ok=True)
    port, web = free_ports(2)
    made = PowerDns(Server("127.0.0.1", port, folder), f"http://127.0.0.1:{web}", new_secret())
    database = folder / "pdns.sqlite3"
    schema = next(s for s in SCHEMAS if s.exists())
    with contextlib.closing(sqlite3.connect(database)) as db, db:
        db.executescript(schema.read_text())
        db.execute("INSERT INTO domains (id, name, type) VALUES (1, ?, ?)", (ZONE, kind))
        soa = f"ns1.{ZONE} hostmaster.{ZONE} 1 3600 600 86400 60"
        for name, kind, content in ((ZONE, "SOA", soa), (ZONE, "NS", f"ns1.{ZONE}"), *records):
            row = (name, kind, content)
            db.execute("INSERT INTO records (domain_id, name, type, content, ttl, auth) VALUES (1, ?, ?, ?, 60, 1)", row)
    config = folder / "pdns.conf"
    settings = {
        "launch": "gsqlite3", "gsqlite3-database": database, "local-address": "127.0.0.1", "local-port": port,
        "webserver": "yes", "webserver-address": "127.0.0.1", "webserver-port": web, "api": "yes", "api-key": made.key,
        "enable-lua-records": lua, "socket-dir": folder, "daemon": "no", "guardian": "no", "query-cache-ttl": 0, "cache-ttl": 0,
        "zone-cache-refresh-interval": 0, "security-poll-suffix": "",
    }  # fmt: skip
    config.write_text("".join(f"{k}={v}\n" for k, v in settings.items()))
    config.chmod(0o600)

    async def ready() -> bool:
        return await made.dns.serves(ZONE)

    argv = ["/usr/sbin/pdns_server", f"--config-dir={folder}"]
    async with running(argv, log=folder / "pdns.log", ready=ready, cwd=folder) as process:
        made.dns.pid = process.pid
        yield made
