"""What a handover notes and sees of a workload: the step of training, what comes back, new work."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from backends.cutover.events import Event, Kind
from backends.cutover.fold import apply
from backends.cutover.forward import route_steps
from backends.cutover.migration import Migration
from backends.cutover.rollback import plan_rollback
from backends.cutover.steps.workload import Pin, SameStep, StopNewWork
from backends.cutover.steps.writer import Quiesce
from backends.cutover.world import SideHealth
from backends.plan.models import Plan
from backends.workloads.base import NoWay, Outcome, Standing, WorkloadError
from tests.backends.cutover.model_world import plan_of

WAY = {"command": ["stop"], "resume": ["start"], "step": ["step"], "on": "engine"}


def training(**way: Any) -> Plan:
    plan = plan_of().model_dump(by_alias=True, exclude_none=True, exclude_unset=True)
    workloads = [
        {"name": "chat", "class": "batch", "quiesce": WAY | {"drain": ["drain"], "idle": ["idle"]}},
        {"name": "train", "class": "training", "writes": ["ckpt"], "quiesce": WAY | way},
    ]
    windows = {"dual": "20s", "retire": "20s", "spacing": "2s"}
    routes = [
        {"name": n, "workload": w, "command": {"set": ["x"], "get": ["x"]}, "steps": [100]}
        for n, w in (("chat", "chat"), ("jobs", "train"))
    ]
    datasets = [{"name": "ckpt", "from": "old", "to": "new", "reverse": True}]
    return Plan.model_validate(plan | {"workloads": workloads, "routes": routes, "windows": windows, "datasets": datasets})


class Training:
    """A workload whose step and answers are set; an error among them is raised."""

    def __init__(self) -> None:
        self.steps: dict[str, int | WorkloadError] = {}
        self.closing: Outcome | WorkloadError = NoWay("no way")

    async def step(self, side: str) -> int:
        found = self.steps[side]
        if isinstance(found, WorkloadError):
            raise found
        return found

    async def stop_new_work(self, side: str) -> Outcome:
        if isinstance(self.closing, WorkloadError):
            raise self.closing
        return self.closing

    async def look(self, side: str) -> Standing:
        return Standing("quiesced")


class OneWorld:
    def __init__(self, migration: Migration) -> None:
        self.migration = migration
        self.train = Training()
        self.controls = {"train": self.train}


@pytest.fixture
def world() -> Any:
    return OneWorld(Migration(at_step={"train": 1200}))


def confirmed(m: Migration, kind: str, args: dict[str, Any], **extra: Any) -> None:
    at = datetime(2026, 3, 14, tzinfo=UTC)
    op = {"id": "1", "kind": kind, "args": args, "direction": "forward"}
    apply(m, Event(1, at, "engine", Kind.INTENT, op))
    apply(m, Event(2, at, "engine", Kind.CONFIRMED, {"id": "1", "kind": kind, "args": args} | extra))


def test_a_handover_of_training_looks_at_its_step_before_its_commit_point_and_after_the_start() -> None:
    plan = training()
    kinds = [(s.kind, s.direction) for s in route_steps(plan, plan.routes[1], Migration())]
    assert kinds == [
        ("quiesce", "forward"),
        ("token", "forward"),
        ("last_round", "forward"),
        ("same_step", "forward"),
        ("token", "forward"),
        ("resume", "safety"),
        ("same_step", "safety"),
        ("weight", "safety"),
    ]


async def test_another_step_on_target_is_no_same_step(world: Any) -> None:
    world.train.steps = {"target": 1080}
    seen = await SameStep("train", "target").observe(world)
    assert (seen.done, seen.detail) == (False, "train on target goes on from step 1080; the other side stopped at 1200")
    world.train.steps = {"target": 1320}
    assert not (await SameStep("train", "target").observe(world)).done
    assert (await SameStep("train", "target", at_least=True, direction="safety").observe(world)).done
    world.train.steps = {"target": 1200}
    assert (await SameStep("train", "target").observe(world)).done


@pytest.mark.parametrize("answer", [1080, WorkloadError("no answer")])
async def test_a_step_that_differs_or_cannot_be_seen_never_stops_a_rollback(world: Any, answer: int | WorkloadError) -> None:
    world.train.steps = {"legacy": answer}
    seen = await SameStep("train", "legacy", direction="backward").observe(world)
    assert seen.done
    assert dict(seen.extra)["same_step"] is not True


async def test_the_step_that_a_side_stopped_at_is_journaled(world: Any) -> None:
    world.train.steps = {"legacy": 1440}
    seen = await Quiesce("train", "legacy").observe(world)
    assert seen.detail.endswith("at step 1440")
    confirmed(world.migration, "quiesce", {"workload": "train", "side": "legacy"}, **dict(seen.extra))
    assert world.migration.at_step == {"train": 1440}


def test_what_was_pinned_stays_where_there_is_nothing_new_to_pin() -> None:
    m = Migration()
    args = {"workload": "train", "side": "legacy"}
    confirmed(m, "pin", args, pinned={"replicas": 3})
    confirmed(m, "pin", args, pinned={})
    assert m.pinned == {("train", "legacy"): {"replicas": 3}}


def test_replicas_are_pinned_before_the_workload_is_stopped() -> None:
    plan = training(command=None, resume=None, step=None, kubernetes="ml/deployment/train")
    steps = route_steps(plan, plan.routes[1], Migration())
    assert steps[0] == Pin("train", "legacy")
    assert steps[1].kind == "quiesce"


def test_new_work_on_target_is_stopped_after_clients_have_left_and_taken_again_on_the_way_there() -> None:
    plan, m = training(), Migration()
    m.route("chat").confirmed = m.route("chat").desired = 100
    world: Any = SimpleNamespace(plan=plan, migration=m, controls={}, side=lambda side: SideHealth())
    kinds = [s.kind for s in plan_rollback(world, "graceful").steps]
    assert kinds.index("drain") < kinds.index("stop_new_work")
    confirmed(m, "stop_new_work", {"workload": "chat", "side": "target"}, closed=True)
    m.route("chat").confirmed = m.route("chat").desired = 0
    assert [s.kind for s in route_steps(plan, plan.routes[0], m)] == ["resume", "weight"]
    confirmed(m, "resume", {"workload": "chat", "side": "target"})
    assert [s.kind for s in route_steps(plan, plan.routes[0], m)] == ["weight"]


async def test_new_work_that_cannot_be_stopped_is_told_and_the_rollback_goes_on(world: Any) -> None:
    seen = await StopNewWork("train").observe(world)
    assert (seen.done, seen.detail, dict(seen.extra)["closed"]) == (True, "not stopped: no way", False)
    world.train.closing = Outcome("closed", Standing("draining", is_idle=False))
    assert dict((await StopNewWork("train").observe(world)).extra) == {"closed": True, "idle": False}
