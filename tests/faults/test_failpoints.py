"""kill -9 at every step boundary of every operation, forward and backward (cutover.md, section 5).

After the restart the world is one of {before, after}, never between, and the engine knows which: what was confirmed stays, a rollback
finishes by itself, a forward step that had not taken effect waits for the operator. No client sees an error.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.engine.client import EngineClient
from backends.engine.errors import EngineGone
from backends.errors import RefusedByRule
from backends.snapshot import Snapshot, State
from tests.faults.small_world import SmallWorld, client_of, start, wait_until_gone

LIMIT = 30.0


BOUNDARIES = ("before-intent", "after-intent", "after-send", "after-sent", "after-observed", "after-confirmed")
FORWARD = ("weight.forward", "quiesce.forward", "token.forward", "last_round.forward")
SAFETY = ("resume.safety", "weight.safety")  # past the commit point of a handover
BACKWARD = (
    *("check_side.backward", "check_route.backward", "weight.backward", "quiesce.backward", "token.backward"),
    *("last_round.backward", "resume.backward", "drain.backward", "compare.backward"),
)
STATES = ("preparing", "armed", "shifting", "soaking", "dual", "rolling_back", "rolled_back")
RUNS = [
    f"run.{kind}.{w}"
    for kind in ("advance", "rollback")
    for w in ("before-started", "after-started", "before-ended", "after-ended")
]
BETWEEN = [*(f"state.{s}.{w}" for s in STATES for w in ("before", "after")), *RUNS, "armed.after"]
COMMANDED = ["command.after-journaled", "command.before-ended"]  # killed at in test_hands
# Tokens and weights pass their points more than once: the second time is another moment of the handover.
SECOND = [
    "token.forward.after-confirmed@2",
    "token.backward.after-confirmed@2",
    "weight.backward.after-send@2",
    "weight.forward.after-send@2",
]


def of(kinds: tuple[str, ...]) -> list[str]:
    """The points of these operations, in their order."""
    return [f"{kind}.{boundary}" for kind in kinds for boundary in BOUNDARIES]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[SmallWorld]:
    made = SmallWorld(tmp_path)
    with made.served():
        yield made


async def until(client: EngineClient, *states: State, held: bool = False) -> Snapshot:
    """The first snapshot in one of these states (or held), with nothing moving."""
    async with asyncio.timeout(LIMIT):
        async for now in client.events():
            moving = now.run is not None and now.run.ended_at is None
            recovering = now.engine is not None and now.engine.recovering
            if not moving and not recovering and (now.state in states or (held and now.held)):
                return now
    raise EngineGone("the stream ended")


async def advance(client: EngineClient, **args: str) -> None:
    """As soon as it is allowed: soak and spacing take their time."""
    async with asyncio.timeout(LIMIT):
        while True:
            try:
                await client.command("advance", {"reason": "test", **args})
            except RefusedByRule as refused:
                if refused.rule not in ("SOAK", "SR5", "SR3", "BUSY", "WINDOW", "PREFLIGHT"):
                    raise
                await asyncio.sleep(0.1)
            else:
                return


async def whole_way(client: EngineClient) -> None:
    """Planned to dual, and all the way back."""
    for _ in range(4):
        await advance(client)
    for _ in range(2):
        await advance(client)
    await until(client, State.DUAL)
    await client.command("rollback", {"confirm": "small", "reason": "test"})


def assert_whole(world: SmallWorld) -> None:
    """The world is one of {before, after}, and the journal says which."""
    m = world.journal()
    assert {name: m.route(name).confirmed for name in world.weights} == world.weights
    assert not m.ops, "no operation is left open"
    token = m.token("ckpt")
    home = token.writer == "legacy" and world.writers == {"legacy": True, "target": False} and world.weights["jobs"] == 0
    moved = token.writer == "target" and world.writers == {"legacy": False, "target": True} and world.weights["jobs"] == 100
    assert home or moved, (token, world.writers, world.weights)


async def home_again(world: SmallWorld, client: EngineClient) -> None:
    """From wherever it is, production can be brought home."""
    now = await client.snapshot()
    if now.state is not State.ROLLED_BACK and world.journal().has_effects:
        await client.command("rollback", {"confirm": "small", "reason": "test"})
    assert world.weights == {"chat": 0, "jobs": 0}
    assert world.writers == {"legacy": True, "target": False}
    assert world.journal().token("ckpt").writer == "legacy"


async def test_the_walk_passes_every_point_there_is(world: SmallWorld, tmp_path: Path) -> None:
    log = tmp_path / "points"
    start(world, log=log)
    async with client_of(world) as client:
        await whole_way(client)
        await client.command("down", {})
    wait_until_gone(world)
    passed = dict.fromkeys(line.split("@")[0] for line in log.read_text().split())
    assert set(passed) == {*of(FORWARD), *of(SAFETY), *of(BACKWARD), *BETWEEN, *COMMANDED}
    assert world.errors == 0


async def kill_and_look(world: SmallWorld, point: str) -> None:
    start(world, failpoint=point)
    async with client_of(world) as client:
        with pytest.raises(EngineGone):
            await whole_way(client)
    wait_until_gone(world)
    was_going_back = world.journal().state is State.ROLLING_BACK
    start(world)
    async with client_of(world) as client:
        settled = (State.PLANNED, State.PREPARING, State.ARMED, State.SOAKING, State.DUAL, State.ROLLED_BACK)
        now = await until(client, *((State.ROLLED_BACK,) if was_going_back else settled))
        assert_whole(world)
        if was_going_back:
            assert world.weights == {"chat": 0, "jobs": 0}
        forward_lost = "forward" in point and "confirmed" not in point
        if forward_lost and now.state is not State.DUAL and any(w in point for w in ("intent", "send", "sent", "observed")):
            assert now.held or now.state in (State.SOAKING, State.DUAL)
        await home_again(world, client)
        assert world.errors == 0
        await client.command("down", {"anyway": True})
    wait_until_gone(world)
    world.journal()


# Classes, so that the points are shared out among the workers.
def in_turn(points: list[str]) -> list[Any]:
    """As parameters: where the world may be ahead of the journal in every run, the others in the slow ones. The effects model
    (`test_kill_everywhere`) passes every point in every run."""
    always = ("after-send", "after-send@2", "after-started", "armed.after")
    return [pytest.param(p, marks=() if p.endswith(always) else pytest.mark.slow) for p in points]


class TestKilledGoingForward:
    @pytest.mark.parametrize("point", in_turn(of(FORWARD)))
    async def test_at(self, world: SmallWorld, point: str) -> None:
        await kill_and_look(world, point)


class TestKilledPastTheCommitPoint:
    @pytest.mark.parametrize("point", in_turn([*of(SAFETY), *SECOND]))
    async def test_at(self, world: SmallWorld, point: str) -> None:
        await kill_and_look(world, point)


class TestKilledGoingBack:
    @pytest.mark.parametrize("point", in_turn(of(BACKWARD[:4])))
    async def test_at(self, world: SmallWorld, point: str) -> None:
        await kill_and_look(world, point)


class TestKilledNearlyBack:
    @pytest.mark.parametrize("point", in_turn(of(BACKWARD[4:])))
    async def test_at(self, world: SmallWorld, point: str) -> None:
        await kill_and_look(world, point)


class TestKilledBetweenOperations:
    @pytest.mark.parametrize("point", in_turn(BETWEEN))
    async def test_at(self, world: SmallWorld, point: str) -> None:
        await kill_and_look(world, point)
