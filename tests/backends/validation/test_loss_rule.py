"""The loss's trigger: what noise does, what is an explosion, and that simulated weeks and breaches do as docs/losses.md says."""

from __future__ import annotations

import math
import random
from itertools import accumulate
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.plan.models import Axis
from backends.validation.loss_rule import LossRule, apart, exploded, of_plain, plain
from backends.validation.series import Sample, Series
from backends.validation.trigger import TriggerResult
from backends.verdict import Verdict
from tests.backends.validation.test_trigger import NOW, ask
from tests.bench.loss_streams import SHAPES, recorded_noise
from tests.bench.losses import Run, run_breach, run_week


def curve(values: list[float], by: Axis = "step", every: float = 1.0) -> Series:
    series = Series(by)
    for i, value in enumerate(values):
        series.add(Sample(float(i + 1), NOW - (len(values) - 1 - i) * every, value))
    return series


def noisy(scale: float, count: int, seed: int, spread: float = 0.03) -> list[float]:
    chance = random.Random(seed)
    return [scale * math.exp(chance.gauss(0, spread)) for _ in range(count)]


def judged(legacy: list[float], target: list[float], by: Axis = "step", **more: object) -> TriggerResult:
    return ask("loss", curve(legacy, by), curve(target, by), worse_by=0.01, **more)


@given(st.floats(0.01, 100), st.floats(0.01, 100))
def test_a_difference_is_the_same_either_way_round(legacy: float, target: float) -> None:
    assert apart(legacy, target) == -apart(target, legacy)
    assert plain(apart(legacy, target)) == pytest.approx(target / legacy - 1, rel=1e-6, abs=1e-9)
    assert of_plain(plain(apart(legacy, target))) == pytest.approx(apart(legacy, target), rel=1e-6, abs=1e-9)


def test_steps_that_vary_do_not_roll_back_where_their_latest_places_are_worse() -> None:
    legacy, target = noisy(2.0, 2000, 1), noisy(2.0, 2000, 2)
    target[-5:] = [v * 1.04 for v in legacy[-5:]]
    result = judged(legacy, target)
    assert result.verdict is not Verdict.BREACH
    assert "more, but not proven" in result.reason


def test_steps_worse_by_twice_the_limit_breach_however_much_they_vary() -> None:
    result = judged(noisy(2.0, 4000, 1), noisy(2.0, 2000, 2) + noisy(2.04, 2000, 3))
    assert result.verdict is Verdict.BREACH
    assert result.value == pytest.approx(0.02, abs=0.005)
    assert "over the last" in result.reason


def test_where_higher_is_better_less_is_worse() -> None:
    legacy, target = noisy(0.7, 4000, 1, 0.005), noisy(0.7, 2000, 2, 0.005) + noisy(0.686, 2000, 3, 0.005)
    assert judged(legacy, target, measure={"higher_is_better": True}).verdict is Verdict.BREACH
    assert judged(target, legacy, measure={"higher_is_better": True}).too_good


def test_better_by_chance_does_not_hold_and_better_for_good_does() -> None:
    legacy, target = noisy(2.0, 2000, 1), noisy(2.0, 2000, 2)
    target[-5:] = [v * 0.96 for v in legacy[-5:]]
    assert not judged(legacy, target).too_good
    assert judged(noisy(2.04, 4000, 1, 0.005), noisy(2.0, 4000, 2, 0.005)).too_good


def test_a_jump_of_some_steps_is_none_that_stays() -> None:
    legacy = noisy(2.0, 600, 1, 0.002)
    target = noisy(2.0, 560, 2, 0.002) + noisy(2.6, 40, 3, 0.002)
    assert judged(legacy, target).verdict is not Verdict.BREACH


def test_few_epochs_that_differ_evenly_breach_and_few_that_wander_cannot_tell() -> None:
    assert judged([1.0] * 8, [1.02] * 8, "epoch").verdict is Verdict.BREACH
    result = judged([1.0] * 8, [1.0, 1.01, 1.0, 1.02, 1.03, 1.02, 1.04, 1.03], "epoch")
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "not proven" in result.reason


def test_a_single_odd_epoch_does_not_breach_and_three_do() -> None:
    legacy, steady = noisy(2.0, 120, 1, 0.0005), noisy(2.0, 120, 2, 0.0005)
    assert judged(legacy, [*steady[:-1], 2.3], "epoch").verdict is Verdict.PASS
    assert judged(legacy, [*steady[:-3], 2.06, 2.07, 2.06], "epoch").verdict is Verdict.BREACH


def test_a_known_noise_of_the_plan_is_added_to_the_limit() -> None:
    legacy, target = [1.0] * 20, [1.02] * 20
    assert judged(legacy, target, "epoch", measure={"noise": "0.5%"}).verdict is Verdict.BREACH
    inside = judged(legacy, target, "epoch", measure={"noise": "1.5%"})
    assert inside.verdict is Verdict.INCONCLUSIVE
    assert "inside the known noise" in inside.reason


def test_an_explosion_breaches_at_its_second_place() -> None:
    legacy = noisy(2.5, 300, 1)
    assert not judged(legacy, [*noisy(2.5, 299, 2), 11.0]).fast
    result = judged(legacy, [*noisy(2.5, 298, 2), 11.0, 10.9])
    assert result.verdict is Verdict.BREACH
    assert result.fast
    assert not exploded([1.0, 12.0, 1.0], [5.0, 5.0], higher_is_better=False)
    assert exploded([0.7, 0.72], [0.1, 0.1], higher_is_better=True)


def test_steps_that_are_far_apart_need_no_hundred_and_sixty() -> None:
    sums = [0.0, *accumulate([0.03] * 10)]
    assert LossRule(0.01, 1.0).proven(sums, 10) is None
    assert LossRule(0.01, 1800.0).proven(sums, 10) is not None


def test_the_latest_places_are_those_that_both_have() -> None:
    one, other = curve([1.0] * 10), Series("step")
    for x in (2.0, 9.0, 7.0, 12.0, 4.0):
        other.add(Sample(x, NOW, 1.0))
    assert one.latest_common(other, 3) == [4.0, 7.0, 9.0]


def test_twice_the_limit_is_acted_on_where_steps_are_paired() -> None:
    assert run_breach(Run(1, "paired", "step", 0.02, soaked=True)) <= 160


@pytest.mark.parametrize("by", ["step", "epoch"])
def test_a_healthy_week_does_not_roll_back_where_the_plain_difference_does(by: str) -> None:
    assert run_week(Run(3, "white", by)) == (False, by == "step")


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("shape", ["white", "AR(1) 0.5", "spikes", "restarts", "bursty", "MLPerf"])
def test_twice_the_limit_is_acted_on_within_4096_steps(shape: str) -> None:
    if shape == "MLPerf" and recorded_noise() is None:
        pytest.skip("recordings are absent")
    assert median(run_breach(Run(seed, shape, "step", 0.02, soaked=True)) for seed in range(9)) <= 4096


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("by", ["step", "epoch"])
@pytest.mark.parametrize("shape", SHAPES)
def test_of_many_healthy_weeks_at_most_one_in_a_hundred_rolls_back(shape: str, by: str) -> None:
    if shape == "MLPerf" and recorded_noise() is None:
        pytest.skip("recordings are absent")
    assert sum(run_week(Run(1000 + seed, shape, by))[0] for seed in range(100)) <= 1
