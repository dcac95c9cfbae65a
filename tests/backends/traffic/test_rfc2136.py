"""Routes by RFC 2136 against Knot and BIND: what is set is read back, what others set is never overwritten silently."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from backends.children import Children
from backends.plan.models import Route as RouteSpec
from backends.traffic.base import ForeignChange, LongAnswer, RouteError
from backends.traffic.nameserver import NameServer, Unmet, Update
from backends.traffic.open import open_route
from backends.traffic.rfc2136 import CannotSay, Rfc2136Route
from backends.traffic.tsig import parse_key
from tests.backends.traffic.asked import refused_before_the_change
from tests.backends.traffic.conftest import need
from tests.peers.bind import bind, named_path, resolver
from tests.peers.knot import knot, knotd_path
from tests.peers.name_server import CHAT, LEGACY, TARGET, ZONE, Server, Zone

STRANGER = "203.0.113.66"


def route(server: Server, **fields: Any) -> Rfc2136Route:
    """The plan's route at this server. The key lies in a file, as a plan has it."""
    (server.folder / "key").write_text(fields.pop("key", server.key) + "\n")
    spec = {"server": server.at, "zone": ZONE, "record": "chat", "tsig": "${file:key}", "legacy": LEGACY, "target": TARGET}
    model = RouteSpec.model_validate({"name": "chat", "workload": "w", "rfc2136": spec | fields})
    made = open_route(model, base=server.folder, children=Children())
    assert isinstance(made, Rfc2136Route)
    return made


async def held(server: Server, kind: str = "A", name: str = CHAT) -> tuple[str, ...]:
    return (await NameServer.at(server.at).record(name, kind)).values


async def serial(server: Server) -> int:
    return await NameServer.at(server.at).serial(ZONE)


async def somebody_sets(server: Server, *values: str, ttl: int = 60) -> None:
    """Another operator, with the same key, takes what is there."""
    name_server = NameServer.at(server.at)
    before = (await name_server.record(CHAT, "A")).values
    await name_server.update(Update(ZONE, CHAT, "A", before, values, ttl), parse_key(server.key))


async def test_a_name_server_that_was_never_asked_and_is_gone_is_told_as_silent(tmp_path: Path) -> None:
    need(knotd_path(), "knotd (knot)")
    async with knot(tmp_path / "knot") as server:
        chat = route(server)
    with pytest.raises(RouteError, match=f"{server.at} gives no TTL of chat.example.net: {server.at} does not answer"):
        await chat.ttl()


async def test_a_weight_that_is_set_is_read_back_at_the_authority(authority: Server) -> None:
    chat = route(authority)
    assert (await chat.read()).weight == 0
    await chat.set(100, expected=0)
    assert (await chat.read()).is_at(100)
    assert await held(authority) == (TARGET,)
    seen = await chat.confirm(100)
    assert seen.is_confirmed
    assert seen.share == 1.0
    assert not (await chat.confirm(0)).is_confirmed
    await chat.set(0, expected=100)
    assert await held(authority) == (LEGACY,)


async def test_setting_twice_is_setting_once_and_makes_no_new_serial(authority: Server) -> None:
    chat = route(authority)
    await chat.set(100, expected=0)
    after = await serial(authority)
    await chat.set(100, expected=0)
    assert await serial(authority) == after


async def test_a_stale_change_is_refused_with_what_stands_there_and_makes_no_new_serial(authority: Server) -> None:
    chat = route(authority)
    await somebody_sets(authority, STRANGER)
    before = await serial(authority)
    with pytest.raises(ForeignChange, match=f"route chat holds {STRANGER}, not weight 0") as caught:
        await chat.set(100, expected=0)
    assert (caught.value.expected, caught.value.found) == (0, 0)
    assert await serial(authority) == before
    assert await held(authority) == (STRANGER,)
    assert (await chat.read()).foreign


async def test_the_server_itself_refuses_a_change_that_comes_too_late(authority: Server) -> None:
    """Between our reading and our update somebody else was faster: the prerequisites say so, not our comparison."""
    server = NameServer.at(authority.at)
    before = await serial(authority)
    with pytest.raises(Unmet):
        await server.update(Update(ZONE, CHAT, "A", (STRANGER,), (TARGET,), 60), parse_key(authority.key))
    with pytest.raises(Unmet):
        await server.update(Update(ZONE, CHAT, "A", (), (TARGET,), 60), parse_key(authority.key))
    assert await serial(authority) == before
    assert await held(authority) == (LEGACY,)


async def test_a_rollback_takes_what_somebody_else_set(authority: Server) -> None:
    await somebody_sets(authority, STRANGER, TARGET)
    await route(authority).set(0, expected=None)
    assert await held(authority) == (LEGACY,)


async def test_of_eight_writers_at_once_one_wins_and_seven_are_told(authority: Server) -> None:
    targets = [f"198.51.100.{n}" for n in range(1, 9)]
    routes = [route(authority, target=target) for target in targets]
    before = await serial(authority)
    done = await asyncio.gather(*(r.set(100, expected=0) for r in routes), return_exceptions=True)
    won = [target for target, result in zip(targets, done, strict=True) if result is None]
    assert len(won) == 1, done
    assert all(isinstance(d, ForeignChange) for d in done if d is not None), done
    assert await held(authority) == tuple(won)
    assert await serial(authority) == before + 1


async def test_k_of_n_addresses_say_what_they_can_and_nothing_else(authority: Server) -> None:
    legacy, target = ["192.0.2.10", "192.0.2.11", "192.0.2.12"], [TARGET, "198.51.100.21", "198.51.100.22"]
    await somebody_sets(authority, *legacy)
    chat = route(authority, legacy=legacy, target=target)
    await chat.set(25, expected=0)
    assert await held(authority) == (*legacy, TARGET)
    await chat.set(50, expected=25)
    assert set(await held(authority)) == {*legacy, *target}
    assert (await chat.confirm(50)).share == 0.5
    with pytest.raises(CannotSay, match="cannot say 30 % with these addresses, only 0, 25, 40, 50, 60, 75, 100"):
        await chat.set(30, expected=50)
    assert (await chat.read()).is_at(50)


async def test_addresses_that_say_no_weight_of_ours_are_foreign(authority: Server) -> None:
    await somebody_sets(authority, LEGACY, STRANGER)
    seen = await route(authority).read()
    assert seen.weight == 0
    assert not seen.is_at(0)
    assert STRANGER in seen.foreign


@pytest.mark.parametrize(
    ("kind", "legacy", "target"),
    [("AAAA", "2001:db8::1", "2001:DB8:0::2"), ("CNAME", "lb.old.example.com", "LB.new.example.com.")],
)
async def test_other_types_move_the_same_way(authority: Server, kind: str, legacy: str, target: str) -> None:
    name = f"{kind.lower()}.{ZONE}"
    chat = route(authority, record=kind.lower(), legacy=legacy, target=target)
    await chat.set(0, expected=None)  # it does not exist yet
    assert await held(authority, kind, name) == (legacy,)
    await chat.set(100, expected=0)
    assert await held(authority, kind, name) == (target.lower().replace(":0:", ":").removesuffix("."),)
    assert (await chat.read()).is_at(100)


async def test_an_alias_where_addresses_are_expected_is_foreign_and_a_rollback_replaces_it(authority: Server) -> None:
    server = NameServer.at(authority.at)
    alias = Update(ZONE, f"www.{ZONE}", "CNAME", (), ("elsewhere.example.com",), 60)
    await server.update(alias, parse_key(authority.key))
    chat = route(authority, record="www")
    assert (await chat.read()).foreign == "is an alias of elsewhere.example.com"
    with pytest.raises(ForeignChange, match="is an alias of elsewhere"):
        await chat.set(100, expected=0)
    await chat.set(0, expected=None)
    assert await held(authority, name=f"www.{ZONE}") == (LEGACY,)


async def test_a_wrong_key_is_told_and_not_shown(authority: Server) -> None:
    name, algorithm, _ = authority.key.split(":")
    chat = route(authority, key=f"{name}:{algorithm}:c2VjcmV0LW9mLW91cnM=")
    with pytest.raises(RouteError, match="TSIG secret is not the one") as caught:
        await chat.set(100, expected=0)
    assert "c2VjcmV0" not in str(caught.value) + str(caught.value.__cause__) + caught.value.hint
    with pytest.raises(RouteError, match=r"does not know the TSIG key|TSIG secret is not the one"):
        await route(authority, key=f"nobody:{algorithm}:c2VjcmV0LW9mLW91cnM=").set(100, expected=0)
    assert await held(authority) == (LEGACY,)


async def test_a_key_that_is_changed_holds_at_once(authority: Server) -> None:
    chat = route(authority, key="nobody:hmac-sha256:c2VjcmV0")
    with pytest.raises(RouteError):
        await chat.set(100, expected=0)
    (authority.folder / "key").write_text(authority.key)
    await chat.set(100, expected=0)
    assert await held(authority) == (TARGET,)


async def test_an_update_without_a_key_is_refused(authority: Server) -> None:
    with pytest.raises(RouteError, match="refused the update"):
        await route(authority, tsig=None).set(100, expected=0)


@pytest.mark.parametrize("kind", ["knot", "bind"])
async def test_a_key_without_rights_is_found_before_anything_is_armed(kind: str, tmp_path: Path) -> None:
    need(knotd_path() if kind == "knot" else named_path(), kind)
    async with knot(tmp_path, deny=True) if kind == "knot" else bind(tmp_path, deny=True) as server:
        chat = route(server)
        found = await chat.preflight()
        assert found[0].good is False
        assert "refused the update" in found[0].text or "TSIG" in found[0].text
        with pytest.raises(RouteError):
            await chat.set(100, expected=0)


async def test_the_right_to_update_is_tried_with_what_changes_nothing(authority: Server) -> None:
    before = await serial(authority)
    found = await route(authority).preflight()
    assert [f.good for f in found] == [True, True, True, True], found
    assert await serial(authority) == before


async def test_another_family_beside_is_told(tmp_path: Path) -> None:
    need(knotd_path(), "knotd (knot)")
    zone = Zone((f"chat 60 IN A {LEGACY}", "chat 60 IN AAAA 2001:db8::10"))
    async with knot(tmp_path, zone) as server:
        told = [f for f in await route(server).preflight() if f.good is None]
    assert "also has AAAA 2001:db8::10, which this route does not move" in told[0].text


async def test_a_server_that_is_down_is_told(tmp_path: Path) -> None:
    need(knotd_path(), "knotd (knot)")
    async with knot(tmp_path) as server:
        chat = route(server)
        await chat.read()
    with pytest.raises(RouteError, match="does not answer"):
        await chat.read()
    with pytest.raises(RouteError, match="does not answer"):
        await chat.set(100, expected=0)


async def test_a_server_that_is_no_authority_is_told(authority: Server) -> None:
    with pytest.raises(RouteError, match=r"answers REFUSED|no authority"):
        await route(authority, zone="example.org").read()


async def test_an_answer_too_large_for_udp_is_read_whole(tmp_path: Path) -> None:
    need(knotd_path(), "knotd (knot)")
    legacy = [f"192.0.2.{n}" for n in range(1, 121)]
    zone = Zone(tuple(f"chat 60 IN A {address}" for address in legacy))
    async with knot(tmp_path, zone) as server:
        chat = route(server, legacy=legacy)
        assert (await chat.read()).is_at(0)
        await chat.set(100, expected=0)
        assert await held(server) == (TARGET,)


async def test_what_was_set_outlives_a_restart_of_the_server(tmp_path: Path) -> None:
    need(knotd_path(), "knotd (knot)")
    async with knot(tmp_path) as server:
        await route(server).set(100, expected=0)
    async with knot(tmp_path, port=server.port, secret=server.secret) as again:
        assert (await route(again).read()).is_at(100)


async def test_a_secondary_that_lags_is_named_with_its_serial(tmp_path: Path) -> None:
    """Its primary does not tell it of changes, and its refresh is an hour away."""
    need(knotd_path(), "knotd (knot)")
    zone = Zone(servers=("ns1", "ns2"), addresses=("ns1 IN A 127.0.0.1", "ns2 IN A 127.0.0.2"))
    async with knot(tmp_path / "one", zone) as primary:
        at = f"127.0.0.1@{primary.port}"
        async with knot(tmp_path / "two", zone, address="127.0.0.2", port=primary.port, primary=at):
            chat = route(primary)
            assert (await chat.confirm(0)).data_plane is True
            await chat.set(100, expected=0)
            seen = await chat.confirm(100)
            assert seen.authority
            assert seen.data_plane is False
            assert f"127.0.0.2:{primary.port} still says {LEGACY}" in seen.detail
            assert f"serials 127.0.0.1:{primary.port} 2, 127.0.0.2:{primary.port} 1" in seen.detail
            assert seen.share == 0.5
        # One that is down gives nobody an old answer.
        seen = await chat.confirm(100)
        assert seen.is_confirmed
        assert f"127.0.0.2:{primary.port} does not answer" in seen.detail


async def test_a_secondary_that_is_told_follows(tmp_path: Path) -> None:
    need(knotd_path(), "knotd (knot)")
    zone = Zone(servers=("ns1", "ns2"), addresses=("ns1 IN A 127.0.0.1", "ns2 IN A 127.0.0.2"))
    async with knot(tmp_path / "one", zone) as first:
        port, secret = first.port, first.secret
    async with (
        knot(tmp_path / "one", zone, port=port, secret=secret, notify=(f"127.0.0.2@{port}",)) as primary,
        knot(tmp_path / "two", zone, address="127.0.0.2", port=port, primary=f"127.0.0.1@{port}"),
    ):
        chat = route(primary)
        await chat.set(100, expected=0)
        async with asyncio.timeout(20):
            while not (await chat.confirm(100)).data_plane:  # noqa: ASYNC110 - the transfer is the servers
                await asyncio.sleep(0.1)
        assert "2 of 2 authorities have it (serials 2)" in (await chat.confirm(100)).detail


async def test_a_resolver_still_on_the_old_answer_is_counted_and_named(authority: Server, tmp_path: Path) -> None:
    need(named_path(), "named (bind9)")
    async with resolver(tmp_path / "resolver", authority, ZONE) as cache:
        chat = route(authority, resolvers=[cache.at])
        assert (await chat.confirm(0)).share == 0.0  # and now it has it for a minute
        await chat.set(100, expected=0)
        seen = await chat.confirm(100)
        assert seen.is_confirmed  # it may: the TTL is not over
        assert seen.share == 0.0
        assert f"1 of 1 resolvers still on the old answer ({cache.at} for " in seen.detail


async def test_a_resolver_that_keeps_an_answer_for_too_long_is_no_confirmation(
    authority: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need(named_path(), "named (bind9)")
    async with resolver(tmp_path / "resolver", authority, ZONE) as cache:
        chat = route(authority, resolvers=[cache.at])
        await chat.confirm(0)
        await chat.set(100, expected=0)
        now = asyncio.get_running_loop().time()
        monkeypatch.setattr("backends.traffic.answers.time.monotonic", lambda: now + 70)
        seen = await chat.confirm(100)
        assert seen.data_plane is False
        assert "longer than the old TTL allowed" in seen.detail


async def test_answers_that_are_none_are_errors_and_not_weights(tmp_path: Path) -> None:
    """Junk from the port: never a crash, never a weight."""

    class Junk(asyncio.DatagramProtocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def datagram_received(self, data: bytes, addr: Any) -> None:
            self.transport.sendto(data[:2] + b"\xff" * 40, addr)

    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Junk, local_addr=("127.0.0.1", 0), family=socket.AF_INET)
    try:
        port = transport.get_extra_info("sockname")[1]
        with pytest.raises(RouteError, match=r"does not answer|not an answer"):
            await route(Server("127.0.0.1", port, tmp_path, "AAAA")).read()
    finally:
        transport.close()


async def test_the_ttl_is_set_without_touching_the_values(authority: Server) -> None:
    await somebody_sets(authority, LEGACY, ttl=3600)
    chat = route(authority)
    assert (await chat.ttl())[0] == 3600
    await chat.set_ttl(60)
    assert (await chat.ttl())[0] == 60
    assert await held(authority) == (LEGACY,)
    before = await serial(authority)
    await chat.set_ttl(60)
    assert await serial(authority) == before


async def test_an_answer_that_named_target_may_be_used_until_its_ttl_is_over(
    authority: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = route(authority)
    await chat.read()
    assert (await chat.clients()).has_left, "nobody was ever sent to target"
    await chat.set(100, expected=0)
    await chat.read()
    await chat.set(0, expected=100)
    left = await chat.clients()
    assert 50 < left.seconds <= 60
    assert not left.has_left
    now = asyncio.get_running_loop().time()
    monkeypatch.setattr("backends.traffic.answers.time.monotonic", lambda: now + 61)
    assert (await chat.clients()).has_left


async def test_after_a_restart_the_whole_ttl_is_waited_again(authority: Server) -> None:
    pinned = await route(authority).pin()
    assert pinned == {"ttl": 60, "values": [LEGACY]}
    again = route(authority)
    again.restore(pinned | {"ttl": 300})
    assert 290 < (await again.clients()).seconds <= 300


async def test_a_lagging_authority_still_sends_clients_to_target(tmp_path: Path) -> None:
    need(knotd_path(), "knotd (knot)")
    zone = Zone((f"chat 60 IN A {TARGET}",), servers=("ns1", "ns2"), addresses=("ns1 IN A 127.0.0.1", "ns2 IN A 127.0.0.2"))
    async with knot(tmp_path / "one", zone) as primary:
        at = f"127.0.0.1@{primary.port}"
        async with knot(tmp_path / "two", zone, address="127.0.0.2", port=primary.port, primary=at):
            chat = route(primary)
            await chat.set(0, expected=100)
            first = (await chat.clients()).seconds
            await asyncio.sleep(0.3)
            assert not (await chat.confirm(0)).is_confirmed
            assert (await chat.clients()).seconds > first - 0.2, "the TTL begins anew with each answer of the one that lags"


async def test_a_ttl_that_somebody_raised_is_found_and_its_end_waited_for(
    authority: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    await somebody_sets(authority, LEGACY, ttl=3600)
    chat = route(authority)
    assert (await chat.preflight())[3].text == f"{CHAT} is given out for 3600 s, the plan says 60 s: somebody raised it"
    await somebody_sets(authority, LEGACY, ttl=60)
    found = (await chat.preflight())[3]
    assert found.good is False
    assert "may be used for 3" in found.text
    long = chat.long_answer()
    assert long is not None
    again = route(authority)
    again.recall(replace(long, left=1200.0))
    assert "may be used for 1200 s more" in (await again.preflight())[3].text, "as an engine after us does"
    assert (await again.clients()).has_left, "it named legacy"
    again.recall(LongAnswer(3600, 900.0, True))
    assert 890 < (await again.clients()).seconds <= 900
    now = asyncio.get_running_loop().time()
    monkeypatch.setattr("backends.traffic.answers.time.monotonic", lambda: now + 3601)
    assert (await chat.preflight())[3].good is True
    assert chat.long_answer() is None


async def test_it_is_asked_once_more_just_before_the_change(authority: Server) -> None:
    await refused_before_the_change(route(authority), 100)
