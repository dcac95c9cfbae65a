"""cutover.md, section 7: windows count observed time. A jump of a wall clock moves none of them, whosever clock it is."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import pytest

from backends.cutover.migration import Migration
from backends.cutover.world import HEALTH_AGE
from backends.engine import clock as clock_module
from backends.engine import sides
from backends.engine.clock import ObservedClock
from backends.engine.judge import Judge
from backends.plan.models import Plan, Source
from backends.validation.feed import Feed
from backends.validation.files import FileReader
from backends.vocabulary import Health, Phase, State
from tests.backends.cutover.model_world import plan_of

HOUR = 3600.0
BEGAN = 1_790_000_000.0
BREACHED = 40  # seconds after the weight was set
LAST = 80
UNMOVED: list[float] = []  # found once
Whose = Literal["nobody's", "ours", "the sources'", "everybody's"]


def judged_plan(folder: Path) -> Plan:
    sources = {side: {"file": str(folder / f"{side}.jsonl"), "value": "error", "by": "time"} for side in ("legacy", "target")}
    measure = {"name": "errors", "workload": "chat", "kind": "error_rate"} | sources
    trigger = {"measure": "errors", "above": "1%", "windows": ["5s", "30s"], "action": "rollback"}
    return plan_of(measures=[measure], triggers=[trigger], gates={phase.value: [] for phase in Phase})


class Watched:
    """The desk of a judge over two logs, and all the clocks there are."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, observed: float = 0.0) -> None:
        self.boot, self.wall, self.theirs = 5000.0, BEGAN, BEGAN
        monkeypatch.setattr(clock_module, "boot_clock", lambda: self.boot)
        monkeypatch.setattr(time, "time", lambda: self.wall)
        self.clock = ObservedClock(observed)
        self.plan, self.migration = judged_plan(folder), Migration(state=State.SOAKING)
        route = self.migration.route("chat")
        route.desired = route.confirmed = 50
        self.recovering = self.is_going_back = False
        self.asked_at: float | None = None
        fleet = SimpleNamespace(view=lambda name, now: None)
        self.world: Any = SimpleNamespace(follow=self.follow, fleet=fleet, wall_now=lambda: None, backup_errors={})
        self.judge = Judge(self, SimpleNamespace())  # type: ignore[arg-type]
        self.logs = {side: folder / f"{side}.jsonl" for side in ("legacy", "target")}

    def follow(self, source: Source, pinned: Any) -> Feed:
        return Feed(source, FileReader(), pinned=pinned, clock=self.clock.stamp, wall=lambda: self.wall)

    def observed_now(self) -> float:
        return self.clock.now()

    def stamp(self) -> float:
        return self.clock.stamp()

    def stamp_of(self, observed: float) -> float:
        return self.clock.stamp_of(observed)

    async def record(self, kind: str, data: dict[str, Any], *, actor: str = "engine") -> None:
        """The journal is not looked at."""

    async def rollback(self, **told: Any) -> None:
        """It is asked for; `by_itself` notes when."""

    async def by_itself(self, run: Any, name: str) -> None:
        await run
        self.asked_at, self.is_going_back = self.clock.now(), True

    async def second(self, errors: int) -> None:
        """A second passes; each side answers ten requests in it, so many of target's with an error."""
        self.boot, self.wall, self.theirs = self.boot + 1, self.wall + 1, self.theirs + 1
        for side, path in self.logs.items():
            bad = errors if side == "target" else 0
            lines = [json.dumps({"time": round(self.theirs - 1 + n / 10, 1), "error": int(n < bad)}) + "\n" for n in range(10)]
            with path.open("a") as log:
                log.writelines(lines)
        for feed in self.judge._unique:
            await feed.poll()
        await self.judge.judge(self.stamp())


async def acted_at(watched: Watched, jumps_at: int, jump: float, whose: Whose) -> float | None:
    for second in range(LAST):
        if second == jumps_at:
            watched.wall += jump if whose in ("ours", "everybody's") else 0.0
            watched.theirs += jump if whose in ("the sources'", "everybody's") else 0.0
        await watched.second(errors=2 if second >= BREACHED and second % 2 == 0 else 0)
        if watched.asked_at is not None:
            return watched.asked_at
    return None


@pytest.fixture
async def unmoved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> float:
    """When the same breach is acted on where no clock jumps."""
    if not UNMOVED:
        (tmp_path / "unmoved").mkdir()
        found = await acted_at(Watched(tmp_path / "unmoved", monkeypatch), 0, 0.0, "nobody's")
        assert found is not None
        UNMOVED.append(found)
    assert UNMOVED[0] > BREACHED
    return UNMOVED[0]


@pytest.mark.parametrize("jump", [HOUR, -HOUR])
@pytest.mark.parametrize("whose", ["ours", "the sources'", "everybody's"])
async def test_a_breach_is_acted_on_at_the_same_moment_whatever_clock_jumps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unmoved: float, jump: float, whose: Whose
) -> None:
    assert await acted_at(Watched(tmp_path, monkeypatch), BREACHED + 2, jump, whose) == unmoved


async def test_a_clock_that_is_put_right_again_blinds_nobody_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unmoved: float
) -> None:
    """The bastion began an hour ahead of everybody, and is put right."""
    watched = Watched(tmp_path, monkeypatch)
    watched.theirs -= HOUR
    assert await acted_at(watched, 10, -HOUR, "ours") == unmoved


async def test_after_a_restart_a_window_goes_on_with_what_had_been_observed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While no engine ran nothing was observed, however long that was."""
    watched = Watched(tmp_path, monkeypatch, observed=60.0)
    watched.migration.route("chat").since = 50.0
    for _ in range(5):
        await watched.second(errors=0)
    assert watched.judge.trigger_views()[0].reason == "window 15 s of 30 s"


async def test_a_proof_of_health_grows_older_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """SR3: the clock that goes on through sleep, as in section 7."""
    now = [5000.0]
    monkeypatch.setattr(sides, "boot_clock", lambda: now[0])
    plan = plan_of(legacy={"provider": "old", "hosts": [{"name": "a", "address": "local"}]})
    answers = SimpleNamespace(run=lambda *args, **more: asyncio.sleep(0))
    watch = sides.SideWatch("legacy", plan, answers)  # type: ignore[arg-type]
    assert (await watch.look_now()).is_fresh
    now[0] += HOUR
    assert (watch.health().health, watch.health().age) == (Health.UNKNOWN, HOUR)


@pytest.mark.parametrize(("hosts", "pause"), [(1, 1.0), (8, 1.0), (20, 2.4), (128, 15.0), (1000, 15.0)])
async def test_a_large_side_is_asked_by_ssh_at_a_pace_that_keeps_its_proof_fresh(
    monkeypatch: pytest.MonkeyPatch, hosts: int, pause: float
) -> None:
    plan = plan_of(legacy={"provider": "old", "hosts": [{"name": f"h{i}", "address": "local"} for i in range(hosts)]})
    asked: list[str] = []

    async def answer(host: str, *args: object, **more: object) -> None:
        asked.append(host)

    async def paused(seconds: float) -> None:
        assert (seconds, len(asked)) == (pytest.approx(pause), hosts)
        assert seconds < HEALTH_AGE / 2
        raise asyncio.CancelledError

    watch = sides.SideWatch("legacy", plan, SimpleNamespace(run=answer))  # type: ignore[arg-type]
    monkeypatch.setattr(sides.asyncio, "sleep", paused)
    with pytest.raises(asyncio.CancelledError):
        await watch.run()
    assert watch.health().health is Health.ALIVE
