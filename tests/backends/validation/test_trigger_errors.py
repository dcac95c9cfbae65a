"""The error rate's trigger: the rules of cutover.md section 6, and what facts.md sections 5 and 6 say that others got wrong."""

from __future__ import annotations

import math
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.validation.error_rule import (
    BUDGET,
    WEEK,
    Call,
    ErrorRule,
    Rate,
    spent,
    spread_of,
    worse_than,
)
from backends.validation.series import Series
from backends.validation.stats import binomial_lower, binomial_tail
from backends.verdict import Verdict
from tests.backends.validation.test_trigger import CLEAN, NOW, Unreadable, ask, requests, with_errors
from tests.bench.triggers import Breach, Week, run_both, run_breach, run_week

RULE = ErrorRule(120.0, 600.0, 0.001)


class Even:
    """The same counts in every second."""

    def __init__(self, requests: float, share: float, *, lately: float | None = None) -> None:
        self.requests, self.share, self.lately = requests, share, share if lately is None else lately

    def rate(self, seconds: float) -> Rate:
        share = self.lately if seconds <= 120 else self.share
        return Rate(round(self.requests * seconds * share), round(self.requests * seconds))

    def parts(self, seconds: float, count: int, before: float = 0.0) -> list[Rate]:
        whole = self.rate(seconds)
        share, rest = divmod(whole.errors, count)
        return [Rate(share + (i < rest), whole.requests // count) for i in range(count)]


def test_a_breach_needs_the_long_and_the_short_window() -> None:
    assert RULE.look(Even(500, 0.0015), None, filled=True).call is Call.SLOW
    assert RULE.look(Even(500, 0.0015, lately=0.0005), None, filled=True).call is Call.ENDED
    assert RULE.look(Even(500, 0.0005, lately=0.0015), None, filled=True).call is Call.NO


def test_the_long_window_must_be_whole_and_the_fast_path_needs_none() -> None:
    assert RULE.look(Even(500, 0.0015), None, filled=False).call is Call.NO
    assert RULE.look(Even(500, 0.01), None, filled=False).call is Call.FAST


def test_all_looks_of_a_week_together_may_spend_one_percent() -> None:
    assert spent(120.0) * WEEK / 120 + spent(30.0) * WEEK / 30 == pytest.approx(BUDGET)


@given(st.integers(1, 40), st.integers(50, 5000), st.sampled_from([0.001, 0.01]), st.sampled_from([0.01, 1e-6]))
def test_the_tail_is_the_exact_lower_bound_above_the_limit(errors: int, requests: int, limit: float, alpha: float) -> None:
    tail = binomial_tail(errors, requests, limit)
    if not math.isclose(tail, alpha, rel_tol=1e-6):
        assert (tail < alpha) == (binomial_lower(errors, requests, 1 - alpha) > limit)


def test_both_sides_above_the_limit_is_a_common_cause_and_holds() -> None:
    assert RULE.look(Even(500, 0.003), Even(500, 0.003), filled=True).call is Call.COMMON
    assert RULE.look(Even(500, 0.003), Even(500, 0.001), filled=True).call is Call.FAST
    assert RULE.look(Even(500, 0.003), None, 0.003, filled=True).call is Call.COMMON


def test_a_cause_that_began_on_both_sides_half_a_minute_ago_is_common() -> None:
    """Legacy's long window is still clean; what counts is the same half minute."""
    both = Even(500, 0.0005, lately=0.01)
    assert RULE.look(both, both, filled=True).call is Call.COMMON
    assert RULE.look(both, Even(500, 0.0005), filled=True).call is Call.FAST


def test_while_legacy_is_above_the_limit_a_bad_half_minute_of_the_target_proves_nothing() -> None:
    class Worse(Even):
        def rate(self, seconds: float) -> Rate:
            return Rate(150, 15_000) if seconds == 30 else super().rate(seconds)

    class Better(Even):
        def rate(self, seconds: float) -> Rate:
            return Rate(15, 15_000) if seconds == 30 else super().rate(seconds)

    looked = RULE.look(Worse(500, 0.003), Better(500, 0.003), filled=True)
    assert looked.call is Call.COMMON
    assert RULE.look(Worse(500, 0.003), Better(500, 0.0009), filled=True).call is Call.FAST


def test_a_legacy_with_too_few_requests_to_tell_leaves_it_to_what_is_recorded_and_then_to_the_limit() -> None:
    trickle = Even(0.1, 0.0)
    assert RULE.look(Even(500, 0.003), trickle, filled=True).call is Call.FAST
    assert RULE.look(Even(500, 0.003), trickle, 0.003, filled=True).call is Call.COMMON


def test_both_sides_dead_is_a_common_cause_even_with_few_requests_on_legacy() -> None:
    dead, few = Even(1, 1.0), Even(0.1, 1.0)
    assert RULE.look(dead, few, filled=False).call is Call.COMMON
    assert RULE.look(dead, Even(0.1, 0.0), filled=False).call is Call.FAST


def test_worse_than_a_failing_legacy_is_no_common_cause() -> None:
    assert worse_than(Rate(900, 100_000), Rate(300, 100_000), 0.001)
    assert not worse_than(Rate(320, 100_000), Rate(300, 100_000), 0.001)


def test_errors_that_come_together_count_as_fewer() -> None:
    even = [Rate(3, 1000)] * 60
    clumps = [Rate(18 if i % 6 == 0 else 0, 1000) for i in range(60)]
    assert spread_of(even) == 1.0
    assert 12 < spread_of(clumps) < 18


def test_neighbours_alike_count_as_fewer_still() -> None:
    apart = [Rate(10 if i % 2 else 0, 1000) for i in range(60)]
    alike = [Rate(10 if i // 10 % 2 else 0, 1000) for i in range(60)]
    assert spread_of(alike) > 2 * spread_of(apart)


def test_one_clump_of_errors_is_not_a_breach() -> None:
    values = [0.0] * 600
    values[580:592] = [1.0] * 12
    result = ask("error_rate", CLEAN, requests(values), above=0.001)
    assert result.verdict is Verdict.INCONCLUSIVE
    assert "they come together" in result.reason


def test_breaches_are_acted_on_while_an_approval_is_waited_for_and_after_promotion() -> None:
    """The judge knows neither approvals nor weights: a day after the weight began it breaches as on the first."""
    for hours in (1, 24, 24 * 7):
        assert ask("error_rate", CLEAN, with_errors(40, 600), above=0.02, since=NOW - hours * 3600).verdict is Verdict.BREACH


def test_a_misspelt_metric_never_passes() -> None:
    result = ask("error_rate", CLEAN, Unreadable("time"))
    assert result.verdict is Verdict.ERROR


def test_no_data_is_no_success() -> None:
    for since in (NOW - 3, NOW - 3600, NOW - 86400):
        assert ask("error_rate", CLEAN, Series("time"), since=since).verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("level", "within"),
    [(2.0, RULE.long + RULE.short), (10.0, 30.0), (1000.0, 30.0)],
    ids=["twice the limit", "ten times the limit", "a dead target"],
)
@pytest.mark.parametrize("soaked", [False, True], ids=["at a new weight", "after an hour"])
def test_a_true_breach_at_50_requests_a_second_is_acted_on_in_time(level: float, within: float, soaked: bool) -> None:
    took = [run_breach(Breach(seed, 50, level, soaked), ["ours"])["ours"] for seed in range(31)]
    assert median(took) <= within


@pytest.mark.parametrize(("level", "within"), [(2.0, RULE.long + RULE.short), (10.0, 30.0), (1000.0, 30.0)])
@pytest.mark.parametrize("soaked", [False, True], ids=["at a new weight", "after an hour"])
def test_a_breach_of_the_target_alone_beside_a_healthy_legacy_is_acted_on_as_soon(
    level: float, within: float, soaked: bool
) -> None:
    took = [run_breach(Breach(seed, 50, level, soaked, legacy=0.5, legacy_requests=50), ["ours"])["ours"] for seed in range(31)]
    assert median(took) <= within


@pytest.mark.parametrize(("level", "soaked"), [(3.0, False), (3.0, True), (10.0, True), (1000.0, True)])
def test_an_hour_of_a_common_cause_holds(level: float, soaked: bool) -> None:
    back = [run_breach(Breach(seed, 50, level, soaked, level, 50), ["ours"])["ours"] for seed in range(2)]
    assert back == [math.inf] * 2


def test_twelve_hours_of_a_common_cause_at_three_weights_hold() -> None:
    assert not run_both(Week(1, "stationary", 50, 3.0))


@pytest.mark.parametrize("shape", ["stationary", "AR(1) 0.9", "clumped errors"])
def test_healthy_weeks_do_not_roll_back(shape: str) -> None:
    assert [run_week(Week(seed, shape, 1), ["ours"]) for seed in range(2)] == [frozenset()] * 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("shape", ["stationary", "AR(1) 0.5", "AR(1) 0.9", "bursty requests", "clumped errors", "diurnal"])
def test_of_many_healthy_weeks_at_most_one_in_a_hundred_rolls_back(shape: str) -> None:
    weeks = [Week(1000 + seed, shape, rate) for rate in (1, 50, 500) for seed in range(34)]
    assert sum(bool(run_week(week, ["ours"])) for week in weeks) <= 1
