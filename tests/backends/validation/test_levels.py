"""Speeds, latencies, errors and memory held against each other without a plan."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from backends.histogram import Histogram
from backends.validation.curve import Curve
from backends.validation.levels import Asked, Kind, compare_levels
from backends.validation.load_slices import LoadReport
from backends.validation.series import Sample
from backends.validation.spread import Buckets, Samples, held, ordered
from backends.validation.stats import Interval, difference_of, ratio_of
from backends.verdict import Verdict

START = 1e9


def timed(values: list[float], rate: float = 10.0) -> Curve:
    curve = Curve("time", "log", every=True)
    curve.extend(Sample(START + i / rate, START + i / rate, v) for i, v in enumerate(values))
    return curve


def stepped(values: list[float]) -> Curve:
    curve = Curve("step", "log")
    curve.extend(Sample(float(i), float(i), v) for i, v in enumerate(values))
    return curve


def gauss(count: int, mean: float, *, seed: int = 1, spread: float = 0.03) -> list[float]:
    chance = random.Random(seed)
    return [mean * chance.gauss(1, spread) for _ in range(count)]


def latencies(count: int, *, seed: int, scale: float = 1.0) -> list[float]:
    chance = random.Random(seed)
    return [scale * chance.lognormvariate(4, 0.4) for _ in range(count)]


def ask(kind: Kind, old: Curve, new: Curve, **more: object) -> tuple[Verdict, str]:
    within = {"latency": 0.05, "error_rate": 0.001}.get(kind, 0.05)
    found = compare_levels(Asked(kind, **({"within": within} | more)), [old], [new])  # type: ignore[arg-type]
    return found.verdict, found.reason


def test_throughput_is_a_median_without_the_warm_up_of_each_run() -> None:
    cold = [500.0] * 40
    one, other = stepped(cold + gauss(400, 1000)), stepped(gauss(400, 975, seed=2))
    verdict, reason = ask("throughput", one, other)
    assert verdict is Verdict.PASS
    assert "warm-up left out: 40 and 0 samples" in reason
    assert "slowest 5 %" in reason
    assert ask("throughput", one, stepped(gauss(400, 900, seed=2)))[0] is Verdict.BREACH
    assert ask("throughput", one, stepped(gauss(400, 900, seed=2)), within=0.2)[0] is Verdict.PASS
    assert ask("step_time", stepped(gauss(400, 1.0)), stepped(gauss(400, 1.1, seed=2)))[0] is Verdict.BREACH
    assert ask("step_time", stepped(gauss(9, 1.0)), stepped(gauss(400, 1.0)))[1].startswith("9 and 400 samples")


def test_a_target_that_stands_still_half_of_the_time_is_no_pass() -> None:
    still = [v if i % 5 < 2 else 0.0 for i, v in enumerate(gauss(400, 1000, seed=2))]
    verdict, reason = ask("throughput", stepped(gauss(400, 1000)), stepped(still))
    assert verdict is Verdict.BREACH
    assert "(-100 %)" in reason


def test_latencies_are_held_against_each_other_at_equal_load_only() -> None:
    one = timed(latencies(4000, seed=1), 100)
    assert ask("latency", one, timed(latencies(4000, seed=2, scale=1.4), 104))[0] is Verdict.BREACH
    verdict, reason = ask("latency", one, timed(latencies(4000, seed=2, scale=1.4), 150))
    assert verdict is Verdict.INCONCLUSIVE
    assert reason.startswith("latencies are compared at equal load only, and loads differ: 100 and 150 requests a second (+50 %")
    assert ask("latency", one, timed(latencies(4000, seed=2, scale=1.4), 150), loads_apart=0.6)[0] is Verdict.BREACH
    verdict, reason = ask("latency", one, stepped(latencies(4000, seed=2)))
    assert verdict is Verdict.INCONCLUSIVE
    assert "the load of target is not known" in reason


def test_the_quantile_of_few_requests_is_the_highest_that_they_know() -> None:
    verdict, reason = ask("latency", timed(latencies(100, seed=1)), timed(latencies(100, seed=2, scale=3)))
    assert verdict is Verdict.BREACH
    assert reason.startswith("target is worse: p90 ")
    assert "too few requests to know p99" in reason
    assert ask("latency", timed(latencies(100, seed=1)), timed([1.0] * 19))[1] == "100 and 19 requests, 20 a side needed"


def test_one_distribution_seldom_breaches_and_a_slower_one_seldom_passes() -> None:
    same = [
        ask("latency", timed(latencies(600, seed=i)), timed(latencies(600, seed=1000 + i)), quantile=0.9)[0] for i in range(150)
    ]
    slow = [
        ask("latency", timed(latencies(600, seed=i)), timed(latencies(600, seed=1000 + i, scale=1.1)), quantile=0.9)[0]
        for i in range(150)
    ]
    assert same.count(Verdict.BREACH) == 0
    assert slow.count(Verdict.PASS) <= 3


def test_bounds_of_a_difference_of_quantiles_are_those_of_scipys_ranks() -> None:
    one, other = sorted(latencies(1500, seed=1)), sorted(latencies(1500, seed=2, scale=1.2))
    row = held("p95", Samples(one), Samples(other), 0.95)

    def bounds(values: list[float]) -> tuple[float, float]:
        low = int(scipy_stats.binom.ppf(0.05, len(values), 0.95))
        high = int(scipy_stats.binom.ppf(0.95, len(values), 0.95))
        return values[low - 1], values[high]

    (old_low, old_high), (new_low, new_high) = bounds(one), bounds(other)
    assert row.apart.low == pytest.approx(row.target - row.legacy - math.hypot(row.target - new_low, old_high - row.legacy))
    assert row.apart.high == pytest.approx(row.target - row.legacy + math.hypot(new_high - row.target, row.legacy - old_low))
    assert row.apart.low < row.target - row.legacy < row.apart.high
    assert 1 + row.change.low == pytest.approx(
        row.target / row.legacy / math.exp(math.hypot(math.log(row.target / new_low), math.log(old_high / row.legacy)))
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(1e-6, 3000), min_size=30, max_size=80), st.sampled_from([0.5, 0.8]))
def test_bounds_from_buckets_are_never_narrower_than_those_of_the_samples_in_them(values: list[float], q: float) -> None:
    counted = Histogram()
    for value in values:
        counted.record(value)
    exact, rough = (held("q", side, side, q).apart for side in (Samples(values), Buckets(counted)))
    middle = abs(Buckets(counted).quantile(q) - Samples(values).quantile(q))  # both are the middle of what they know
    assert rough.high - rough.low >= exact.high - exact.low - 4 * middle - 1e-9
    for rank, value in enumerate(sorted(values)):
        low, high = counted.ranked(rank)
        assert low - 1e-6 <= value <= high + 1e-6


def test_what_is_0_has_no_ratio_and_only_what_is_sure_is_said_of_it() -> None:
    assert ratio_of(0.0, Interval(0.0, 2.0), 10.0, Interval(8.0, 12.0)) == (0.0, 0.25)
    assert ratio_of(1.0, Interval(0.5, 2.0), 0.0, Interval(0.0, 1.0)) == (0.0, math.inf)
    assert difference_of(3.0, Interval(0.0, 7.0), 3.0, Interval(0.0, 6.0)) == (
        pytest.approx(-math.hypot(3, 3)),
        pytest.approx(5.0),
    )


def test_errors_are_judged_by_exact_bounds_and_shares_by_what_they_can_say() -> None:
    clean = timed([0.0] * 4000)
    assert ask("error_rate", clean, clean)[0] is Verdict.PASS
    assert ask("error_rate", clean, timed([0.0] * 60))[1].endswith("2995 requests without an error would show it")
    assert ask("error_rate", clean, timed([float(i % 200 == 0) for i in range(4000)]))[0] is Verdict.BREACH
    assert ask("error_rate", timed([0.0] * 60), timed([0.0] * 60), is_share=True)[0] is Verdict.PASS
    bursts = [0.5 if i % 5 == 0 else 0.0 for i in range(60)]
    verdict, reason = ask("error_rate", timed([0.0] * 60), timed(bursts))
    assert verdict is Verdict.INCONCLUSIVE
    assert "10 % in the mean: they come in bursts" in reason


def test_memory_is_held_against_the_card_and_a_log_that_says_that_it_ran_out_breaches() -> None:
    one, other = stepped([60.0, 70.0]), stepped([70.0, 77.0])
    card = {"unit": "GiB", "capacities": (None, 80 * 2.0**30)}
    assert ask("memory", one, other, **card)[0] is Verdict.BREACH
    assert ask("memory", one, stepped([75.0]), **card)[0] is Verdict.PASS
    assert ask("memory", one, stepped([72.0]))[1].startswith("peak 70 → 72")
    other.out_of_memory = "CUDA out of memory"
    assert ask("memory", one, other)[1] == "target ran out of memory: CUDA out of memory"


def test_a_thousand_times_legacy_asks_about_the_units() -> None:
    verdict, reason = ask("step_time", stepped(gauss(100, 1.0)), stepped(gauss(100, 1040.0, seed=2)))
    assert verdict is Verdict.INCONCLUSIVE
    assert reason.startswith("target is 1032 times legacy: are the units the same?")


def report(values: list[float], *, sent: list[int], length: float | None = None, failed: int = 0) -> LoadReport:
    made = LoadReport("load", "legacy", "latency")
    if length is not None:
        made.begin({"slice": length})
    part = len(values) // len(sent)
    for i, count in enumerate(sent):
        histogram = Histogram()
        for value in values[i * part : (i + 1) * part]:
            histogram.record(value)
        errors = {"timeout": failed} if i == 0 and failed else {}
        made.take({"at": i * 10.0, "sides": {"legacy": {"latency": histogram.as_json(), "sent": count, "errors": errors}}})
    return made


def test_what_load_has_kept_is_compared_with_its_loads_and_its_errors() -> None:
    one = report([v / 1000 for v in latencies(4000, seed=1)], sent=[1000] * 4)
    other = report([v / 1000 for v in latencies(4000, seed=2, scale=1.4)], sent=[1000, 1000, 1000, 700], failed=3)
    found = compare_levels(Asked("latency", 0.05), [one], [other])
    assert found.verdict is Verdict.BREACH
    assert found.loads == (100.0, 100.0)
    assert "0 and 3 requests failed and have no latency" in found.reason
    assert [f.name for f in found.figures] == ["p50", "p90", "p99"]
    busy = report([v / 1000 for v in latencies(4000, seed=2)], sent=[2000] * 4)
    assert compare_levels(Asked("latency", 0.05), [one], [busy]).verdict is Verdict.INCONCLUSIVE
    short = report([v / 1000 for v in latencies(400, seed=3)], sent=[500], length=5.0)
    assert compare_levels(Asked("latency", 0.05), [one], [short]).loads == (100.0, 100.0)
    assert compare_levels(Asked("error_rate", 0.001), [one], [other]).counts == (4000, 3700)


def test_a_target_with_figures_that_are_none_breaches_and_requests_without_a_latency_do_not_vanish() -> None:
    one, odd = stepped(gauss(100, 1000)), stepped([math.nan, *gauss(99, 1000)])
    assert ask("throughput", one, odd) == (Verdict.BREACH, "1 figures of target are NaN or infinite")
    assert ask("throughput", odd, odd)[0] is Verdict.PASS
    answered = timed(latencies(4000, seed=1), 100)
    failing = timed([math.nan if i % 50 == 0 else v for i, v in enumerate(latencies(4000, seed=1))], 100)
    verdict, reason = ask("latency", answered, failing, quantile=0.5)
    assert verdict is Verdict.INCONCLUSIVE
    assert reason.startswith("more of target's requests have no latency")
    assert "0 and 80 requests failed and have no latency" in reason
    assert ask("latency", failing, failing, quantile=0.5)[0] is Verdict.PASS


def test_one_wrong_time_does_not_make_another_load() -> None:
    curve = timed(latencies(4000, seed=2), 100)
    curve.add(Sample(0.0, 0.0, 50.0))
    verdict, reason = ask("latency", timed(latencies(4000, seed=1), 100), curve, quantile=0.5)
    assert verdict is Verdict.PASS
    assert "100 and 100" in reason


def test_every_figure_of_a_step_counts_for_a_peak() -> None:
    ranks = Curve("step", "log", every=True)
    ranks.extend(Sample(float(i // 4), float(i), 79.0 if i == 1 else 60.0) for i in range(40))
    assert ask("memory", stepped([60.0, 61.0]), ranks, unit="GiB", capacities=(None, 80 * 2.0**30))[0] is Verdict.BREACH


def test_very_many_figures_are_ordered_as_few_are() -> None:
    values = latencies(100_001, seed=5)
    assert list(ordered(values)) == sorted(values)
    assert held("p99", Samples(values), Samples(values), 0.99).delta == 0
