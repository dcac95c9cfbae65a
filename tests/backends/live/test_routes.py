"""Routes before the window, against real name servers and a TLS server: TTL, delegation, who carries, probes and their certificates."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from backends.children import Children
from backends.live.routes import try_delegation, try_probes, try_route
from backends.plan.load import load_plan
from backends.plan.models import Plan
from backends.ssh.models import SshSettings
from backends.ssh.pool import SshPool
from tests.peers.certificate import make_certificate
from tests.peers.knot import knot, knotd_path
from tests.peers.name_server import LEGACY, TARGET, ZONE, Server, Zone
from tests.peers.powerdns import powerdns, powerdns_missing

RECORD = f"rfc2136: {{server: SERVER, zone: {ZONE}, record: chat, tsig: '${{env:LIVE_TSIG}}', legacy: {LEGACY}, target: {TARGET}, ttl: 60s, authorities: [SERVER], resolvers: [RESOLVER]}}"


def plan_of(folder: Path, route: str) -> Plan:
    path = folder / "plan.yaml"
    path.write_text(
        "version: 1\nname: move\nlegacy: {provider: old}\ntarget: {provider: new}\nworkloads: [{name: chat, class: realtime}]\n"
        f"routes: [{{name: chat, workload: chat, {route}, steps: [100]}}]\n"
    )
    checked = load_plan(path)
    assert checked.plan is not None
    return checked.plan


async def tried(plan: Plan, folder: Path) -> list[tuple[str, str]]:
    async with SshPool(SshSettings(), []) as pool:
        found = await try_route(plan, 0, pool, Children(), folder)
    return [(f.severity, f.code) for f in found]


def by_dns(folder: Path, server: Server, resolver: Server) -> Plan:
    return plan_of(folder, RECORD.replace("SERVER", f'"{server.at}"').replace("RESOLVER", f'"{resolver.at}"'))


async def test_a_record_as_the_plan_says_gives_no_problem_and_a_long_ttl_and_a_zone_elsewhere_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if knotd_path() is None:
        pytest.skip("server missing: knotd (knot)")
    other = Zone(servers=("ns9",), addresses=("ns9 IN A 127.0.0.1",))
    async with (
        knot(tmp_path / "good") as good,
        knot(tmp_path / "long", Zone(records=(f"chat 3600 IN A {LEGACY}",))) as long,
        knot(tmp_path / "elsewhere", other) as elsewhere,
    ):
        monkeypatch.setenv("LIVE_TSIG", good.key)
        plan = by_dns(tmp_path, good, good)
        assert await tried(plan, tmp_path) == []
        assert await try_delegation(plan, 0) == []
        [found] = await try_delegation(by_dns(tmp_path, good, elsewhere), 0)
        assert (found.severity, found.code) == ("error", "delegation")
        assert f"ns9.{ZONE}" in found.evidence
        monkeypatch.setenv("LIVE_TSIG", long.key)
        assert await tried(by_dns(tmp_path, long, long), tmp_path) == [("error", "route_unready")]


async def test_a_record_of_powerdns_that_is_kept_too_long_or_that_resolvers_do_not_come_to_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if powerdns_missing() or knotd_path() is None:
        pytest.skip("server missing: pdns-server, pdns-backend-sqlite3, knot")
    records = ((f"chat.{ZONE}", "A", LEGACY), (f"ns1.{ZONE}", "A", "127.0.0.1"))
    other = Zone(servers=("ns9",), addresses=("ns9 IN A 127.0.0.1",))
    async with powerdns(tmp_path / "pdns", records) as own, knot(tmp_path / "elsewhere", other) as elsewhere:
        monkeypatch.setenv("LIVE_KEY", own.key)

        def plan(ttl: str, resolver: Server) -> Plan:
            by = f"{{api: '{own.api}', key: '${{env:LIVE_KEY}}', zone: {ZONE}, record: chat, legacy: {LEGACY}, target: {TARGET}, ttl: {ttl}, authorities: '{own.dns.at}', resolvers: '{resolver.at}'}}"
            return plan_of(tmp_path, f"powerdns: {by}")

        assert await tried(plan("60s", own.dns), tmp_path) == []
        assert await tried(plan("30s", own.dns), tmp_path) == [("warning", "ttl")]
        assert await try_delegation(plan("60s", own.dns), 0) == []
        [found] = await try_delegation(plan("60s", elsewhere), 0)
        assert (found.severity, found.code) == ("error", "delegation")
        assert f"ns9.{ZONE}" in found.evidence


async def test_the_zone_of_a_record_in_route_53_is_found_from_the_record_upwards(tmp_path: Path) -> None:
    if knotd_path() is None:
        pytest.skip("server missing: knotd (knot)")
    other = Zone(servers=("ns9",), addresses=("ns9 IN A 127.0.0.1",))
    async with knot(tmp_path / "own") as own, knot(tmp_path / "elsewhere", other) as elsewhere:
        by = f"{{zone: Z0, record: a.b.chat.{ZONE}, legacy: {LEGACY}, target: {TARGET}, authorities: '{own.at}', resolvers: ['{own.at}', '{elsewhere.at}']}}"
        [found] = await try_delegation(plan_of(tmp_path, f"route53: {by}"), 0)
    assert found.code == "delegation"
    assert f"changes a zone, {ZONE}, that resolvers do not come to" in found.message


async def test_a_route_that_carries_clients_on_target_already_is_an_error(tmp_path: Path) -> None:
    plan = plan_of(tmp_path, "command: {set: ['true', '{weight}'], get: [echo, '5']}")
    assert await tried(plan, tmp_path) == [("error", "route_carries")]


async def test_a_certificate_that_ends_soon_is_a_warning_and_one_that_nobody_trusts_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path)  # it holds for two days

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=certificate.context())
    async with server:
        port = server.sockets[0].getsockname()[1]
        probe = f"command: {{set: ['true', '{{weight}}'], get: [echo, '0']}}, probe: {{legacy: 'https://127.0.0.1:{port}/'}}"
        plan = plan_of(tmp_path, probe)
        [found] = await try_probes(plan, 0)
        assert (found.severity, found.code, found.side) == ("error", "probe", "legacy")
        assert "TLS failed" in found.evidence
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.authority))
        [found] = await try_probes(plan, 0)
        assert (found.severity, found.code) == ("warning", "certificate")
