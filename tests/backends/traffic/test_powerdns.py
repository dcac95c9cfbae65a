"""Routes by PowerDNS's LUA records, against a real one: weights are said, seen in its answers, and only our own form is a weight."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from backends.children import Children
from backends.plan.models import Route as RouteSpec
from backends.plan.records import parse_record
from backends.traffic.base import ForeignChange, RouteError
from backends.traffic.open import open_route
from backends.traffic.powerdns import PowerdnsRoute, lua_content, weight_of
from tests.backends.traffic.asked import refused_before_the_change
from tests.peers.name_server import CHAT, LEGACY, TARGET, ZONE
from tests.peers.powerdns import PowerDns, powerdns, powerdns_missing

RECORD = parse_record("chat", ZONE, [LEGACY, "192.0.2.11"], [TARGET])


@pytest_asyncio.fixture
async def pdns(tmp_path: Path) -> AsyncIterator[PowerDns]:
    if powerdns_missing():
        pytest.skip("server missing: pdns_server (pdns-server, pdns-backend-sqlite3)")
    async with powerdns(tmp_path, ((CHAT, "A", LEGACY),)) as server:
        yield server


@pytest_asyncio.fixture
async def chat(pdns: PowerDns) -> AsyncIterator[PowerdnsRoute]:
    made = route(pdns)
    yield made
    await made.close()


def route(pdns: PowerDns, **fields: Any) -> PowerdnsRoute:
    (pdns.dns.folder / "api-key").write_text(fields.pop("secret", pdns.key))
    spec = {"api": pdns.api, "key": "${file:api-key}", "zone": ZONE, "record": "chat", "legacy": LEGACY, "target": TARGET}
    spec |= {"authorities": [pdns.dns.at]}
    model = RouteSpec.model_validate({"name": "chat", "workload": "w", "powerdns": spec | fields})
    made = open_route(model, base=pdns.dns.folder, children=Children())
    assert isinstance(made, PowerdnsRoute)
    return made


async def somebody_sets(pdns: PowerDns, kind: str, content: str) -> None:
    """Another client of the API replaces what is there."""
    records = [{"content": content, "disabled": False}]
    sets: list[dict[str, Any]] = [{"name": f"{CHAT}.", "type": t, "changetype": "DELETE"} for t in ("A", "LUA") if t != kind]
    sets.append({"name": f"{CHAT}.", "type": kind, "ttl": 60, "changetype": "REPLACE", "records": records})
    url = f"{pdns.api}/api/v1/servers/localhost/zones/{ZONE}."
    async with (
        aiohttp.ClientSession(headers={"X-API-Key": pdns.key}) as session,
        session.patch(url, json={"rrsets": sets}) as answer,
    ):
        assert answer.status == 204, await answer.text()


async def test_a_plain_record_becomes_one_with_weights_and_answers_by_them(chat: PowerdnsRoute) -> None:
    assert (await chat.read()).is_at(0)
    await chat.set(25, expected=0)
    assert (await chat.read()).is_at(25)
    seen = await chat.confirm(25)
    assert seen.is_confirmed, seen.detail
    assert seen.share is not None
    assert 0 < seen.share < 0.6
    assert not (await chat.clients()).has_left
    await chat.set(100, expected=25)
    assert (await chat.confirm(100)).share == 1.0
    await chat.set(0, expected=100)
    seen = await chat.confirm(0)
    assert seen.is_confirmed
    assert seen.share == 0.0


async def test_somebody_elses_weight_is_foreign_and_a_rollback_takes_it(pdns: PowerDns, chat: PowerdnsRoute) -> None:
    await chat.set(25, expected=0)
    theirs = f"A \"pickwrandom({{{{70,'{LEGACY}'}},{{30,'{TARGET}'}}}})\""
    await somebody_sets(pdns, "LUA", theirs)
    with pytest.raises(ForeignChange) as caught:
        await chat.set(50, expected=25)
    assert (caught.value.expected, caught.value.found) == (25, 30)
    assert (await chat.read()).is_at(30)
    await chat.set(0, expected=None)
    assert (await chat.confirm(0)).share == 0.0


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("A", "203.0.113.66"),
        ("LUA", f"A \"ifportup(443,{{'{LEGACY}'}})\""),
        ("LUA", f"A \"pickwrandom({{{{50,'{LEGACY}'}},{{50,'203.0.113.66'}}}})\""),
    ],
)
async def test_a_record_in_any_other_form_is_foreign(pdns: PowerDns, chat: PowerdnsRoute, kind: str, content: str) -> None:
    await somebody_sets(pdns, kind, content)
    seen = await chat.read()
    assert "which is no weight of ours" in seen.foreign
    with pytest.raises(ForeignChange):
        await chat.set(25, expected=0)
    await chat.set(0, expected=None)
    assert (await chat.read()).is_at(0)


async def test_a_wrong_key_and_a_server_that_is_down_are_told(pdns: PowerDns) -> None:
    wrong = route(pdns, secret="wrong-secret")
    with pytest.raises(RouteError, match="does not take the key") as caught:
        await wrong.read()
    assert "wrong-secret" not in caught.value.message
    await wrong.close()
    away = route(pdns, api="http://127.0.0.1:1")
    with pytest.raises(RouteError, match="cannot be asked"):
        await away.read()
    await away.close()


async def test_before_arming_what_would_keep_a_weight_from_counting_is_told(pdns: PowerDns, chat: PowerdnsRoute) -> None:
    assert [f.good for f in await chat.preflight()] == [True, True]
    await somebody_sets(pdns, "LUA", "A \"ifportup(443, {'192.0.2.10'})\"")
    (found,) = await chat.preflight()
    assert found.good is False
    assert "no weight of ours" in found.text


async def test_a_server_that_answers_no_lua_records_and_a_copy_of_a_zone_are_told_before_arming(tmp_path: Path) -> None:
    if powerdns_missing():
        pytest.skip("server missing: pdns_server (pdns-server, pdns-backend-sqlite3)")
    async with powerdns(tmp_path, ((CHAT, "A", LEGACY),), lua="no", kind="SLAVE") as server:
        chat = route(server)
        try:
            _, lua, copy = await chat.preflight()
        finally:
            await chat.close()
    assert (lua.good, copy.good) == (None, False)
    assert "enable-lua-records=yes" in lua.cure
    assert "overwritten by its primary" in copy.text


async def test_the_ttl_is_lowered_without_touching_the_values(chat: PowerdnsRoute) -> None:
    await chat.set_ttl(5)
    assert (await chat.ttl())[0] == 5
    assert (await chat.read()).is_at(0)


@given(st.integers(0, 100))
def test_each_weight_is_read_as_it_is_written(weight: int) -> None:
    assert weight_of(RECORD, {"LUA": (lua_content(RECORD, weight),)}) == weight


@given(st.text(max_size=80))
def test_no_other_text_is_a_weight(text: str) -> None:
    assert weight_of(RECORD, {"LUA": (text,)}) is None
    assert weight_of(RECORD, {"LUA": (lua_content(RECORD, 25) + text,)}) == (None if text else 25)


async def test_it_is_asked_once_more_just_before_the_change(chat: PowerdnsRoute) -> None:
    await refused_before_the_change(chat, 25)
