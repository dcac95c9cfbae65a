from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.validation.compare import compare_points
from backends.validation.series import Sample, Series
from backends.verdict import Verdict


def curve(values: dict[float, float]) -> Series:
    series = Series("epoch")
    series.extend(Sample(x, 1000.0 + x, v) for x, v in values.items())
    return series


def loss(legacy: dict[float, float] | list[dict[float, float]], target: dict[float, float] | list[dict[float, float]], **more):
    sides = [[curve(r) for r in side] if isinstance(side, list) else curve(side) for side in (legacy, target)]
    return compare_points(sides[0], sides[1], **({"tolerance": 0.005, "higher_is_better": False} | more))


def test_within_worse_and_too_good_are_three_answers() -> None:
    found = loss({1: 1.0, 2: 1.0, 3: 1.0}, {1: 1.004, 2: 1.006, 3: 0.99})
    assert [j.verdict for j in found.judged] == [Verdict.PASS, Verdict.BREACH, Verdict.INCONCLUSIVE]
    assert [j.too_good for j in found.judged] == [False, False, True]
    assert found.verdict is Verdict.BREACH
    assert "+0.6 % at epoch 2" in found.reason
    assert "noise unknown (one run a side)" in found.reason


def test_one_sided_lets_better_pass() -> None:
    assert loss({1: 1.0}, {1: 0.9}, one_sided=True).verdict is Verdict.PASS
    assert loss({1: 1.0}, {1: 1.1}, one_sided=True).verdict is Verdict.BREACH


def test_higher_is_better_turns_the_sign() -> None:
    assert loss({1: 0.7}, {1: 0.6}, higher_is_better=True).verdict is Verdict.BREACH
    assert loss({1: 0.7}, {1: 0.8}, higher_is_better=True).judged[0].too_good


def test_exactly_the_tolerance_is_within() -> None:
    assert loss({1: 0.2}, {1: 0.201}).verdict is Verdict.PASS
    assert loss({1: 0.2}, {1: 0.20101}).verdict is Verdict.BREACH


def test_negative_figures_use_the_size_of_legacy() -> None:
    found = loss({1: -2.0}, {1: -1.0})
    assert found.judged[0].delta == 0.5
    assert found.verdict is Verdict.BREACH


def test_a_legacy_of_zero_gives_no_relative_difference() -> None:
    assert loss({1: 0.0}, {1: 0.0}).verdict is Verdict.PASS
    worse = loss({1: 0.0}, {1: 0.1})
    assert worse.verdict is Verdict.BREACH
    assert "legacy is 0" in worse.reason


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_a_target_that_is_not_finite_is_a_breach_at_once(odd: float) -> None:
    assert loss({1: 1.0, 2: 1.0}, {1: 1.0, 2: odd}).verdict is Verdict.BREACH
    elsewhere = loss({1: 1.0}, {1: 1.0, 7: odd}, at=[1])
    assert elsewhere.verdict is Verdict.BREACH
    assert "at epoch 7: diverged" in elsewhere.reason


def test_nan_on_legacy_or_on_both_is_inconclusive() -> None:
    assert loss({1: math.nan}, {1: 1.0}).verdict is Verdict.INCONCLUSIVE
    both = loss({1: math.nan}, {1: math.nan})
    assert both.verdict is Verdict.INCONCLUSIVE
    assert "common cause" in both.reason


def test_grids_that_never_meet_name_their_nearest_misses() -> None:
    found = loss({12256: 1.0, 24544: 1.0}, {12288: 1.0, 24576: 1.0})
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.points == ()
    assert "no common points" in found.reason
    assert "legacy 12256 and target 12288" in found.reason


def test_no_data_is_no_pass() -> None:
    assert "target has no data" in loss({1: 1.0}, {}).reason
    assert loss({}, {}).verdict is Verdict.INCONCLUSIVE


def test_a_point_not_reached_waits_and_one_passed_by_never_comes() -> None:
    found = loss({10: 1.0, 39: 1.0}, {10: 1.0, 38: 1.0, 60: 1.0}, at=[10, 50])
    assert found.judged[1].verdict is Verdict.INCONCLUSIVE
    assert "legacy at 39 of 50" in found.judged[1].note
    assert "nearest 38 and 60" in found.judged[1].note
    waiting = loss({10: 1.0, 50: 1.0}, {10: 1.0, 39: 1.0}, at=[10, 50])
    assert waiting.points[1].verdict is None
    assert waiting.verdict is Verdict.INCONCLUSIVE
    assert "target at 39 of 50" in waiting.reason


def test_interpolation_only_where_asked_and_said() -> None:
    found = loss({0: 2.0, 10: 1.0}, {5: 1.5}, at=[5], interpolate=True)
    assert found.judged[0].legacy == 1.5
    assert found.verdict is Verdict.PASS
    assert "interpolated" in found.reason
    assert loss({0: 2.0, 10: 1.0}, {5: 1.5}, at=[5]).verdict is Verdict.INCONCLUSIVE
    assert loss({0: 2.0, 10: 1.0}, {11: 1.0}, at=[11], interpolate=True).verdict is Verdict.INCONCLUSIVE


def test_a_breach_inside_the_known_noise_is_inconclusive() -> None:
    assert loss({1: 1.0}, {1: 1.007}, noise=0.004).verdict is Verdict.INCONCLUSIVE
    assert loss({1: 1.0}, {1: 1.010}, noise=0.004).verdict is Verdict.BREACH


def test_several_runs_are_a_test_of_equivalence_with_welchs_t() -> None:
    """Legacy 1.00 ± 0.001 (4 runs), target 1.001 ± 0.001: by hand, se = 0.0009129, df = 6, t(0.99, 6) = 3.142668."""
    legacy, target = [0.999, 1.001, 0.999, 1.001], [1.000, 1.002, 1.000, 1.002]
    found = loss([{1: v} for v in legacy], [{1: v} for v in target])
    j = found.judged[0]
    assert j.delta == pytest.approx(0.001)
    assert j.interval is not None
    half = 3.142668 * math.sqrt((4e-6 / 3) / 4 * (1 + 1.001**2))
    assert (j.interval.high - j.interval.low) / 2 == pytest.approx(half, rel=1e-3)
    assert found.verdict is Verdict.PASS


def test_runs_too_noisy_to_tell_say_how_many_would_decide() -> None:
    found = loss([{1: 1.0}, {1: 1.01}], [{1: 1.002}, {1: 1.011}])
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "runs a side would decide" in found.reason


def test_several_runs_far_worse_are_a_breach() -> None:
    assert loss([{1: 1.0}, {1: 1.001}, {1: 1.0}], [{1: 1.05}, {1: 1.051}, {1: 1.05}]).verdict is Verdict.BREACH


def test_only_places_that_every_run_has_are_compared() -> None:
    found = loss([{1: 1.0, 2: 1.0}, {1: 1.0}], [{1: 1.0, 2: 5.0}, {1: 1.0, 2: 5.0}])
    assert [j.at for j in found.judged] == [1]


curves = st.dictionaries(st.integers(0, 30).map(float), st.floats(0.1, 10), min_size=1, max_size=20)


@given(curves, curves, st.floats(0.001, 0.5))
@settings(max_examples=80, deadline=None)
def test_every_common_place_is_judged_as_an_independent_calculation_does(
    legacy: dict[float, float], target: dict[float, float], tolerance: float
) -> None:
    found = loss(legacy, target, tolerance=tolerance)
    common = sorted(set(legacy) & set(target))
    assert [j.at for j in found.judged] == common
    for j in found.judged:
        delta = (target[j.at] - legacy[j.at]) / abs(legacy[j.at])
        assert j.delta == delta
        if abs(abs(delta) - tolerance) < 1e-6:
            continue
        expected = Verdict.PASS if abs(delta) < tolerance else Verdict.BREACH if delta > 0 else Verdict.INCONCLUSIVE
        assert j.verdict is expected


@given(curves, st.floats(0.001, 0.5))
@settings(max_examples=40, deadline=None)
def test_a_curve_passes_against_itself_and_narrower_never_passes_more(values: dict[float, float], t: float) -> None:
    assert loss(values, values, tolerance=t).verdict is Verdict.PASS
    shifted = {x: v * 1.02 for x, v in values.items()}
    if loss(values, shifted, tolerance=t).verdict is Verdict.PASS:
        assert loss(values, shifted, tolerance=2 * t).verdict is Verdict.PASS
