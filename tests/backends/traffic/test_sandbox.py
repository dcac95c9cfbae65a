"""The sandbox's route against a small front door over real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.children import Children
from backends.plan.models import Route as RouteSpec
from backends.traffic.base import ForeignChange, Route, RouteError
from backends.traffic.open import open_route
from backends.traffic.seen_sides import expected_counts, judge_sides
from tests.backends.traffic.asked import refused_before_the_change
from tests.peers.frontdoor import FrontDoor, frontdoor
from tests.peers.process import free_ports


@pytest.fixture
async def door() -> AsyncIterator[FrontDoor]:
    async with frontdoor() as opened:
        yield opened


def spec(url: str, probe: dict[str, str] | None) -> RouteSpec:
    return RouteSpec.model_validate({"name": "chat", "workload": "w", "sandbox": {"admin": url}, "probe": probe})


@pytest.fixture
async def chat(door: FrontDoor, tmp_path: Path) -> AsyncIterator[Route]:
    route = open_route(spec(door.url, {"url": f"{door.url}/"}), base=tmp_path, children=Children())
    yield route
    await route.close()


@pytest.mark.parametrize("weight", [0, 5, 25, 50, 100])
async def test_a_weight_is_confirmed_where_clients_go(door: FrontDoor, chat: Route, weight: int) -> None:
    await chat.set(weight, expected=0)
    assert door.weight == weight
    confirmed = await chat.confirm(weight)
    assert confirmed.is_confirmed
    assert confirmed.data_plane is True
    assert confirmed.share == pytest.approx(weight / 100, abs=0.03)
    assert f"the front door says {weight}" in confirmed.detail


async def test_an_authority_that_is_not_followed_is_not_confirmed(door: FrontDoor, chat: Route) -> None:
    door.stuck = 25
    await chat.set(0, expected=None)
    confirmed = await chat.confirm(0)
    assert confirmed.authority
    assert confirmed.data_plane is False
    assert not confirmed.is_confirmed
    assert "5 of 20 clients asked were on target" in confirmed.detail


async def test_what_somebody_else_set_is_not_overwritten(door: FrontDoor, chat: Route) -> None:
    door.weight = 40
    with pytest.raises(ForeignChange):
        await chat.set(25, expected=5)
    assert door.weight == 40


@pytest.mark.parametrize("said", ["nonsense", '{"weight": true}', '{"weight": 101}', '{"weight": "5"}', "[]", "\x1b[2J"])
async def test_an_answer_that_holds_no_weight_is_an_error(door: FrontDoor, chat: Route, said: str) -> None:
    door.broken = said
    with pytest.raises(RouteError, match="no weight from 0 to 100") as caught:
        await chat.read()
    assert "\x1b" not in caught.value.message


async def test_a_front_door_that_is_gone_is_an_error(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_ports(1)[0]}"
    route = open_route(spec(url, None), base=tmp_path, children=Children())
    with pytest.raises(RouteError, match="route chat: cannot ask"):
        await route.set(5, expected=0)
    await route.close()


async def test_without_a_probe_clients_are_not_asked(door: FrontDoor, tmp_path: Path) -> None:
    route = open_route(spec(door.url, None), base=tmp_path, children=Children())
    assert (await route.confirm(0)).data_plane is None
    await route.close()


async def test_clients_that_get_no_answer_confirm_nothing(door: FrontDoor, tmp_path: Path) -> None:
    probe = {"url": f"http://127.0.0.1:{free_ports(1)[0]}/"}
    route = open_route(spec(door.url, probe), base=tmp_path, children=Children())
    confirmed = await route.confirm(0)
    assert confirmed.data_plane is False
    assert "0 of 20 clients asked were answered" in confirmed.detail
    await route.close()


def test_one_client_on_the_wrong_side_is_one_too_many() -> None:
    assert not judge_sides(["legacy"] * 19 + ["target"], 20, 0)[0]
    assert not judge_sides(["target"] * 19 + ["legacy"], 20, 100)[0]


@settings(max_examples=50, deadline=None)
@given(count=st.integers(20, 60), weight=st.integers(1, 99))
def test_the_exact_share_fits_always_and_bounds_lie_around_it(count: int, weight: int) -> None:
    low, high = expected_counts(count, weight / 100)
    assert 0 <= low <= count * weight / 100 <= high <= count


async def test_it_is_asked_once_more_just_before_the_change(chat: Route) -> None:
    await refused_before_the_change(chat, 25)
