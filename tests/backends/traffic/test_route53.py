"""Routes by Route 53 against ministack: batches that are compare-and-swap, INSYNC waited for, and records that are none of ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from backends.children import Children
from backends.plan.models import Route as RouteSpec
from backends.plan.records import full_record
from backends.traffic.base import ForeignChange, RouteError
from backends.traffic.open import open_route
from backends.traffic.route53 import Route53Route
from backends.traffic.route53_client import Access, Route53Client, Route53Error
from backends.traffic.route53_records import changes, held_of, wanted
from tests.backends.traffic.asked import refused_before_the_change
from tests.backends.traffic.test_by_hand import block
from tests.peers.fault_proxy import fault_proxy
from tests.peers.ministack import MiniStack, ministack
from tests.peers.name_server import CHAT, LEGACY, TARGET

RECORD = full_record(CHAT, [LEGACY], [TARGET])
Raw = dict[str, Any]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MiniStack]:
    pytest.importorskip("ministack", reason="server missing: ministack")
    async with ministack(tmp_path_factory.mktemp("route53"), "route53,sts") as server:
        yield server


class Zone:
    """A hosted zone of its own, and the API as somebody else would use it."""

    def __init__(self, stack: MiniStack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        self.api = Route53Client(Access(stack.endpoint, stack.region, None, "test", "test"))
        self.id = ""
        self.routes: list[Route53Route] = []

    async def change(self, *acts: tuple[str, Raw]) -> None:
        batch = {"Changes": [{"Action": act, "ResourceRecordSet": raw} for act, raw in acts]}
        await self.api.call("change_resource_record_sets", HostedZoneId=self.id, ChangeBatch=batch)

    async def raws(self) -> list[Raw]:
        told = await self.api.call("list_resource_record_sets", HostedZoneId=self.id)
        return [r for r in told["ResourceRecordSets"] if r["Name"] == f"{CHAT}."]

    def route(self, **fields: Any) -> Route53Route:
        spec = {"zone": self.id, "record": CHAT, "legacy": LEGACY, "target": TARGET, "endpoint": self.stack.endpoint}
        spec |= {"access_key": "test", "secret_key": "test"}
        model = RouteSpec.model_validate({"name": "chat", "workload": "w", "route53": spec | fields})
        made = open_route(model, base=self.folder, children=Children())
        assert isinstance(made, Route53Route)
        self.routes.append(made)
        return made


@pytest_asyncio.fixture
async def zone(stack: MiniStack, tmp_path: Path) -> AsyncIterator[Zone]:
    made = Zone(stack, tmp_path)
    told = await made.api.call("create_hosted_zone", Name="example.net", CallerReference=tmp_path.name)
    made.id = told["HostedZone"]["Id"].rpartition("/")[2]
    yield made
    for route in made.routes:
        await route.close()
    await made.api.close()


def simple(*values: str, **more: Any) -> Raw:
    return {"Name": f"{CHAT}.", "Type": "A", "TTL": 60, "ResourceRecords": [{"Value": v} for v in values or (LEGACY,)], **more}


def weighted(value: str, weight: int, set_id: str, **more: Any) -> Raw:
    return simple(value, SetIdentifier=set_id, Weight=weight, **more)


async def confirmed(route: Route53Route, weight: int) -> str:
    async with asyncio.timeout(30):
        while not (seen := await route.confirm(weight)).is_confirmed:  # noqa: ASYNC110 - Route 53 tells nobody
            await asyncio.sleep(0.2)
    return seen.detail


async def test_a_simple_record_becomes_a_weighted_pair_and_goes_home_again(zone: Zone) -> None:
    await zone.change(("CREATE", simple()))
    chat = zone.route()
    assert (await chat.read()).is_at(0)
    await chat.set(25, expected=0)
    assert sorted((r["SetIdentifier"], r["Weight"]) for r in await zone.raws()) == [
        ("cutover-legacy", 75),
        ("cutover-target", 25),
    ]
    await confirmed(chat, 25)
    await chat.set(100, expected=25)
    assert (await chat.read()).is_at(100)
    await chat.set(0, expected=100)
    assert [(r["SetIdentifier"], r["Weight"]) for r in await zone.raws()] == [("cutover-legacy", 100)]
    await confirmed(chat, 0)


async def test_a_change_is_not_confirmed_before_it_is_in_sync(zone: Zone) -> None:
    await zone.change(("CREATE", simple()))
    chat = zone.route()
    await chat.set(50, expected=0)
    first = await chat.confirm(50)
    assert not first.authority
    assert "PENDING, not yet at all of Route 53's servers" in first.detail
    assert "INSYNC" in await confirmed(chat, 50)


async def test_identifiers_and_health_checks_of_records_that_were_there_stay(zone: Zone) -> None:
    await zone.change(
        ("CREATE", weighted(LEGACY, 10, "old-cloud", HealthCheckId="hc-1")),
        ("CREATE", weighted(TARGET, 0, "new-cloud", HealthCheckId="hc-2")),
    )
    chat = zone.route()
    seen = await chat.read()
    assert seen.is_at(0)
    assert "when the health check of legacy fails Route 53 answers with target, whose weight is 0" in seen.detail
    assert any(f.good is None and "whose weight is 0" in f.text for f in await chat.preflight())
    await chat.set(25, expected=0)
    found = sorted((r["SetIdentifier"], r["Weight"], r["HealthCheckId"]) for r in await zone.raws())
    assert found == [("new-cloud", 25, "hc-2"), ("old-cloud", 75, "hc-1")]
    await chat.set(0, expected=25)
    assert len(await zone.raws()) == 2, "a health check is not thrown away"


async def test_a_stale_change_is_refused_and_nothing_is_changed(zone: Zone) -> None:
    await zone.change(("CREATE", weighted(LEGACY, 60, "a")), ("CREATE", weighted(TARGET, 40, "b")))
    chat = zone.route()
    before = await zone.raws()
    with pytest.raises(ForeignChange) as caught:
        await chat.set(50, expected=25)
    assert (caught.value.expected, caught.value.found) == (25, 40)
    assert await zone.raws() == before
    await chat.set(0, expected=None)
    assert (await chat.read()).is_at(0)


async def test_before_arming_our_right_to_change_it_is_tried_and_nothing_is_changed(zone: Zone) -> None:
    await zone.change(("CREATE", weighted(LEGACY, 90, "a")), ("CREATE", weighted(TARGET, 10, "b")))
    chat, before = zone.route(), await zone.raws()
    assert any(f.good is True and "tried with one that changes nothing" in f.text for f in await chat.preflight())
    assert await zone.raws() == before
    assert all("tried" not in f.text for f in await chat.preflight()), "not every time: the API is asked seldom"
    other = zone.route()
    held = await other._look()
    await zone.change(("UPSERT", weighted(TARGET, 30, "b")))
    raced = await other._may_change(held)
    assert (raced.good, "changed while" in raced.text) == (None, True)
    assert {r["Weight"] for r in await zone.raws()} == {90, 30}, "somebody else's change stands"


async def test_what_is_no_key_is_told_before_arming(zone: Zone) -> None:
    await zone.change(("CREATE", simple()))
    chat = zone.route(zone="ZNOTHERE")
    held = held_of(RECORD, [simple()])
    found = await chat._may_change(held)
    assert found.good is False
    assert "NoSuchHostedZone" in found.text


async def test_the_batch_itself_fails_where_somebody_was_faster(zone: Zone) -> None:
    await zone.change(("CREATE", simple()))
    stale = [{"Action": "DELETE", "ResourceRecordSet": simple("203.0.113.66")}]
    stale += changes((), wanted(RECORD, held_of(RECORD, ()), 25, 60))
    with pytest.raises(Route53Error) as caught:
        await zone.api.call("change_resource_record_sets", HostedZoneId=zone.id, ChangeBatch={"Changes": stale})
    assert caught.value.aws_code == "InvalidChangeBatch"
    assert [r["ResourceRecords"] for r in await zone.raws()] == [[{"Value": LEGACY}]]


async def test_of_eight_writers_at_once_one_wins_and_seven_are_told(zone: Zone) -> None:
    await zone.change(("CREATE", simple()))
    routes = [zone.route() for _ in range(8)]
    for chat in routes:
        await chat.read()
    done = await asyncio.gather(*(r.set(10 + n, expected=0) for n, r in enumerate(routes)), return_exceptions=True)
    won = [10 + n for n, result in enumerate(done) if result is None]
    assert len(won) == 1, done
    assert all(isinstance(d, ForeignChange) for d in done if d is not None), done
    assert (await routes[0].read()).is_at(won[0])


@pytest.mark.parametrize(
    ("raws", "words"),
    [
        ([simple("203.0.113.66")], "holds 203.0.113.66"),
        ([simple(AliasTarget={"DNSName": "lb.aws.com."})], "is an alias record (lb.aws.com.), which is not supported"),
        ([simple(SetIdentifier="x", Region="us-east-1")], "is routed by latency, not by weight"),
        ([simple(SetIdentifier="x", Failover="PRIMARY")], "is routed by failover"),
        ([simple(), weighted(TARGET, 10, "b")], "has a simple record beside weighted ones"),
        ([weighted(LEGACY, 90, "a"), weighted("203.0.113.66", 10, "c")], "has a record beside ours: 203.0.113.66 of weight 10"),
        ([weighted(LEGACY, 0, "a"), weighted(TARGET, 0, "b")], "has weight 0 everywhere, which Route 53 answers with alike"),
        ([weighted(TARGET, 0, "b")], "has one record, of weight 0, that gets everybody"),
        ([weighted(LEGACY, 2, "a"), weighted(TARGET, 1, "b")], "has weights 2 and 1, 33.3 % on target"),
        ([{"Name": f"{CHAT}.", "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": "x.example.com"}]}], "is an alias of x.example.com"),
        ([], "holds nothing"),
    ],
)  # fmt: skip
def test_what_is_none_of_ours_is_foreign_and_told(raws: list[Raw], words: str) -> None:
    held = held_of(RECORD, raws)
    assert words in held.foreign
    # A rollback takes it: all of it goes, and legacy is what is there.
    after = wanted(RECORD, held, 0, 60)
    assert held_of(RECORD, after).weight == 0
    assert not held_of(RECORD, after).foreign


def test_weights_stay_within_what_route_53_takes() -> None:
    for weight in range(101):
        after = wanted(RECORD, held_of(RECORD, ()), weight, 60)
        assert all(0 <= r["Weight"] <= 255 for r in after)
        assert held_of(RECORD, after).weight == weight
        assert not held_of(RECORD, after).foreign


async def test_the_ttl_is_lowered_without_touching_weights(zone: Zone) -> None:
    await zone.change(("CREATE", weighted(LEGACY, 7, "a", TTL=3600)))
    chat = zone.route()
    assert (await chat.ttl())[0] == 3600
    await chat.set_ttl(60)
    with pytest.raises(Route53Error, match="PENDING"):
        await chat.ttl()
    assert [(r["Weight"], r["TTL"]) for r in await zone.raws()] == [(7, 60)]


async def test_a_zone_that_is_not_there_and_an_endpoint_that_is_down_are_told(zone: Zone) -> None:
    with pytest.raises(RouteError, match="NoSuchHostedZone"):
        await zone.route(zone="ZNOTTHERE").read()
    with pytest.raises(RouteError, match="route chat: Route 53"):
        await zone.route(endpoint="http://127.0.0.1:1").read()


async def test_a_connection_that_breaks_before_the_answer_is_told_and_the_next_call_goes(zone: Zone) -> None:
    await zone.change(("CREATE", simple()))
    async with fault_proxy(zone.stack.endpoint) as link:
        chat = zone.route(endpoint=link.endpoint)
        link.add("refuse", times=None)
        with pytest.raises(RouteError, match=r"route chat: Route 53: .*Connection was closed"):
            await chat.read()
        link.rules.clear()
        assert (await chat.read()).is_at(0)


async def test_the_batch_of_the_rollback_page_brings_weighted_records_home(zone: Zone) -> None:
    await zone.change(("CREATE", simple()))
    chat = zone.route()
    await chat.set(25, expected=0)
    batch = json.loads(block('{"Changes"'))
    await zone.api.call("change_resource_record_sets", HostedZoneId=zone.id, ChangeBatch=batch)
    assert (await chat.read()).is_at(0)


async def test_it_is_asked_once_more_just_before_the_change(zone: Zone) -> None:
    await zone.change(("CREATE", simple()))
    await refused_before_the_change(zone.route(), 25)
