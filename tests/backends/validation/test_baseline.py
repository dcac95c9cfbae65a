"""Legacy's recorded figures, and gates where they stand for a legacy that cannot be asked any more."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.plan.models import Gate, Measure, MeasureKind, Source
from backends.validation.baseline import Baseline, noise_of, take
from backends.validation.gate import GateResult, judge_gate
from backends.validation.series import Sample, Series
from backends.verdict import Verdict

NOW = 1_000_000.0
SOURCE = Source(file="x", value="v")


def measure(kind: MeasureKind) -> Measure:
    return Measure(name="m", workload="w", kind=kind, legacy=SOURCE, target=SOURCE)


def levels(scale: float, *, count: int = 2000, until: float = NOW, seed: int = 1) -> Series:
    chance, series = random.Random(seed), Series("time")
    for i in range(count):
        at = until - (count - 1 - i)
        series.add(Sample(at, at, scale * chance.uniform(0.5, 1.5)), arrived=at)
    return series


def curve(scale: float = 1.0, count: int = 60) -> Series:
    series = Series("epoch")
    series.extend(Sample(float(e), NOW - count + e, scale * (2 + 1 / e)) for e in range(1, count + 1))
    return series


def taken(kind: MeasureKind, *runs: Series) -> Baseline:
    found = take(measure(kind), runs)
    assert isinstance(found, Baseline), found
    return found


def gate(kind: MeasureKind, legacy: Series, target: Series, baseline: Baseline | None, **spec: object) -> GateResult:
    return judge_gate(
        Gate.model_construct(**({"measure": "m"} | spec)), measure(kind), legacy, target, now=NOW, baseline=baseline
    )


def test_a_level_is_recorded_as_its_median_with_bounds_and_spread() -> None:
    found = taken("latency", levels(100))
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    assert found.value == pytest.approx(100, rel=0.05)
    assert found.spread == pytest.approx((55, 145), rel=0.05)
    assert found.quantiles["p99"] == pytest.approx(149, rel=0.01)
    assert "p99.9" not in found.quantiles  # two values lie beyond it
    assert found.figure(measure("latency")) == found.quantiles["p99"]


def test_a_rate_of_errors_is_recorded_by_its_count() -> None:
    series = Series("time")
    series.extend(Sample(float(i), float(i), float(i % 500 == 0)) for i in range(1000))
    assert taken("error_rate", series).value == 0.002
    few = Series("time")
    few.extend(Sample(float(i), float(i), 0.0) for i in range(50))
    assert take(measure("error_rate"), [few]) == "50 samples, 100 needed"


def test_of_several_runs_the_noise_is_how_far_two_of_them_differ() -> None:
    runs = [curve(), curve(1.003), curve(0.999)]
    assert taken("loss", *runs).noise == pytest.approx(1.003 / 0.999 - 1)
    assert noise_of([curve()]) is None
    assert taken("loss", curve()).noise is None


def test_too_little_is_said_and_not_recorded() -> None:
    assert take(measure("step_time"), [levels(1, count=9)]) == "9 samples, 10 needed"
    assert take(measure("loss"), [Series("epoch")]) == "no figure at any place"


@given(st.lists(st.floats(0.001, 1e6), min_size=10, max_size=60))
def test_the_journal_gives_back_what_was_recorded(values: list[float]) -> None:
    series = Series("time")
    series.extend(Sample(float(i), float(i), v) for i, v in enumerate(values))
    for kind in ("latency", "step_time", "memory"):
        found = taken(kind, series)
        assert Baseline.from_json(json.loads(json.dumps(found.as_json() | {"text": found.text, "newer": 1}))) == found


def test_with_legacy_silent_a_gate_reads_the_baseline_and_says_so() -> None:
    recorded = taken("latency", levels(100))
    gone, same, slow = levels(100, until=NOW - 9000), levels(100, seed=2), levels(130, seed=3)
    assert gate("latency", gone, same, None, within=0.05).verdict is Verdict.INCONCLUSIVE
    passed = gate("latency", gone, same, recorded, within=0.05)
    assert passed.verdict is Verdict.PASS
    assert passed.reason.endswith("against the baseline, legacy is silent")
    assert gate("latency", gone, slow, recorded, within=0.05).verdict is Verdict.BREACH
    assert gate("latency", Series("time"), Series("time"), recorded, within=0.05).verdict is Verdict.INCONCLUSIVE


def test_while_legacy_speaks_it_is_the_yardstick() -> None:
    recorded = taken("latency", levels(50))
    assert gate("latency", levels(100), levels(100, seed=2), recorded, within=0.05).verdict is Verdict.PASS


def test_a_curve_of_a_legacy_whose_log_is_gone_is_the_recorded_one() -> None:
    recorded = taken("loss", curve())
    passed = gate("loss", Series("epoch"), curve(1.001), recorded, at=(10.0, 50.0), within=0.005)
    assert passed.verdict is Verdict.PASS
    assert passed.reason.endswith("against the baseline")
    assert gate("loss", Series("epoch"), curve(1.02), recorded, at=(10.0, 50.0), within=0.005).verdict is Verdict.BREACH
    assert gate("loss", Series("epoch"), curve(1.001, 39), recorded, at=(10.0, 50.0), within=0.005).waiting


def test_a_share_of_errors_is_recorded_as_its_mean_and_not_as_failed_requests() -> None:
    source = Source(prometheus="http://p", query="q")
    spec = Measure(name="errors", workload="w", kind="error_rate", legacy=source, target=source)
    series = Series("time")
    series.extend(Sample(float(i), float(i), 0.001) for i in range(200))
    taken = take(spec, [series])
    assert isinstance(taken, Baseline)
    assert taken.value == pytest.approx(0.001)
