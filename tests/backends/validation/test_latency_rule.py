"""The latency's trigger: what is counted, what it is held against, and that simulated weeks and breaches do as cutover.md, section 6, says."""

from __future__ import annotations

import math
from random import Random
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.validation.error_rule import Call
from backends.validation.latency_rule import LatencyRule
from backends.validation.question import REMEMBERED
from backends.validation.series import Sample, Series
from backends.validation.stats import hypergeometric_tail
from backends.validation.trigger_latency import REMEMBERED_HOUR, remembered
from backends.verdict import Verdict
from tests.backends.validation.test_trigger import NOW, ask, requests, times
from tests.bench.latencies import LIMIT, Breach, Week, run_breach, run_week
from tests.bench.latency_streams import P99, Seen, simulate

RULE = LatencyRule(120.0, 600.0, 0.99)


@given(st.integers(1, 30), st.integers(1, 30), st.data())
def test_the_tail_is_fishers_exact_one(trials: int, others: int, data: st.DataObject) -> None:
    events = data.draw(st.integers(0, trials + others))
    low, high = max(0, events - others), min(events, trials)
    k = data.draw(st.integers(low, high))
    ways = [math.comb(trials, i) * math.comb(others, events - i) for i in range(low, high + 1)]
    assert hypergeometric_tail(k, trials, events, trials + others) == pytest.approx(sum(ways[k - low :]) / sum(ways))


def test_a_quantile_that_thirty_requests_do_not_lie_beyond_is_not_known() -> None:
    assert RULE.known(10_000, 3_000) == 0.99
    assert RULE.known(10_000, 600) == 0.95
    assert RULE.known(20) == 0.5


def test_what_slows_both_sides_is_no_reason_to_go_back() -> None:
    slow = times(4, seed=2)
    assert ask("latency", times(4), slow, worse_by=0.25).verdict is Verdict.PASS
    held = ask("latency", times(7), times(7, seed=2), worse_by=0.25, absolute=100.0)
    assert held.verdict is Verdict.INCONCLUSIVE
    assert "common cause" in held.reason


def test_slow_requests_that_come_together_prove_nothing() -> None:
    """A quarter of the requests are slower than is allowed, but all of these in one stretch."""
    chance = Random(3)
    values = [(3 if 440 <= i < 590 else 1) * chance.lognormvariate(3, 0.2) for i in range(600)]
    assert ask("latency", times(1), requests(values), worse_by=0.25).verdict is Verdict.PASS
    spread = [(3 if i % 4 == 0 else 1) * chance.lognormvariate(3, 0.2) for i in range(600)]
    assert ask("latency", times(1), requests(spread), worse_by=0.25).verdict is Verdict.BREACH


def test_times_that_are_all_the_same_are_compared_too() -> None:
    same = requests([10.0] * 600)
    assert ask("latency", same, requests([12.5] * 600), worse_by=0.25).verdict is Verdict.PASS
    assert ask("latency", same, requests([13.0] * 600), worse_by=0.25).verdict is Verdict.BREACH


def test_an_hour_of_a_legacy_that_gets_no_more_requests_is_remembered() -> None:
    series = Series("time")
    for i in range(50_000):
        at = NOW - 90_000 + i * 0.1
        series.add(Sample(at, at, 10.0 + i))
    hour = remembered(series)
    assert REMEMBERED < len(hour) <= REMEMBERED_HOUR
    assert hour[0] == pytest.approx(10.0 + 14_000, abs=3)
    few = requests([10.0] * 50, every=600.0)
    assert len(remembered(few)) == 50
    assert remembered(Series("time")) == []


def test_the_simulated_times_are_those_of_the_distribution() -> None:
    seen = Seen(simulate(np.random.default_rng(1), "stationary", 360, 500, 1.0), 360)
    assert seen.count(3600) == pytest.approx(1_800_000, rel=0.01)
    assert seen.quantile(0.99, 3600) == pytest.approx(P99, rel=0.08)
    assert seen.above(math.exp(0.5), 3600).share == pytest.approx(0.1587, rel=0.2)
    assert sum(part.errors for part in seen.parts(2.0, 3600, 60)) == seen.above(2.0, 3600).errors


@pytest.mark.parametrize("soaked", [False, True], ids=["at a new weight", "after an hour"])
def test_twice_the_limit_is_acted_on_within_both_windows(soaked: bool) -> None:
    beyond = [run_breach(Breach(s, "stationary", 50, 2 * LIMIT / P99, soaked), ["limit"])["limit"] for s in range(9)]
    assert median(beyond) <= RULE.long + RULE.short
    slower = [run_breach(Breach(s, "stationary", 50, 1.5, soaked), ["ratio"])["ratio"] for s in range(9)]
    assert median(slower) <= RULE.long + RULE.short


def test_an_extreme_slowdown_is_acted_on_within_the_short_window() -> None:
    took = [run_breach(Breach(s, "stationary", 50, 3.0, True), ["ratio"])["ratio"] for s in range(9)]
    assert median(took) <= RULE.short


@pytest.mark.parametrize("times_the_limit", [1.5, 4.0])
def test_a_common_cause_of_an_hour_holds(times_the_limit: float) -> None:
    level = times_the_limit * LIMIT / P99
    for soaked in (False, True):
        assert run_breach(Breach(1, "stationary", 50, level, soaked, level)) == {"limit": math.inf, "ratio": math.inf}


@pytest.mark.parametrize("shape", ["AR(1) 0.9", "diurnal"])
def test_a_healthy_week_does_not_roll_back_where_a_rule_without_bounds_often_does(shape: str) -> None:
    assert not run_week(Week(1, shape, 50)) & {"limit", "ratio"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("shape", ["stationary", "AR(1) 0.5", "AR(1) 0.9", "bursty requests", "stalls", "diurnal"])
def test_of_many_healthy_weeks_at_most_one_in_a_hundred_rolls_back(shape: str) -> None:
    weeks = [Week(1000 + seed, shape, rate) for rate in (1, 50, 500) for seed in range(34)]
    assert sum(bool(run_week(week) & {"limit", "ratio"}) for week in weeks) <= 1


def test_the_rule_says_by_which_quantile_it_called() -> None:
    chance = np.random.default_rng(2)
    slow, old = (Seen(simulate(chance, "stationary", 60, 2.0, level), 60) for level in (3.0, 1.0))
    found = RULE.slower(slow, old, 1.25, fast=False)
    assert found.call is Call.SLOW
    assert found.quantile == pytest.approx(1 - 30 / min(slow.count(600), old.count(600)))
