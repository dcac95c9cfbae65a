"""Weights of a Kubernetes gateway, over the API server's HTTP (kmock, with conflicts of its own added)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from backends.children import Children
from backends.plan.models import Route as RouteSpec
from backends.traffic.base import ForeignChange, Route, RouteError
from backends.traffic.open import open_route
from tests.backends.traffic.asked import refused_before_the_change
from tests.peers.kubernetes import HTTPROUTES, ApiServer, kubernetes


def rule(legacy: int | None = 100, target: int = 0, **more: Any) -> dict[str, Any]:
    old: dict[str, Any] = {"name": "old", "port": 80} | ({"weight": legacy} if legacy is not None else {})
    return {"matches": [{"path": {"value": "/"}}], "backendRefs": [old, {"name": "new", "port": 80, "weight": target}]} | more


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[ApiServer]:
    async with kubernetes(tmp_path) as running:
        yield running


@pytest.fixture
async def chat(api: ApiServer, tmp_path: Path) -> AsyncIterator[Route]:
    spec = {"name": "chat", "legacy": "old", "target": "new", "kubeconfig": "kubeconfig"}
    model = RouteSpec.model_validate({"name": "chat", "workload": "w", "gateway": spec})
    route = open_route(model, base=tmp_path, children=Children())
    yield route
    await route.close()


async def test_a_weight_is_written_beside_all_that_others_wrote(api: ApiServer, chat: Route) -> None:
    api.put(HTTPROUTES, "chat", spec={"hostnames": ["chat.example.net"], "rules": [rule(), rule(7, 3)]})
    assert (await chat.read()).is_at(0)
    await chat.set(25, 0)
    spec = api.find(HTTPROUTES, "chat")["spec"]
    assert [ref["weight"] for ref in spec["rules"][0]["backendRefs"]] == [75, 25]
    assert (spec["hostnames"], spec["rules"][1]) == (["chat.example.net"], rule(7, 3))
    assert spec["rules"][0]["matches"] == [{"path": {"value": "/"}}]
    for weight in (100, 0):
        await chat.set(weight, None)
        assert (await chat.confirm(weight)).authority


async def test_somebody_elses_weight_is_foreign(api: ApiServer, chat: Route) -> None:
    api.put(HTTPROUTES, "chat", spec={"rules": [rule(2, 1)]})
    seen = await chat.read()
    assert (seen.weight, bool(seen.foreign)) == (33, True)
    with pytest.raises(ForeignChange):
        await chat.set(50, 33)
    await chat.set(0, None)
    assert (await chat.read()).is_at(0)


async def test_a_weight_that_is_not_written_is_one(api: ApiServer, chat: Route) -> None:
    api.put(HTTPROUTES, "chat", spec={"rules": [rule(None, 0)]})
    assert (await chat.read()).is_at(0)


async def test_a_gateway_that_has_not_taken_it_in_is_waited_for(api: ApiServer, chat: Route) -> None:
    def taken(generation: int) -> dict[str, Any]:
        kinds = ("Accepted", "ResolvedRefs")
        return {"parents": [{"conditions": [{"type": k, "status": "True", "observedGeneration": generation} for k in kinds]}]}

    api.put(HTTPROUTES, "chat", spec={"rules": [rule()]}, metadata={"generation": 4}, status=taken(3))
    seen = await chat.confirm(0)
    assert (seen.authority, seen.data_plane, seen.is_confirmed) == (True, False, False)
    api.edit(HTTPROUTES, "chat", status=taken(4))
    assert (await chat.confirm(0)).is_confirmed


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ([], "no backendRefs old and new"),
        ([{"backendRefs": [{"name": "old"}]}], "no backendRefs old and new"),
        ([rule(0, 0)], "nobody is served"),
        (
            [{"backendRefs": [{"name": "old"}, {"name": "new"}, {"name": "third", "weight": 5}]}],
            "other backends with a weight: third",
        ),
        ([{"backendRefs": [{"name": "old", "weight": "x"}, {"name": "new"}]}], "has the weight x"),
    ],
)
async def test_what_cannot_be_moved_is_told(api: ApiServer, chat: Route, rules: list[Any], said: str) -> None:
    api.put(HTTPROUTES, "chat", spec={"rules": rules})
    with pytest.raises(RouteError, match=said):
        await chat.read()


async def test_a_route_that_is_not_there_is_told(api: ApiServer, chat: Route) -> None:
    with pytest.raises(RouteError, match="route chat"):
        await chat.read()


async def test_a_write_of_somebody_elses_in_between_is_not_lost(api: ApiServer, chat: Route) -> None:
    api.put(HTTPROUTES, "chat", spec={"rules": [rule()]})
    api.interfering = 2
    await chat.set(50, 0)
    assert (await chat.read()).is_at(50)
    api.interfering = 99
    with pytest.raises(RouteError, match="others changed it"):
        await chat.set(100, 50)


async def test_it_is_asked_once_more_just_before_the_change(api: ApiServer, chat: Route) -> None:
    api.put(HTTPROUTES, "chat", spec={"hostnames": ["chat.example.net"], "rules": [rule()]})
    await refused_before_the_change(chat, 25)
