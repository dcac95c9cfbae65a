"""Taking legacy down: step by step, the archive first, only while target lives, and a way back only while what is left carries the load."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.children import Children
from backends.cutover.inventory import inventory, inventory_text
from backends.cutover.preflight import Proof
from backends.cutover.rollback import plan_rollback
from backends.engine.retiring import LoweringFailed, Retiring
from backends.errors import RefusedByRule
from backends.plan.models import Plan
from backends.snapshot import Health, State
from tests.backends.cutover.model_world import ModelEngine, ModelWorld, plan_of, story

STEPS = [{"to": "50%", "command": ["lower", "half"]}, {"to": "0%", "command": ["lower", "all"], "after": "10s"}]
MORE: dict[str, Any] = {"retire": {"steps": STEPS}, "archive": ["logs"], "capacity": {"command": ["can-carry"]}}


@pytest.fixture
def it() -> Iterator[ModelEngine]:
    made = ModelEngine(plan_of(**MORE))
    with made.failpoints():
        made.to_dual()
        made.wait(30)
        for state in (State.COMMITTED, State.RETIRING):
            ended = made.advance()
            assert not isinstance(ended, Exception), ended
            assert made.m.state is state
        yield made
    assert not made.world.wrong
    made.close()


def kinds(it: ModelEngine) -> list[str]:
    return [e.kind for e in it.events]


def test_legacy_falls_step_by_step_and_the_window_goes_on(it: ModelEngine) -> None:
    began = it.m.window_from
    it.advance()
    assert it.world.lowered == [0.5]
    assert (it.m.state, it.m.legacy_left, it.m.archived) == (State.RETIRING, 0.5, {"logs"})
    refused = it.advance()
    assert isinstance(refused, RefusedByRule)
    assert refused.rule == "WINDOW", "its time in the window has not come"
    it.wait(10)
    it.advance()
    assert it.world.lowered == [0.5, 0.0]
    assert it.m.window_from == began
    it.wait(20)
    it.advance()
    assert it.m.state is State.DECOMMISSIONED


def test_what_remains_and_costs_is_in_the_journal_before_each_step(it: ModelEngine) -> None:
    it.advance()
    told = kinds(it)
    assert told.count("inventory") == 2, "before retiring, and before the first fall"
    last = len(told) - 1 - told[::-1].index("inventory")
    assert last < next(i for i, e in enumerate(it.events) if e.kind == "op.intent" and e.data["kind"] == "lower_legacy")


def test_an_archive_that_is_not_equal_ends_nothing(it: ModelEngine) -> None:
    it.world.out_of_sync.add("logs")
    assert "1 of 2 equal" in it.advance().message
    assert it.world.lowered == []
    assert it.m.state is State.RETIRING
    assert it.m.is_held
    it.world.out_of_sync.clear()
    it.resume()
    it.advance()
    assert it.world.lowered == [0.5]


@pytest.mark.parametrize("health", [Health.UNKNOWN, Health.DEAD])
def test_nothing_is_lowered_while_target_is_not_alive(it: ModelEngine, health: Health) -> None:
    it.world.healths["target"] = health
    refused = it.advance()
    assert isinstance(refused, RefusedByRule)
    assert refused.rule == "SR1"
    assert it.world.lowered == []


def test_legacy_is_not_decommissioned_while_target_is_not_alive(it: ModelEngine) -> None:
    it.advance()
    it.wait(40)
    it.advance()
    it.world.healths["target"] = Health.UNKNOWN
    refused = it.advance()
    assert isinstance(refused, RefusedByRule)
    assert refused.rule == "SR1"
    assert it.m.state is State.RETIRING


@pytest.mark.parametrize("point", ["lower_legacy.forward.after-intent", "lower_legacy.forward.after-send"])
def test_a_fall_that_was_killed_counts_as_fallen_for_the_way_back(it: ModelEngine, point: str) -> None:
    own = it.failpoint

    def failpoint(name: str) -> None:
        if name == point:
            it.kill_in = 0
            own(name)

    it.failpoint = failpoint  # type: ignore[method-assign]
    with it.failpoints():
        it.advance()
    assert it.m.legacy_left == 0.5
    assert it.m.state is State.RETIRING
    assert not it.m.ops


def test_a_proof_of_the_archive_that_was_killed_proves_nothing(it: ModelEngine) -> None:
    own = it.failpoint

    def failpoint(name: str) -> None:
        if name == "verify_archive.forward.after-sent":
            it.kill_in = 0
            own(name)

    it.failpoint = failpoint  # type: ignore[method-assign]
    with it.failpoints():
        it.advance()
    assert it.m.archived == set()
    assert it.m.legacy_left == 1.0


def test_a_rollback_goes_only_while_what_is_left_carries_the_load(it: ModelEngine) -> None:
    it.advance()
    assert plan_rollback(it.world, "graceful").blocked_by == (), "the plan's command says that it does"
    it.world.proofs["capacity"] = Proof(False, "6 of 12 GPUs", at=float("inf"))
    blocked = plan_rollback(it.world, "graceful", accept_unknown=True).blocked_by
    assert blocked == ("legacy has been lowered to 50 % and cannot carry the load: 6 of 12 GPUs",)
    assert it.rollback() is State.ROLLBACK_BLOCKED
    it.world.proofs["capacity"] = Proof(True, "12 of 12 GPUs", at=float("inf"))
    assert it.rollback() is State.ROLLED_BACK


def test_without_a_way_to_ask_a_lowered_legacy_needs_an_explicit_word() -> None:
    world = ModelWorld()
    world.migration.legacy_left = 0.5
    assert "nothing shows that it carries the load" in plan_rollback(world, "graceful").blocked_by[0]
    assert plan_rollback(world, "graceful", accept_unknown=True).blocked_by == ()


def test_the_inventory_says_what_stands_and_what_it_costs() -> None:
    host = {"name": "old-1", "address": "10.0.0.1", "gpus": {"type": "A100", "count": 8}}
    plan = plan_of(legacy={"provider": "old", "gpu_hour_usd": 2.5, "hosts": [host]})
    m = story(
        ("sync.round", {"dataset": "ckpt", "bytes_total": 2_000_000_000}), ("sync.round", {"dataset": "logs", "bytes_total": 5})
    )
    items = inventory(plan, m)
    assert [(i.kind, i.name, i.gpus, i.usd_per_hour, i.bytes) for i in items] == [
        ("host", "old-1", 8, 20.0, None),
        ("store", "old", None, None, 2_000_000_005),
    ]
    assert inventory_text(items) == "1 hosts with 8 GPUs, 14,600 USD a month; 1 stores with 2.0 GB"


def test_an_unknown_size_is_not_nothing() -> None:
    assert [i.bytes for i in inventory(plan_of(), story())] == [None]


async def test_legacy_is_lowered_by_the_plans_command_and_asked_whether_it_is(tmp_path: Path) -> None:
    for name, body in (("lower", 'echo "$1" > level'), ("is-at", 'grep -qx "$1" level')):
        script = tmp_path / name
        script.write_text(f"#!/bin/sh\n{body}\n")
        script.chmod(0o700)
    steps = [
        {"to": "50%", "command": ["./lower", "half"], "check": ["./is-at", "half"]},
        {"to": "0%", "command": ["./is-at", "none"]},
    ]
    plan: Plan = plan_of(retire={"steps": steps})
    ssh: Any = None  # nothing is asked of hosts
    retiring = Retiring(plan, tmp_path, Children(), ssh)
    assert not (await retiring.lowered(0.5))[0]
    await retiring.lower(0.5)
    assert (tmp_path / "level").read_text() == "half\n"
    assert (await Retiring(plan, tmp_path, Children(), ssh).lowered(0.5))[0], "also for an engine that comes after"
    with pytest.raises(LoweringFailed, match="ended with 1"):
        await retiring.lower(0.0)
    assert await retiring.lowered(0.0) == (False, "nothing tells whether it is so")


def auto_plan() -> Plan:
    routes = tuple(r.model_copy(update={"advance": "auto"}) if r.name == "chat" else r for r in plan_of().routes)
    return plan_of().model_copy(update={"routes": routes})


def test_an_automatic_route_goes_on_when_its_soak_is_done_and_never_after_a_rollback() -> None:
    it = ModelEngine(auto_plan())
    for _ in range(4):
        it.advance()
    it.advance("chat")
    assert it.weights["chat"] == 50
    it.do(it.engine.guard._auto())
    assert it.weights["chat"] == 50, "it has not soaked yet"
    it.wait(10)
    it.do(it.engine.guard._auto())
    assert it.weights["chat"] == 100
    assert it.events[-1].kind == "state"
    it.rollback()
    it.resume()
    it.advance()
    it.advance("chat")
    assert it.weights["chat"] == 50
    it.wait(100)
    it.do(it.engine.guard._auto())
    assert it.weights["chat"] == 50, "once rolled back it goes on by hand alone"
    it.close()
