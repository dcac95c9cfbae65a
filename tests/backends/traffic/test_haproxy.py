"""HAProxy's route against a real HAProxy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.children import Children
from backends.plan.models import Route as RouteSpec
from backends.ssh.pool import SshPool
from backends.traffic.base import ForeignChange, Route, RouteError
from backends.traffic.haproxy_socket import parse_stat, parse_state
from backends.traffic.haproxy_weights import MOST, share_of, weights_for
from backends.traffic.open import open_route
from tests.backends.traffic.asked import refused_before_the_change
from tests.peers.haproxy import Haproxy, haproxy
from tests.peers.openssh import openssh

made: list[Route] = []


@pytest.fixture(autouse=True)
async def _closed() -> AsyncIterator[None]:
    yield
    while made:
        await made.pop().close()


def route_to(proxy: Haproxy, *, pool: SshPool | None = None, probe: bool = True, **more: Any) -> Route:
    legacy, target = proxy.names
    spec = {"socket": str(proxy.socket), "backend": "chat", "legacy": legacy, "target": target} | more
    model = RouteSpec.model_validate(
        {"name": "chat", "workload": "w", "haproxy": spec} | ({"probe": {"url": proxy.url}} if probe else {})
    )
    made.append(open_route(model, base=proxy.folder, children=Children(), pool=pool))
    return made[-1]


@pytest.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Haproxy]:
    async with haproxy(tmp_path / "ha") as running:
        yield running


async def until_there(route: Route, weight: int) -> str:
    async with asyncio.timeout(10):
        while not (seen := await route.confirm(weight)).is_confirmed:  # noqa: ASYNC110 - another program's state
            await asyncio.sleep(0.02)
    return seen.detail


async def weights(proxy: Haproxy) -> dict[str, int]:
    return {name: row[0] for name, row in parse_state(await proxy.tell("show servers state chat")).items()}


SIDE = st.dictionaries(st.text("abc", min_size=1), st.integers(0, 256), min_size=1, max_size=6)


@given(SIDE, SIDE, st.integers(0, 100))
def test_weights_say_the_share_that_was_meant(legacy: dict[str, int], target: dict[str, int], share: int) -> None:
    old, new = weights_for(share, legacy, target)
    assert old.keys() == legacy.keys()
    assert new.keys() == target.keys()
    assert all(0 <= weight <= MOST for weight in (*old.values(), *new.values()))
    seen = share_of(old, new)
    assert seen is not None
    assert abs(seen - share) < 0.5, "nearer to it than to any other whole percent"
    if share == 0 and any(legacy.values()):
        assert old == legacy, "a rollback restores what was found"


@given(st.text(max_size=400))
def test_rubbish_from_the_socket_is_no_server(text: str) -> None:
    parse_state(text)
    parse_stat(text)


async def test_a_weight_is_set_read_back_and_seen_by_clients(proxy: Haproxy) -> None:
    route = route_to(proxy)
    assert (await route.read()).weight == 0
    for weight in (5, 25, 50, 100, 0):
        await route.set(weight, None)
        assert (await route.read()).is_at(weight)
        await until_there(route, weight)
    assert await weights(proxy) == {"l0": 100, "t0": 0}


async def test_somebody_elses_weight_is_foreign_and_is_not_written_over(proxy: Haproxy) -> None:
    route = route_to(proxy)
    await route.set(25, 0)
    await proxy.tell("set weight chat/t0 60")
    with pytest.raises(ForeignChange) as caught:
        await route.set(50, 25)
    assert caught.value.expected == 25
    assert (await weights(proxy))["t0"] == 60
    await route.set(0, None)  # a rollback takes what is there
    assert (await route.read()).is_at(0)


async def test_less_than_a_percent_is_not_rounded_to_nothing(proxy: Haproxy) -> None:
    route = route_to(proxy)
    await proxy.tell("set weight chat/l0 256; set weight chat/t0 1")
    seen = await route.read()
    assert not seen.is_at(0)
    assert "0.39 %" in seen.foreign


async def test_legacys_own_weights_come_back(tmp_path: Path) -> None:
    async with haproxy(tmp_path / "ha", legacy=2, target=3) as proxy:
        route = route_to(proxy)
        await proxy.tell("set weight chat/l0 70; set weight chat/l1 33")
        pinned = await route.pin()
        assert pinned["legacy"] == {"l0": 70, "l1": 33}
        route.restore(pinned)
        await route.set(40, 0)
        now = await weights(proxy)
        assert now["l0"] / now["l1"] == pytest.approx(70 / 33, rel=0.03), "its own parts between its servers"
        await route.set(100, 40)
        again = route_to(proxy)  # as an engine that has just started
        again.restore(pinned)
        await again.set(0, None)
        assert {n: w for n, w in (await weights(proxy)).items() if n.startswith("l")} == {"l0": 70, "l1": 33}


async def test_what_a_cookie_binds_to_target_is_sent_away(tmp_path: Path) -> None:
    async with haproxy(tmp_path / "ha", cookie=True) as proxy:
        route = route_to(proxy, probe=False)
        await route.set(100, 0)
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as bound:

            async def side() -> str:
                async with bound.get(proxy.url) as answer:
                    assert answer.status == 200
                    return str((await answer.json())["side"])

            assert await side() == "target"
            await route.set(0, 100)
            assert await side() == "target", "weight 0 keeps what a cookie binds: that is why it is expelled"
            await route.expel()
            assert await side() == "legacy"
        assert (await route.clients()).sessions == 0
        await route.set(25, 0)
        assert (await route.read()).is_at(25), "out of maintenance again, with the next step forward"


async def test_one_server_that_somebody_took_out_for_repair_stays_out(tmp_path: Path) -> None:
    async with haproxy(tmp_path / "ha", target=2) as proxy:
        route = route_to(proxy)
        await route.set(50, 0)
        await proxy.tell("set server chat/t1 state maint")
        seen = await route.read()
        assert seen.weight == 33
        await route.set(50, None)
        assert (await route.read()).is_at(50)
        assert "MAINT" in await proxy.tell("show stat chat 4 -1"), "it is not ours to bring back"
        await route.set(0, 50)
        await route.expel()
        await route.set(50, 0)
        seen = parse_state(await proxy.tell("show servers state chat"))
        assert (seen["t0"][2], bool(seen["t1"][2])) == (0, True), "nor with the next step forward after a rollback"


async def test_a_target_that_was_never_in_comes_in_with_the_first_step(proxy: Haproxy) -> None:
    await proxy.tell("set weight chat/t0 100; set server chat/t0 state maint")
    route = route_to(proxy)
    assert (await route.read()).is_at(0)
    pinned = await route.pin()
    route.restore(pinned)
    await route.set(25, 0)
    await until_there(route, 25)


async def test_open_sessions_are_counted_and_ended(proxy: Haproxy) -> None:
    route = route_to(proxy, probe=False)
    await route.set(100, 0)
    async with aiohttp.ClientSession() as client:
        hanging = asyncio.create_task(client.get(proxy.url.replace("/now", "/hang")))
        async with asyncio.timeout(10):
            while (await route.clients()).sessions == 0:  # noqa: ASYNC110 - HAProxy's own counter
                await asyncio.sleep(0.02)
        await route.set(0, 100)
        assert not (await route.clients()).has_left
        await route.expel()
        async with asyncio.timeout(10):
            while not (await route.clients()).has_left:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        hanging.cancel()
        await asyncio.gather(hanging, return_exceptions=True)


async def test_a_reload_keeps_the_weights_that_were_saved(proxy: Haproxy) -> None:
    route = route_to(proxy, state_file=str(proxy.state_file))
    await route.set(25, 0)
    await proxy.reload()
    assert (await route.read()).is_at(25)
    plain = route_to(proxy)
    await plain.set(50, 25)  # not saved
    await proxy.reload()
    assert (await route.read()).is_at(25), "what the file says, which is told as somebody else's"


async def test_a_reload_by_the_master_keeps_what_was_saved_and_loses_no_rights(tmp_path: Path) -> None:
    async with haproxy(tmp_path / "master", master=True) as proxy:
        route = route_to(proxy, state_file=str(proxy.state_file))
        await route.set(25, 0)
        before = await proxy.worker()
        await proxy.reload()
        assert await proxy.worker() != before
        assert (await route.read()).is_at(25)
        await route.set(0, 25)
        await route.expel()
        await proxy.reload()
        assert (await route.read()).is_at(0)
        assert "maint" in (await proxy.tell("show stat")).lower(), "who was sent away is not let in again"


async def test_haproxys_own_checks_tell_of_a_side(proxy: Haproxy) -> None:
    route = route_to(proxy)
    async with asyncio.timeout(10):
        while (found := await route.health("legacy")) is None or not found.is_alive:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    await proxy.tell("set server chat/t0 health down")
    async with asyncio.timeout(10):
        while (found := await route.health("target")) is None or found.is_alive:
            await proxy.tell("set server chat/t0 health down")  # the next check undoes it
    assert "t0 DOWN" in found.detail


async def test_counters_tell_where_clients_go_where_nothing_can_be_asked(proxy: Haproxy) -> None:
    route = route_to(proxy, probe=False)
    await route.set(50, 0)
    assert (await route.confirm(50)).data_plane is None, "nobody has come yet"
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as client:
        for _ in range(40):
            async with client.get(proxy.url) as answer:
                await answer.read()
    seen = await route.confirm(50)
    assert seen.data_plane is True
    assert seen.share == pytest.approx(0.5, abs=0.05)


async def test_what_is_wrong_is_said_with_its_cure(proxy: Haproxy, tmp_path: Path) -> None:
    with pytest.raises(RouteError) as gone:
        await route_to(proxy, socket=str(tmp_path / "absent")).read()
    assert "level admin" in gone.value.hint
    with pytest.raises(RouteError, match="no backend"):
        await route_to(proxy, backend="chta").read()
    with pytest.raises(RouteError, match="no server t7") as missing:
        await route_to(proxy, target=["t7"]).read()
    assert "t0" in missing.value.hint
    with pytest.raises(RouteError, match="no server t7"):
        await route_to(proxy, target=["t7"]).pin()  # not an error that nobody expects
    with pytest.raises(RouteError, match="cannot be written"):
        await route_to(proxy, state_file=str(tmp_path / "no" / "dir")).set(5, 0)


async def test_a_socket_without_rights_is_told(tmp_path: Path) -> None:
    async with haproxy(tmp_path / "ha", level="user") as proxy:
        with pytest.raises(RouteError) as denied:
            await route_to(proxy).set(5, 0)
    assert "ermission denied" in denied.value.message
    assert "level admin" in denied.value.hint


async def test_a_socket_of_another_host_is_reached_over_ssh(proxy: Haproxy, tmp_path: Path) -> None:
    async with openssh(tmp_path / "sshd") as server, SshPool(server.settings, [server.host("front")]) as pool:
        route = route_to(proxy, pool=pool, socket=f"ssh://front{proxy.socket}", state_file=str(proxy.state_file))
        await route.set(25, 0)
        await until_there(route, 25)
        assert "t0" in proxy.state_file.read_text(), "written there, over the same connection"
    async with openssh(tmp_path / "closed", options="AllowStreamLocalForwarding no\n") as server:
        pool = SshPool(server.settings, [server.host("front")])
        async with pool:
            with pytest.raises(RouteError) as caught:
                await route_to(proxy, pool=pool, socket=f"ssh://front{proxy.socket}").read()
        assert "AllowStreamLocalForwarding" in caught.value.hint


async def test_a_server_that_the_plan_does_not_name_is_told_before_clients_move(tmp_path: Path) -> None:
    async with haproxy(tmp_path / "ha", target=2) as proxy:
        route = route_to(proxy, target=["t0"])
        assert (await route.pin())["target"] == {"t0": 0}, "one without weight gets no clients"
        await route.set(50, 0)
        await proxy.tell("set weight chat/t1 100")
        for refused in (route.pin(), route.set(100, 50)):
            with pytest.raises(RouteError, match="also sends clients to t1"):
                await refused
        await route.set(0, None)  # the way back is not barred by it
        assert (await weights(proxy)) == {"l0": 100, "t0": 0, "t1": 100}


async def test_a_backup_counts_only_where_nobody_else_serves(tmp_path: Path) -> None:
    async with haproxy(tmp_path / "ha", backup=("t0",)) as proxy:
        route = route_to(proxy)
        await proxy.tell("set weight chat/t0 100")
        assert (await route.read()).is_at(0), "clients are all on legacy"
        await until_there(route, 0)
        for refused in (route.pin(), route.set(50, 0)):
            with pytest.raises(RouteError, match="t0 on target is a backup"):
                await refused
        await proxy.tell("set weight chat/l0 0")
        assert (await route.read()).is_at(100), "now it serves"
        await until_there(route, 100)
        await route.set(0, None)
        await until_there(route, 0)


async def test_a_balance_that_takes_no_weights_is_told_with_its_cure(tmp_path: Path) -> None:
    async with haproxy(tmp_path / "ha", balance="static-rr") as proxy:
        with pytest.raises(RouteError, match="static LB algorithm") as caught:
            await route_to(proxy).set(25, 0)
        assert "balance roundrobin" in caught.value.hint
        assert caught.value.message.count("static LB") == 1


async def test_rights_are_seen_before_anything_is_armed(tmp_path: Path) -> None:
    async with haproxy(tmp_path / "ha", level="operator") as proxy:
        with pytest.raises(RouteError, match="level operator, expected admin") as caught:
            await route_to(proxy).pin()
        assert "level admin" in caught.value.hint
        [found] = await route_to(proxy).preflight()
        assert (found.good, "level admin" in found.cure) == (False, True)
    async with haproxy(tmp_path / "good") as proxy:
        assert [found.good for found in await route_to(proxy).preflight()] == [True]


async def test_an_answer_cut_short_or_without_an_end_is_no_server(tmp_path: Path) -> None:
    """A short row of `show stat`, and a field that csv refuses, ended the caller with errors that nobody expected."""
    state = "# srv_name srv_uweight srv_iweight srv_admin_state\nl0 100 100 0\nt0 0 0 0\nt1 -5 1 0\nt2 99999 1 0\n"
    answers = {"stat": "# pxname,svname,scur,stot,status\nchat,l0\nchat,t0," + "x" * 200_000 + "\n", "state": state}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = (await reader.readline()).decode()
        writer.write(answers["state" if "servers state" in line else "stat"].encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(answer, str(tmp_path / "sock"))
    async with server:
        spec = {"socket": str(tmp_path / "sock"), "backend": "chat", "legacy": ["l0"], "target": ["t0"]}
        made.append(
            open_route(
                RouteSpec.model_validate({"name": "chat", "workload": "w", "haproxy": spec}), base=tmp_path, children=Children()
            )
        )
        assert (await made[-1].read()).is_at(0)
        assert await made[-1].health("legacy") is None
        answers["stat"] = "# pxname,svname,scur,stot,status\nchat,l0\n"
        assert await made[-1].health("legacy") is None
        answers["state"] = state.replace("l0", "t1")
        with pytest.raises(RouteError, match="no server l0"):
            await made[-1].read()


async def test_it_is_asked_once_more_just_before_the_change(proxy: Haproxy) -> None:
    await refused_before_the_change(route_to(proxy), 50)
