"""Against published tables: Student's t (any textbook's table), Clopper-Pearson, and the figures of a 0.1 % error limit."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.validation.stats import (
    binomial_lower,
    binomial_upper,
    incomplete_beta,
    median,
    quantile,
    quantile_interval,
    quantile_ranks,
    ratio_interval,
    t_cdf,
    t_quantile,
)


@pytest.mark.parametrize(
    ("p", "df", "expected"),
    [
        (0.95, 1, 6.313752),
        (0.975, 2, 4.302653),
        (0.99, 2, 6.964557),
        (0.99, 4, 3.746947),
        (0.995, 10, 3.169273),
        (0.95, 30, 1.697261),
        (0.975, 120, 1.979930),
    ],
)
def test_t_quantiles_are_those_of_the_tables(p: float, df: float, expected: float) -> None:
    assert t_quantile(p, df) == pytest.approx(expected, rel=1e-6)
    assert t_quantile(1 - p, df) == pytest.approx(-expected, rel=1e-6)
    assert t_cdf(expected, df) == pytest.approx(p, abs=1e-7)


def test_the_exact_bounds_are_those_of_clopper_and_pearson() -> None:
    # 8 of 20: the two-sided 95 % interval is (0.1912, 0.6395).
    assert binomial_lower(8, 20, 0.975) == pytest.approx(0.19119, abs=1e-5)
    assert binomial_upper(8, 20, 0.975) == pytest.approx(0.63946, abs=1e-5)
    assert binomial_upper(0, 100, 0.95) == pytest.approx(1 - 0.05 ** (1 / 100), rel=1e-9)
    assert binomial_lower(10, 10, 0.99) == pytest.approx(0.01 ** (1 / 10), rel=1e-9)


@pytest.mark.parametrize(("errors", "requests"), [(5, 1_000), (19, 10_000), (125, 100_000)])
def test_so_many_errors_are_needed_to_be_sure_of_more_than_a_tenth_of_a_percent(errors: int, requests: int) -> None:
    assert binomial_lower(errors, requests, 0.99) > 0.001
    assert binomial_lower(errors - 1, requests, 0.99) <= 0.001


def test_the_incomplete_beta_function_is_a_binomial_tail() -> None:
    tail = sum(math.comb(12, k) * 0.3**k * 0.7 ** (12 - k) for k in range(5, 13))
    assert incomplete_beta(5, 8, 0.3) == pytest.approx(tail, rel=1e-12)


@given(st.integers(1, 3000), st.data())
@settings(max_examples=60, deadline=None)
def test_a_rate_lies_between_its_bounds_and_more_errors_never_lower_them(trials: int, data: st.DataObject) -> None:
    events = data.draw(st.integers(0, trials))
    low, high = binomial_lower(events, trials), binomial_upper(events, trials)
    assert 0 <= low <= events / trials <= high <= 1
    if events < trials:
        assert binomial_lower(events + 1, trials) > low
        assert binomial_upper(events + 1, trials) >= high


@given(st.integers(1, 400), st.floats(0.05, 0.99))
@settings(max_examples=60, deadline=None)
def test_the_ranks_of_a_quantile_cover_it_and_are_the_tightest(count: int, q: float) -> None:
    low, high = quantile_ranks(count, q, 0.95)

    def at_least(r: int) -> float:
        return sum(math.comb(count, k) * q**k * (1 - q) ** (count - k) for k in range(r, count + 1))

    if low is not None:
        assert at_least(low + 1) >= 0.95 - 1e-9
        assert low + 2 > count or at_least(low + 2) < 0.95 + 1e-9
    if high is not None:
        assert at_least(high + 1) <= 0.05 + 1e-9


def test_the_median_of_five_is_bounded_below_by_the_least() -> None:
    # 1 - (1/2)^5 = 96.9 %
    assert quantile_interval([1, 2, 3, 4, 5], 0.5).low == 1
    assert quantile_interval([1, 2, 3, 4], 0.5).low == -math.inf


@given(st.lists(st.floats(0.1, 1e6), min_size=1, max_size=60), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_quantiles_rise_and_stay_inside(values: list[float], a: float, b: float) -> None:
    ordered = sorted(values)
    low, high = quantile(ordered, min(a, b)), quantile(ordered, max(a, b))
    assert ordered[0] <= low <= high * (1 + 1e-12)
    assert high <= ordered[-1]
    assert ordered[0] <= median(values) <= ordered[-1]


def test_a_ratio_lies_inside_its_bounds_and_turns_over_with_its_sides() -> None:
    ours, theirs = [float(v) for v in range(110, 210)], [float(v) for v in range(100, 200)]
    there, back = ratio_interval(ours, theirs, 0.5), ratio_interval(theirs, ours, 0.5)
    assert there.low < quantile(ours, 0.5) / quantile(theirs, 0.5) < there.high
    assert there.low == pytest.approx(1 / back.high)


@given(st.floats(0.5, 0.9999), st.floats(1.0, 5000.0))
def test_t_quantiles_undo_the_distribution_function(p: float, df: float) -> None:
    assert t_cdf(t_quantile(p, df), df) == pytest.approx(p, abs=1e-10)
