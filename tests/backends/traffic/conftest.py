"""Name servers from Debian for the routes by DNS, each its own, on the loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from backends.traffic.nameserver import NameServer, Update
from backends.traffic.tsig import parse_key
from tests.peers.bind import bind, named_path
from tests.peers.knot import knot, knotd_path
from tests.peers.name_server import CHAT, LEGACY, ZONE, Server

AAAA, CNAME, WWW = (f"{label}.{ZONE}" for label in ("aaaa", "cname", "www"))  # names that a test may make


def need(program: str | None, name: str) -> None:
    """Skip by name where a server is absent."""
    if program is None:
        pytest.skip(f"server missing: {name}")


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=["knot", "bind"])
async def name_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """A primary of example.net, of each kind in turn, for the whole session."""
    if request.param == "knot":
        need(knotd_path(), "knotd (knot)")
        async with knot(tmp_path_factory.mktemp("knot")) as server:
            yield server
    else:
        need(named_path(), "named (bind9)")
        async with bind(tmp_path_factory.mktemp("bind")) as server:
            yield server


@pytest_asyncio.fixture
async def authority(name_server: Server) -> Server:
    """The same, its record as at the beginning."""
    server, key = NameServer.at(name_server.at), parse_key(name_server.key)
    for name, kind, values in ((CHAT, "A", (LEGACY,)), (AAAA, "AAAA", ()), (CNAME, "CNAME", ()), (WWW, "A", ())):
        found = await server.record(name, kind)
        if found.values != values or (found.values and found.ttl != 60):
            await server.update(Update(ZONE, name, kind, found.values, values, 60, found.alias), key)
    return name_server
