"""The small world with one workload that writes nothing, behind a record of DNS: its own authorities, and the plan's way to them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Protocol

from backends.engine.client import EngineClient
from backends.errors import RefusedByRule
from backends.traffic.nameserver import NameServer
from backends.traffic.route53_client import Access, Route53Client
from tests.faults.small_world import SmallWorld
from tests.peers.fault_proxy import FaultProxy, Request, fault_proxy
from tests.peers.knot import knot
from tests.peers.ministack import ministack
from tests.peers.name_server import CHAT, LEGACY, TARGET, ZONE, Server, Zone

LATER = ("SOAK", "SR5", "SR3", "BUSY", "PREFLIGHT", "GATE")


class RecordWorld(SmallWorld):
    """`way` is the route's own part of the plan, without what every record has."""

    def __init__(self, folder: Path, way: dict[str, dict[str, Any]]) -> None:
        super().__init__(folder)
        self._way = way

    def write_plan(self, port: int, **more: Any) -> None:
        probe = {side: f"http://127.0.0.1:{port}/healthz/{side}" for side in ("legacy", "target")} | {"timeout": "1s"}
        way = {kind: {"legacy": LEGACY, "target": TARGET} | fields for kind, fields in self._way.items()}
        route = {"name": "chat", "workload": "chat", **way, "steps": [100], "probe": probe}
        workload = {"name": "chat", "class": "batch"}
        super().write_plan(port, routes=[route], workloads=[workload], datasets=[], stores={}, **more)


def knot_way(folder: Path, server: Server, ttl: int) -> dict[str, dict[str, Any]]:
    """The route to a Knot; its key lies in the world's folder."""
    (folder / "key").write_text(server.key)
    return {"rfc2136": {"server": server.at, "zone": ZONE, "record": "chat", "tsig": "${file:key}", "ttl": f"{ttl}s"}}


async def advance(client: EngineClient) -> None:
    """As soon as it is allowed: the old TTL has to end first."""
    async with asyncio.timeout(60):
        while True:
            try:
                await client.command("advance", {"reason": "test"})
            except RefusedByRule as refused:
                if refused.rule not in LATER:
                    raise
                await asyncio.sleep(0.1)
            else:
                return


class Authority(Protocol):
    """Who holds the record. `die` and `come_back` as its machine would."""

    async def die(self) -> None: ...

    async def come_back(self) -> None: ...

    async def held(self) -> tuple[str, int]:
        """The address that clients are given, and its TTL."""
        ...


class KnotAuthority:
    """A Knot that is killed (kill -9) and started again on what it had written down."""

    def __init__(self, folder: Path, ttl: int) -> None:
        self._folder = folder
        self._zone = Zone((f"chat {ttl} IN A {LEGACY}",))
        self._running = AsyncExitStack()
        self.server: Server

    @contextlib.asynccontextmanager
    async def started(self) -> AsyncIterator[Server]:
        try:
            self.server = await self._running.enter_async_context(knot(self._folder, self._zone))
            yield self.server
        finally:
            await self._running.aclose()

    async def die(self) -> None:
        os.kill(self.server.pid, signal.SIGKILL)
        await self._running.aclose()

    async def come_back(self) -> None:
        again = knot(self._folder, self._zone, port=self.server.port, secret=self.server.secret)
        self.server = await self._running.enter_async_context(again)

    async def held(self) -> tuple[str, int]:
        found = await NameServer.at(self.server.at).record(CHAT, "A")
        (value,) = found.values
        assert found.ttl is not None
        return value, found.ttl


class Route53Authority:
    """A zone of ministack's Route 53 behind a link that is cut: its state is in memory only, and it lives on."""

    def __init__(self, link: FaultProxy, api: Route53Client, zone: str) -> None:
        self.link, self._api, self.zone = link, api, zone

    async def die(self) -> None:
        self.link.add("refuse", times=None)

    async def come_back(self) -> None:
        self.link.rules.clear()

    def lose_the_next_answer(self, refused: int) -> None:
        """A change is made and nobody is told; after it so many calls find nobody."""
        lost = self.link.add("lose", is_change)
        self.link.add("refuse", lambda request: lost.struck > 0, times=refused)

    async def held(self) -> tuple[str, int]:
        told = await self._api.call("list_resource_record_sets", HostedZoneId=self.zone)
        (record,) = [r for r in told["ResourceRecordSets"] if r["Name"] == f"{CHAT}." and r.get("Weight", 100)]
        return record["ResourceRecords"][0]["Value"], record["TTL"]


def is_change(request: Request) -> bool:
    return request.method == "POST" and b"ChangeResourceRecordSetsRequest" in request.body


@contextlib.asynccontextmanager
async def route53_zone(folder: Path, ttl: int) -> AsyncIterator[Route53Authority]:
    """A zone with the record at legacy."""
    async with ministack(folder, "route53,sts") as stack, fault_proxy(stack.endpoint) as link:
        api = Route53Client(Access(stack.endpoint, stack.region, None, stack.access_key, stack.secret_key))
        try:
            made = await api.call("create_hosted_zone", Name=ZONE, CallerReference="small")
            zone = made["HostedZone"]["Id"].rpartition("/")[2]
            record = {"Name": f"{CHAT}.", "Type": "A", "TTL": ttl, "ResourceRecords": [{"Value": LEGACY}]}
            batch = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": record}]}
            await api.call("change_resource_record_sets", HostedZoneId=zone, ChangeBatch=batch)
            yield Route53Authority(link, api, zone)
        finally:
            await api.close()


def route53_way(authority: Route53Authority, ttl: int) -> dict[str, dict[str, Any]]:
    """The route to a zone, over the link that is cut."""
    keys = {"endpoint": authority.link.endpoint, "access_key": "test", "secret_key": "test"}
    return {"route53": {"zone": authority.zone, "record": CHAT, "ttl": f"{ttl}s"} | keys}
