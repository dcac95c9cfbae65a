from __future__ import annotations

import math
import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from backends.plan.models import Gate, Measure, MeasureKind, Source
from backends.validation.error_gate import GateResult
from backends.validation.gate import judge_gate
from backends.validation.series import Sample, Series
from backends.validation.view import drawn, validation_view
from backends.validation.warmup import warm_up
from backends.verdict import Verdict

NOW = 1_000_000.0
SOURCE = Source(file="x", value="v")


def measure(kind: MeasureKind) -> Measure:
    return Measure(name="m", workload="w", kind=kind, legacy=SOURCE, target=SOURCE)


def ask(kind: MeasureKind, legacy: Series, target: Series, **gate: object) -> GateResult:
    spec = Gate.model_construct(**({"measure": "m"} | gate))
    return judge_gate(spec, measure(kind), legacy, target, now=NOW)


def loss(count: int, scale: float = 1.0) -> Series:
    series = Series("epoch")
    series.extend(Sample(float(e), NOW - count + e, scale * (2 + 1 / e)) for e in range(1, count + 1))
    return series


def figures(scale: float, *, count: int = 500, every: float = 1.0, seed: int = 1, hole: float = 0.0) -> Series:
    chance, series = random.Random(seed), Series("time")
    for i in range(count):
        at = NOW - (count - 1 - i) * every - (hole if i < count // 2 else 0.0)
        series.add(Sample(at, at, scale * chance.gauss(1, 0.02)))
    return series


def errors(count: int, of: int) -> Series:
    series = Series("time")
    for i in range(of):
        series.add(Sample(NOW - of + i, NOW - of + i + 1, float(i % of < count)))
    return series


def test_a_share_of_errors_that_is_always_0_is_no_count_of_requests() -> None:
    shares = measure("error_rate").model_copy(
        update={side: Source(file="x", value="v", unit="share") for side in ("legacy", "target")}
    )
    asked = measure("error_rate").model_copy(
        update={side: Source(prometheus="http://p", query="q") for side in ("legacy", "target")}
    )
    spec = Gate.model_construct(measure="m")
    for one in (shares, asked):
        result = judge_gate(spec, one, errors(0, 60), errors(0, 60), now=NOW)
        assert result.verdict is Verdict.PASS
        assert "median share of errors 0 %" in result.reason
    requests = judge_gate(spec, measure("error_rate"), errors(0, 60), errors(0, 60), now=NOW)
    assert requests.verdict is Verdict.INCONCLUSIVE
    assert "0 of 60 requests failed" in requests.reason


def test_a_share_that_was_ever_seen_as_one_stays_one_when_it_falls_to_0() -> None:
    series = errors(0, 60)
    series.add(Sample(NOW - 5000, NOW - 5000, 0.02))
    result = judge_gate(Gate.model_construct(measure="m", for_=60.0), measure("error_rate"), errors(0, 60), series, now=NOW)
    assert "median share of errors 0 %" in result.reason


def test_shares_that_come_in_bursts_never_pass() -> None:
    bursts = Series("time")
    bursts.extend(Sample(NOW - 60 + i, NOW - 60 + i, 0.5 if i % 5 == 0 else 0.0) for i in range(61))
    result = ask("error_rate", errors(0, 60), bursts)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "in the mean: they come in bursts" in result.reason


def test_points_not_reached_name_how_far_each_side_is() -> None:
    result = ask("loss", loss(60), loss(39), at=(10.0, 50.0), within=0.005)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.waiting
    assert "target at 39 of 50" in result.reason
    assert [p.verdict for p in result.points] == [Verdict.PASS, None]
    assert (result.points[1].legacy_now, result.points[1].target_now) == (60, 39)


def test_a_drift_of_one_point_six_percent_breaches_half_a_percent() -> None:
    result = ask("loss", loss(100), loss(100, 1.016), at=(10.0, 50.0, 100.0))
    assert result.verdict is Verdict.BREACH
    assert result.value == pytest.approx(0.016)
    assert result.limit == 0.005


def test_a_loss_too_good_holds() -> None:
    result = ask("loss", loss(100), loss(100, 0.9), at=(10.0,))
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.too_good
    assert not result.waiting


def test_speed_passes_when_the_slowdown_is_shown_to_be_within() -> None:
    assert ask("step_time", figures(1), figures(1.01, seed=2), within=0.05).verdict is Verdict.PASS
    assert ask("step_time", figures(1), figures(1.10, seed=2), within=0.05).verdict is Verdict.BREACH
    assert ask("throughput", figures(1), figures(0.9, seed=2), within=0.05).verdict is Verdict.BREACH
    assert ask("throughput", figures(1), figures(1.5, seed=2), within=0.05).verdict is Verdict.PASS


def test_too_little_to_show_it_is_inconclusive() -> None:
    few = ask("step_time", figures(1, count=12), figures(1.045, count=12, seed=2), within=0.05)
    assert few.verdict is Verdict.INCONCLUSIVE
    assert "cannot tell yet" in few.reason
    assert "needed" in ask("step_time", figures(1, count=5), figures(1), within=0.05).reason


def test_a_gate_over_a_time_wants_all_of_it_without_a_hole() -> None:
    whole = ask("step_time", figures(1), figures(1, seed=2), within=0.05, for_=400.0)
    assert whole.verdict is Verdict.PASS
    short = ask("step_time", figures(1), figures(1, seed=2), within=0.05, for_=86400.0)
    assert short.verdict is Verdict.INCONCLUSIVE
    assert short.waiting
    assert "8 min of 24 h" in short.reason
    holed = ask("step_time", figures(1, hole=200.0), figures(1, seed=2), within=0.05, for_=400.0)
    assert holed.verdict is Verdict.INCONCLUSIVE


def test_old_data_pass_no_gate() -> None:
    old = Series("time")
    old.extend(Sample(NOW - 900 + i, NOW - 900 + i, 1.0) for i in range(500))
    result = ask("step_time", figures(1), old)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "target silent" in result.reason


def test_an_error_rate_passes_only_with_enough_requests() -> None:
    assert ask("error_rate", errors(0, 4000), errors(0, 4000), within=0.001).verdict is Verdict.PASS
    few = ask("error_rate", errors(0, 500), errors(0, 500), within=0.001)
    assert few.verdict is Verdict.INCONCLUSIVE
    assert "2995 requests without an error would show it" in few.reason
    assert ask("error_rate", errors(0, 4000), errors(40, 4000), within=0.001).verdict is Verdict.BREACH
    assert "common cause" in ask("error_rate", errors(60, 4000), errors(40, 4000), within=0.001).reason


def test_memory_compares_peaks() -> None:
    assert ask("memory", figures(1), figures(1.2, seed=2)).verdict is Verdict.BREACH
    assert ask("memory", figures(1.1), figures(1, seed=2)).verdict is Verdict.PASS


def test_the_view_has_the_points_of_all_gates_and_the_narrowest_margin() -> None:
    gates = [
        Gate.model_construct(measure="m", at=(10.0,), within=0.01),
        Gate.model_construct(measure="m", at=(10.0, 50.0), within=0.005),
        Gate.model_construct(measure="other", at=(1.0,)),
    ]
    view = validation_view(measure("loss"), "w", loss(60), loss(39, 1.001), gates, NOW)
    assert [p.at for p in view.points] == [10, 50]
    assert view.tolerance == 0.005
    assert view.by == "epoch"
    assert view.delta == pytest.approx(0.001)
    assert view.legacy_value == pytest.approx(2 + 1 / 39)
    assert len(view.legacy_curve) == 60


def test_the_view_names_the_worst_the_best_the_first_beyond_and_the_last_place_beside_those_of_the_gates() -> None:
    target = loss(39, 1.001)
    for place, factor in ((12.0, 1.02), (20.0, 1.04), (30.0, 0.9), (10.0, 1.5)):
        target.add(Sample(place, NOW, factor * (2 + 1 / place)))
    gate = Gate.model_construct(measure="m", at=(10.0,), within=0.005)
    view = validation_view(measure("loss"), "w", loss(60), target, [gate], NOW)
    assert [(p.at, p.note, p.verdict, p.too_good) for p in view.notable] == [
        (12, "first beyond", Verdict.BREACH, False),
        (20, "worst", Verdict.BREACH, False),
        (30, "best", Verdict.INCONCLUSIVE, True),
        (39, "last in common", Verdict.PASS, False),
    ]
    target.add(Sample(25.0, NOW, math.nan))
    (odd,) = (p for p in validation_view(measure("loss"), "w", loss(60), target, [gate], NOW).notable if p.at == 25)
    assert (odd.note, odd.verdict, odd.target) == ("target is NaN or infinite", Verdict.BREACH, None)


def test_single_figures_of_a_speed_are_no_notable_places() -> None:
    series = loss(60)
    assert validation_view(measure("step_time"), "w", series, series, [], NOW).notable == ()


def test_pictures_are_drawn_anew_only_when_something_has_changed() -> None:
    one, other = loss(60), loss(39, 1.001)
    first = drawn(measure("loss"), one, other, [])
    assert drawn(measure("loss"), one, other, [], first) is first
    other.add(Sample(40.0, NOW, 2.3))
    again = drawn(measure("loss"), one, other, [], first)
    assert again is not first
    assert again.target[-1] == (40.0, 2.3)


def test_the_view_of_memory_is_held_against_the_card_as_its_gate_is() -> None:
    spec = measure("memory").model_copy(update={"target": Source(file="x", value="v", unit="GiB")})
    gate = Gate.model_construct(measure="m", at=(), within=None)
    one, other = figures(60.0, count=20), figures(74.5, count=20)
    view = validation_view(spec, "w", one, other, [gate], NOW, capacities=(None, 80 * 2.0**30))
    assert view.verdict is Verdict.BREACH
    assert "too little room" in view.reason


def test_a_thinned_curve_keeps_its_spike() -> None:
    series = loss(5000)
    series.add(Sample(2500.0, NOW, 99.0))
    view = validation_view(measure("loss"), "w", series, loss(5000), [], NOW)
    assert len(view.legacy_curve) <= 200
    assert (2500.0, 99.0) in view.legacy_curve


def test_a_view_without_data_says_so() -> None:
    view = validation_view(measure("latency"), "w", Series("time"), Series("time"), [], NOW)
    assert view.verdict is Verdict.INCONCLUSIVE
    assert view.legacy_value is None
    assert view.reason == "legacy has sent nothing"


def cold(count: int, slow: int, scale: float = 1.0, seed: int = 1) -> Series:
    chance, series = random.Random(seed), Series("time")
    for i in range(count):
        warm = 1 + 4 * math.exp(-i / (slow / 3)) if slow else 1.0
        series.add(Sample(NOW - count + i, NOW - count + i, scale * warm * chance.gauss(1, 0.02)))
    return series


def test_warm_up_is_left_out_of_step_times_and_said() -> None:
    result = ask("step_time", cold(300, 0), cold(300, 60, seed=2))
    assert result.verdict is Verdict.PASS
    assert "warm-up left out: 0 and " in result.reason
    assert abs(result.value or 0) < 0.01


def test_a_slowdown_after_the_warm_up_is_still_one() -> None:
    assert ask("step_time", cold(300, 60), cold(300, 60, 1.1, seed=2)).verdict is Verdict.BREACH


def test_a_target_that_stutters_shows_it_in_the_tail() -> None:
    slow = cold(400, 0, seed=2)
    for i in range(0, 400, 12):
        slow.add(Sample(NOW - 400 + i, NOW - 400 + i + 0.5, 3.0))
    assert "slowest 5 % from 1.03" in ask("step_time", cold(400, 0), slow).reason
    assert "(+190 %)" in ask("step_time", cold(400, 0), slow).reason


@given(st.integers(0, 80), st.integers(100, 400), st.integers(0, 10_000))
@example(1, 122, 322)
def test_the_warm_up_that_is_left_out_is_about_what_there_was(slow: int, count: int, seed: int) -> None:
    chance = random.Random(seed)
    values = [(5.0 if i < slow else 1.0) * chance.gauss(1, 0.05) for i in range(count)]
    cut = warm_up(values, higher_is_better=False)
    if slow <= count // 2:
        assert slow <= cut <= max(slow + count // 4, count // 2)
    assert warm_up([1 / v for v in values], higher_is_better=True) <= count // 2
    assert warm_up([1 / v for v in values], higher_is_better=False) <= count // 2


def test_a_single_slow_step_later_on_is_no_warm_up() -> None:
    chance = random.Random(4)
    values = [chance.gauss(1, 0.01) for _ in range(200)]
    values[90] = 500.0
    assert warm_up(values, higher_is_better=False) < 20


def test_a_target_that_ran_out_of_memory_breaches_a_gate_on_memory() -> None:
    old, new = figures(1.0), figures(1.0)
    new.out_of_memory = "CUDA out of memory"
    assert ask("memory", old, new).reason == "target ran out of memory: CUDA out of memory"
    old.out_of_memory = "CUDA out of memory"
    assert ask("memory", old, new).verdict is Verdict.PASS


GIB = 2.0**30


def room(legacy: float, target: float, cards: tuple[float | None, float | None], unit: str = "GiB", **gate: object) -> GateResult:
    source = Source.model_validate({"file": "x", "value": "v", "unit": unit})
    spec = Gate.model_construct(**({"measure": "m"} | gate))
    memory = Measure(name="m", workload="w", kind="memory", legacy=source, target=source)
    capacities = tuple(c * GIB if c is not None else None for c in cards)
    return judge_gate(spec, memory, figures(legacy), figures(target, seed=2), now=NOW, capacities=capacities)  # type: ignore[arg-type]


def test_memory_is_held_against_what_the_card_has() -> None:
    larger = room(60, 90, (79.6, 140.4))
    assert larger.verdict is Verdict.PASS
    assert "of 140 GiB on target" in larger.reason
    tight = room(60, 74, (79.6, 79.6))
    assert tight.verdict is Verdict.BREACH
    assert "too little room" in tight.reason
    assert tight.limit == pytest.approx(0.95)


def test_a_target_as_full_as_legacy_was_passes_and_it_is_said() -> None:
    both = room(74, 74, (79.6, 80.0))
    assert both.verdict is Verdict.PASS
    assert "legacy runs with no more" in both.reason


def test_more_memory_than_the_card_has_asks_for_the_unit() -> None:
    assert room(60e9, 60e9, (79.6, 79.6)).verdict is Verdict.INCONCLUSIVE
    assert "is the unit right?" in room(60e9, 60e9, (79.6, 79.6)).reason
    assert room(60e9, 60e9, (79.6, 79.6), "B").verdict is Verdict.PASS


def test_an_unknown_card_or_a_written_margin_leaves_the_comparison_of_peaks() -> None:
    assert room(60, 66, (79.6, None)).reason.startswith("peak ")
    assert room(60, 66, (79.6, None)).verdict is Verdict.BREACH
    assert room(60, 66, (79.6, 140.4), within=0.05).verdict is Verdict.BREACH
