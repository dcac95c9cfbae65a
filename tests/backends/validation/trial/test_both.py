"""What a validation run says of one figure."""

from __future__ import annotations

import random

import pytest

from backends.plan.models import TrialFigure, Workload
from backends.validation.causes import Cause
from backends.validation.series import Sample, Series
from backends.validation.trial.both import SideRun, judge_figure, likely
from backends.validation.trial.environment import causes_in
from backends.validation.trial.remote import Ended
from backends.verdict import Verdict


def workload(class_: str) -> Workload:
    return Workload.model_validate({"name": "w", "class": class_})


def steps(scale: float, *, cold: int = 0, count: int = 200, seed: int = 1) -> Series:
    chance, series = random.Random(seed), Series("step")
    for i in range(count):
        series.add(Sample(i + 1.0, float(i), scale * (6.0 if i < cold else 1.0) * chance.gauss(1, 0.02)))
    return series


TIME = TrialFigure(value="seconds", kind="step_time")


def test_a_warm_up_longer_than_a_tenth_is_left_out_and_said() -> None:
    judged = judge_figure(workload("training"), TIME, [steps(1)], [steps(1, cold=60, seed=2)])
    assert judged.verdict is Verdict.PASS
    assert "warm-up left out: 0 and 60 samples" in judged.reason
    assert "slowest 5 %" in judged.reason


def test_a_steady_slowdown_is_no_warm_up() -> None:
    assert judge_figure(workload("training"), TIME, [steps(1)], [steps(1.1, seed=2)]).verdict is Verdict.BREACH


@pytest.mark.parametrize(("class_", "verdict"), [("batch", Verdict.PASS), ("training", Verdict.BREACH)])
def test_batch_work_may_be_a_fifth_slower(class_: str, verdict: Verdict) -> None:
    assert judge_figure(workload(class_), TIME, [steps(1)], [steps(1.15, seed=2)]).verdict is verdict
    loss = TrialFigure(value="loss", kind="loss")
    assert judge_figure(workload(class_), loss, [steps(1)], [steps(1.15)]).verdict is Verdict.BREACH


def test_causes_stand_in_one_order_whatever_the_order_of_the_differences() -> None:
    differ: list[tuple[str, str | None, str | None]] = [
        ("os", "a", "b"), ("env.NCCL_ALGO", None, "Ring"), ("env.NVIDIA_TF32_OVERRIDE", "0", "1"), ("env.JAX_SEED", "1", "2"),
        ("version.numpy", "1", "2"), ("version.torch", "2.3", "2.4"),
    ]  # fmt: skip
    assert [c.cause.partition(" (")[0] for c in causes_in(differ)] == [
        "versions of the framework differ", "versions of other libraries differ", "the seeds differ", "flags of precision differ",
        "other settings of the environment differ", "the machines differ",
    ]  # fmt: skip
    assert causes_in(differ)[0].evidence == "torch 2.3 → 2.4"
    assert causes_in([]) == ()


def run(series: Series, figure: TrialFigure, *causes: Cause, **settings: str) -> tuple[SideRun, ...]:
    return (SideRun(1, Ended(0, 1.0, ""), {figure.value: series}, None, causes, settings),)


def test_causes_of_a_loss_begin_with_the_software_and_those_of_a_speed_with_the_machines() -> None:
    hot = Cause("throttled GPUs on target", "gpu-b1: GPU 0: thermal (hardware)")
    differ: list[tuple[str, str | None, str | None]] = [("cpu", "a", "b"), ("version.torch", "2.3", "2.4")]
    loss = TrialFigure(value="loss", kind="loss")
    curves = {side: Series("step") for side in ("legacy", "target")}
    for i in range(40):
        curves["legacy"].add(Sample(i + 1.0, float(i), 2.0))
        curves["target"].add(Sample(i + 1.0, float(i), 2.0 * (1 + i / 1000)))
    runs = {
        "legacy": run(curves["legacy"], loss, global_batch_size="32"),
        "target": run(curves["target"], loss, hot, global_batch_size="64"),
    }
    assert [c.cause.partition(":")[0] for c in likely(loss, runs, differ, workload("training"))] == [  # type: ignore[arg-type]
        "versions of the framework differ", "another batch size", "they drift apart", "the machines differ", "throttled GPUs on target",
    ]  # fmt: skip
    times = {"legacy": run(steps(1), TIME), "target": run(steps(1.2), TIME, hot)}
    assert [c.cause for c in likely(TIME, times, differ, workload("training"))] == [  # type: ignore[arg-type]
        "throttled GPUs on target", "versions of the framework differ", "the machines differ",
    ]  # fmt: skip
