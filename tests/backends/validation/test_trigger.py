from __future__ import annotations

import heapq
import math
import random
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.plan.models import Measure, MeasureKind, Source, Trigger
from backends.validation.series import Sample, Series
from backends.validation.trigger import TriggerResult, judge_trigger
from backends.verdict import Verdict
from tests.bench.levels import run_fast_week, run_slow, run_week

NOW = 1_000_000.0
SOURCE = Source(file="x", value="v")


def measure(kind: MeasureKind, **more: object) -> Measure:
    return Measure.model_validate({"name": "m", "workload": "w", "kind": kind, "legacy": SOURCE, "target": SOURCE} | more)


def requests(values: list[float], *, every: float = 0.1, end: float = NOW) -> Series:
    """Evenly spaced in time, the newest at `end`."""
    series = Series("time")
    for i, value in enumerate(values):
        at = end - (len(values) - 1 - i) * every
        series.add(Sample(at, at, value))
    return series


def curve(values: list[float], *, end: float = NOW) -> Series:
    series = Series("epoch")
    for i, value in enumerate(values):
        series.add(Sample(float(i + 1), end - (len(values) - 1 - i), value))
    return series


def ask(kind: MeasureKind, legacy: Series, target: Series, **more: object) -> TriggerResult:
    spec = Trigger.model_construct(**({"measure": "m"} | {k: more.pop(k) for k in ("worse_by", "above", "at") if k in more}))
    return judge_trigger(
        spec,
        measure(kind, **more.pop("measure", {})),  # type: ignore[arg-type]
        legacy,
        target,
        **({"windows": (10.0, 60.0), "since": NOW - 100, "now": NOW, "exposed": True} | more),  # type: ignore[arg-type]
    )


CLEAN = requests([0.0] * 900)


def with_errors(count: int, of: int, *, every: float = 0.1) -> Series:
    step = of // count
    return requests([1.0 if i % step == step - 1 else 0.0 for i in range(of)], every=every)


def test_errors_above_the_limit_breach_by_both_windows() -> None:
    result = ask("error_rate", CLEAN, with_errors(40, 600), above=0.02)
    assert result.verdict is Verdict.BREACH
    assert not result.fast
    assert result.compared_with == "legacy now"
    assert result.value == pytest.approx(40 / 600)
    assert "40 of 600 requests failed (6.67 %), 2 % allowed, legacy 0 %" in result.reason


def test_no_errors_pass_and_the_reason_has_the_count() -> None:
    result = ask("error_rate", CLEAN, requests([0.0] * 600), above=0.001)
    assert result.verdict is Verdict.PASS
    assert "0 errors in 600 requests" in result.reason


SHARES = {side: Source(file="x", value="v", unit="share") for side in ("legacy", "target")}


def test_shares_of_errors_are_no_requests_even_where_they_are_always_0_or_1() -> None:
    clean, failing = requests([0.0] * 90, every=1.0), requests([0.0] * 40 + [1.0] * 50, every=1.0)
    assert ask("error_rate", clean, clean, above=0.001, measure=SHARES).reason == "0, 0.001 allowed"
    assert ask("error_rate", clean, failing, above=0.001, measure=SHARES).verdict is Verdict.BREACH


def test_shares_of_errors_of_both_sides_are_a_common_cause() -> None:
    one, other = requests([0.02] * 90, every=1.0), requests([0.021] * 90, every=1.0)
    result = ask("error_rate", one, other, above=0.001, measure=SHARES)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.reason == "common cause: target 2.1 %, legacy 2 % errors, 0.1 % allowed"


def test_shares_of_errors_that_come_in_bursts_do_not_pass() -> None:
    bursts = requests([0.5 if i % 5 == 0 else 0.0 for i in range(90)], every=1.0)
    result = ask("error_rate", requests([0.0] * 90, every=1.0), bursts, above=0.001, measure=SHARES)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "they come in bursts" in result.reason


def test_a_legacy_that_tells_shares_is_no_legacy_that_always_fails() -> None:
    shares = {"legacy": Source(file="x", value="v", unit="share")}
    legacy = requests([0.0005] * 90, every=1.0)
    result = ask("error_rate", legacy, with_errors(40, 600), above=0.02, measure=shares)
    assert result.verdict is Verdict.BREACH
    assert "legacy 0.05 %" in result.reason


def test_errors_that_ended_before_the_short_window_do_not_breach() -> None:
    values = [1.0 if i < 400 and i % 5 == 0 else 0.0 for i in range(600)]
    result = ask("error_rate", CLEAN, requests(values), above=0.001)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "ended" in result.reason


def test_too_few_errors_to_be_sure_do_not_breach() -> None:
    result = ask("error_rate", CLEAN, with_errors(2, 600), above=0.002)
    assert result.value == pytest.approx(2 / 600)
    assert result.verdict is Verdict.PASS


def test_legacy_failing_as_much_is_a_common_cause() -> None:
    result = ask("error_rate", with_errors(60, 600), with_errors(40, 600), above=0.001)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "common cause" in result.reason


def test_before_the_long_window_is_full_only_the_fast_path_breaches() -> None:
    young = ask("error_rate", CLEAN, with_errors(2, 200), above=0.002, since=NOW - 20)
    assert young.verdict is Verdict.INCONCLUSIVE
    assert young.waiting
    assert not young.silent
    extreme = ask("error_rate", CLEAN, with_errors(50, 200), above=0.002, since=NOW - 20)
    assert extreme.verdict is Verdict.BREACH
    assert extreme.fast


def test_windows_start_anew_at_each_weight() -> None:
    values = [1.0] * 500 + [0.0] * 100
    result = ask("error_rate", CLEAN, requests(values), above=0.001, since=NOW - 9)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.waiting


def test_every_request_failing_breaches_after_five() -> None:
    result = ask("error_rate", CLEAN, requests([1.0] * 5), above=0.001, since=NOW - 1)
    assert result.verdict is Verdict.BREACH
    assert result.fast


def test_without_legacy_the_baseline_and_then_the_absolute_limit_is_used() -> None:
    empty, bad = Series("time"), with_errors(12, 600)
    assert ask("error_rate", empty, bad, above=0.001, baseline=0.0).compared_with == "baseline"
    alone = ask("error_rate", empty, bad, above=0.001)
    assert alone.compared_with == "absolute limit"
    assert alone.verdict is Verdict.BREACH
    ended = requests([0.0] * 500, end=NOW - 5000)
    assert ask("error_rate", ended, bad, above=0.001).compared_with == "baseline"


@pytest.mark.parametrize("kind", ["error_rate", "latency"])
def test_without_clients_there_is_nothing_to_say(kind: MeasureKind) -> None:
    result = ask(kind, CLEAN, CLEAN, exposed=False)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.waiting
    assert result.reason == "no exposure yet"


@pytest.mark.parametrize("kind", ["error_rate", "latency", "step_time", "loss"])
def test_silence_is_not_health(kind: MeasureKind) -> None:
    quiet = requests([0.0] * 600, end=NOW - 41) if kind in ("error_rate", "latency") else curve([1.0] * 50, end=NOW - 41)
    result = ask(kind, CLEAN, quiet)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.silent
    assert not result.waiting
    assert result.reason == "target silent 41 s"
    assert result.age == 41


def test_nothing_at_all_waits_first_and_is_silence_then() -> None:
    assert ask("error_rate", CLEAN, Series("time"), since=NOW - 3).waiting
    assert ask("error_rate", CLEAN, Series("time"), since=NOW - 90).silent


class Unreadable(Series):
    @property
    def error(self) -> str | None:
        return "there is no such file"


def test_a_source_that_cannot_be_read_is_an_error() -> None:
    result = ask("error_rate", CLEAN, Unreadable("time"))
    assert result.verdict is Verdict.ERROR
    assert result.silent
    assert "there is no such file" in result.reason


def test_legacy_silent_while_it_carries_clients_is_no_pass() -> None:
    gone = requests([0.0] * 900, end=NOW - 200)
    assert ask("error_rate", gone, CLEAN, legacy_exposed=True).silent
    assert ask("error_rate", gone, CLEAN).verdict is Verdict.PASS


def times(scale: float, count: int = 600, seed: int = 1, **more: float) -> Series:
    chance = random.Random(seed)
    return requests([scale * chance.lognormvariate(3, 0.2) for _ in range(count)], **more)


def test_latency_worse_by_more_than_the_limit_breaches() -> None:
    result = ask("latency", times(1), times(1.6, seed=2), worse_by=0.25)
    assert result.verdict is Verdict.BREACH
    assert result.compared_with == "legacy now"
    assert result.value == pytest.approx(0.6, abs=0.2)
    assert "p95" in result.reason


def test_equal_latency_passes_and_so_does_a_faster_one() -> None:
    assert ask("latency", times(1), times(1, seed=3), worse_by=0.25).verdict is Verdict.PASS
    assert ask("latency", times(1), times(0.5, seed=3), worse_by=0.25).verdict is Verdict.PASS


def test_a_single_stall_does_not_roll_back() -> None:
    chance = random.Random(5)
    values = [900.0 if 590 <= i < 598 else chance.lognormvariate(3, 0.2) for i in range(600)]
    assert ask("latency", times(1), requests(values), worse_by=0.25).verdict is Verdict.PASS


def test_extreme_latency_breaches_fast_before_the_window_is_full() -> None:
    result = ask("latency", times(1), times(5, count=100, seed=2), worse_by=0.25, since=NOW - 10)
    assert result.verdict is Verdict.BREACH
    assert result.fast


def test_few_requests_wait() -> None:
    result = ask("latency", times(1), times(1.1, count=12), worse_by=0.25)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.waiting


def test_realtime_latency_has_an_absolute_limit_too() -> None:
    slow = ask("latency", times(2.5), times(7, seed=2), worse_by=2.0, absolute=100.0)
    assert slow.verdict is Verdict.BREACH
    assert slow.compared_with == "absolute limit"
    both = ask("latency", times(7), times(7, seed=2), worse_by=0.25, absolute=100.0)
    assert both.verdict is Verdict.INCONCLUSIVE
    assert "common cause" in both.reason


def test_latency_without_legacy_is_held_against_its_last_requests() -> None:
    result = ask("latency", times(1, end=NOW - 5000), times(1.6, seed=2), worse_by=0.25)
    assert result.verdict is Verdict.BREACH
    assert result.compared_with == "baseline"
    nothing = ask("latency", Series("time"), times(1), worse_by=0.25)
    assert nothing.verdict is Verdict.INCONCLUSIVE
    assert "nothing to compare with" in nothing.reason


def test_a_legacy_that_has_just_lost_its_last_client_is_held_against_as_it_was() -> None:
    """Requests in the long window and none in the short one: at the step to 100 %, or where legacy has died."""
    gone = times(1, count=300, end=NOW - 20)
    assert ask("latency", gone, times(1, seed=2), worse_by=0.25).verdict is Verdict.PASS
    slow = ask("latency", gone, times(3, seed=2), worse_by=0.25, since=NOW - 59)
    assert (slow.verdict, slow.fast, slow.compared_with) == (Verdict.BREACH, True, "baseline")


def test_a_legacy_that_stopped_before_the_migration_armed_is_held_against_as_it_was() -> None:
    """No figure of its in the hour that counts, and a change that does not stand out of the window alone."""
    gone = streamed([(200.0, 100, 0.1, 1e-9, 0.0), (100.0, 100, 0.1, 1.0, 0.0)], "time", 1)
    ours = streamed([(0.0, 100, 0.1, 1.0, 0.0), (0.0, 100, 0.1, 50.0, 0.0)], "time", 0)
    result = ask("loss", gone, ours, windows=(10.0, 60.0), since=NOW - 61.0)
    assert (result.verdict, result.compared_with) == (Verdict.PASS, "baseline"), "its levels wandered by a billion before"


KINDS: tuple[MeasureKind, ...] = ("error_rate", "latency", "loss", "step_time", "throughput", "memory", "value")
STRETCHES = st.lists(
    st.tuples(
        st.sampled_from([0.0, 15.0, 4.0, 100.0, 20.0, 5000.0]),  # seconds before now at which it ends
        st.sampled_from([100, 12, 30, 1]),
        st.sampled_from([0.1, 0.01, 0.05, 5.0, 60.0]),  # seconds between two
        st.sampled_from([1.0, 50.0, 1.0, 50.0, 1.0, 50.0, 0.0, 1e-9, 1e300, -1.0, math.inf, math.nan]),
        st.sampled_from([0.0, 0.2]),
    ),
    min_size=1,
    max_size=2,
)


def streamed(stretches: list[tuple[float, int, float, float, float]], by: Literal["time", "epoch"], seed: int) -> Series:
    """A side whose figures came in stretches, with pauses, jumps and rubbish between."""
    dice, series = random.Random(seed), Series(by)
    for place, (ago, count, every, level, noise) in enumerate(sorted(stretches, reverse=True)):
        for i in range(count):
            at = NOW - ago - (count - 1 - i) * every
            value = level * (1 + noise * dice.gauss(0, 1)) if math.isfinite(level) else level
            series.add(Sample(at if by == "time" else float(place * 100 + i), at, value))
    return series


@pytest.mark.parametrize("kind", KINDS)
@given(
    legacy=STRETCHES, target=STRETCHES, seed=st.integers(0, 5), by_epoch=st.booleans(),
    since=st.sampled_from([4000.0, 61.0, 700.0, 5.0, 0.0]), windows=st.sampled_from([(10.0, 60.0), (60.0, 600.0), (10.0, 10.0)]),
    spec=st.sampled_from([{}, {"worse_by": 0.1}, {"above": 0.5}, {"above": 0.5, "worse_by": 0.1}]),
    baseline=st.sampled_from([None, 0.0, 1.0]),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_whatever_the_sides_send_is_judged(
    kind: MeasureKind, legacy: Any, target: Any, seed: int, by_epoch: bool, since: float, windows: tuple[float, float],
    spec: dict[str, float], baseline: float | None,
) -> None:  # fmt: skip
    by: Literal["time", "epoch"] = "epoch" if by_epoch and kind in ("loss", "step_time") else "time"
    ours = streamed(target, by, seed)
    result = ask(kind, streamed(legacy, by, seed + 1), ours, windows=windows, since=NOW - since, baseline=baseline, **spec)
    assert result.reason
    if ours.newest() is None:
        assert result.verdict is not Verdict.BREACH, result.reason
        assert result.verdict is not Verdict.PASS, result.reason


def steps(scale: float, seed: int = 1, count: int = 80, noise: float = 0.02) -> Series:
    chance = random.Random(seed)
    return curve([scale * chance.gauss(1, noise) for _ in range(count)])


def test_slower_steps_breach_and_faster_ones_are_said_and_pass() -> None:
    assert ask("step_time", steps(1), steps(1.2, 2)).verdict is Verdict.BREACH
    assert ask("step_time", steps(1), steps(1.05, 2)).verdict is Verdict.PASS
    faster = ask("step_time", steps(1), steps(0.5, 2))
    assert faster.verdict is Verdict.PASS
    assert faster.too_good


def test_less_throughput_breaches() -> None:
    assert ask("throughput", steps(100), steps(80, 2)).verdict is Verdict.BREACH
    assert ask("throughput", steps(100), steps(97, 2)).verdict is Verdict.PASS


def test_steps_far_slower_breach_before_the_window_is_full() -> None:
    result = ask("step_time", steps(1), steps(2, 2), since=NOW - 15, windows=(10.0, 60.0))
    assert result.verdict is Verdict.BREACH
    assert result.fast


def test_step_times_are_judged_without_exposure() -> None:
    assert ask("step_time", steps(1), steps(1.2, 2), exposed=False).verdict is Verdict.BREACH


def test_a_drifting_loss_breaches_and_one_odd_point_does_not() -> None:
    legacy = [1.0] * 20
    assert ask("loss", curve(legacy), curve([1.0] * 10 + [1.016] * 10)).verdict is Verdict.BREACH
    assert ask("loss", curve(legacy), curve([1.0] * 19 + [1.03])).verdict is Verdict.PASS
    better = ask("loss", curve(legacy), curve([0.9] * 20))
    assert better.verdict is Verdict.INCONCLUSIVE
    assert better.too_good


@pytest.mark.parametrize("odd", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_breaches_at_once_even_in_silence(odd: float) -> None:
    result = ask("loss", curve([1.0] * 20), curve([1.0] * 7 + [odd], end=NOW - 500), since=NOW)
    assert result.verdict is Verdict.BREACH
    assert result.fast
    both = ask("loss", curve([1.0] * 7 + [odd]), curve([1.0] * 7 + [odd]))
    assert both.verdict is Verdict.INCONCLUSIVE
    assert "common cause" in both.reason


def test_losses_with_few_common_points_wait() -> None:
    assert ask("loss", curve([1.0, 1.0]), curve([1.0, 1.0])).waiting
    assert ask("loss", Series("epoch"), curve([1.0, 1.0])).waiting


def test_a_loss_at_given_points_names_how_far_each_side_is() -> None:
    result = ask("loss", curve([1.0] * 60), curve([1.0] * 39), at=(10.0, 50.0))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.waiting
    assert "target at 39 of 50" in result.reason


def test_memory_above_its_limit_breaches() -> None:
    assert ask("memory", curve([70.0] * 80), curve([79.0] * 80), above=78.0).verdict is Verdict.BREACH
    assert ask("memory", curve([70.0] * 80), curve([71.0] * 80), above=78.0).verdict is Verdict.PASS


@pytest.mark.parametrize("odd", [140.0, 1e12, math.nan, math.inf, -1.0, 0.0])
def test_two_odd_readings_of_memory_are_no_peak(odd: float) -> None:
    legacy, steady = requests([70.0] * 900, every=1.0), [70.0] * 900
    for place in (-1, -2, -7, -100):
        readings = list(steady)
        readings[place] = readings[place - 1] = odd
        assert ask("memory", legacy, requests(readings, every=1.0), windows=(10.0, 60.0)).verdict is Verdict.PASS
        assert ask("memory", legacy, requests(readings, every=1.0), windows=(10.0, 60.0), above=78.0).verdict is Verdict.PASS
    assert ask("memory", legacy, requests([70.0] * 880 + [80.0] * 20, every=1.0)).verdict is Verdict.BREACH


def test_what_legacy_needed_yesterday_is_no_reason_to_go_back() -> None:
    legacy = requests([70.0] * 800 + [79.0] * 10 + [70.0] * 90, every=1.0)
    target = requests([70.0] * 880 + [79.0] * 20, every=1.0)
    assert ask("memory", legacy, target).verdict is Verdict.PASS


@pytest.mark.parametrize("spread", [0.01, 0.03, 0.05])
def test_a_memory_that_varies_alike_on_both_sides_does_not_roll_back_in_a_week(spread: float) -> None:
    """Readings each 30 s. Only where the newest four hold three above the limit can the trigger breach."""
    chance = random.Random(4)
    legacy, target = ([70.0 * math.exp(chance.gauss(0, spread)) for _ in range(20_160)] for _ in range(2))
    highest = heapq.nlargest(3, legacy[:20])[::-1]
    for i in range(20, 20_160):
        heapq.heappushpop(highest, legacy[i])
        assert heapq.nlargest(3, target[i - 3 : i + 1])[-1] <= 1.1 * highest[0]


def test_lines_from_a_host_whose_clock_is_off_are_told() -> None:
    series = Series("time")
    for i in range(600):
        series.add(Sample(NOW - 7200 + i, NOW - 7200 + i, 0.0), arrived=NOW - 600 + i)
    assert "clock right" in ask("error_rate", CLEAN, series, above=0.001).reason


def test_a_target_that_runs_out_of_memory_at_this_weight_breaches_at_once() -> None:
    old, new = requests([10.0] * 900), requests([10.0] * 900)
    new.out_of_memory, new.out_of_memory_at = "CUDA out of memory", NOW - 5
    result = ask("memory", old, new)
    assert result.verdict is Verdict.BREACH
    assert result.fast
    assert "CUDA out of memory" in result.reason
    assert ask("memory", old, new, since=NOW - 1).verdict is not Verdict.BREACH
    old.out_of_memory, old.out_of_memory_at = "CUDA out of memory", NOW - 3
    assert ask("memory", old, new).reason.startswith("common cause")


def test_step_times_that_wander_do_not_roll_back_and_slower_ones_do() -> None:
    """Neighbours that are alike say little: by bounds alone this week rolls back."""
    assert not run_week(1, 0.05, 0.9)
    assert run_slow(1, 1.2, 0.01, 0.0) <= 660
    assert run_slow(1, 1.5, 0.02, 0.9) <= 660


def test_the_fast_path_of_levels_does_not_fire_where_they_wander() -> None:
    assert run_fast_week(0, 0.2, 0.9) == (False, True)


def test_a_level_above_its_limit_on_both_sides_is_a_common_cause() -> None:
    both = ask("value", curve([95.0] * 80), curve([99.0] * 80), above=90.0)
    assert both.verdict is Verdict.INCONCLUSIVE
    assert both.reason.startswith("common cause: target 99, legacy 95")
    assert ask("value", curve([80.0] * 80), curve([99.0] * 80), above=90.0).verdict is Verdict.BREACH
