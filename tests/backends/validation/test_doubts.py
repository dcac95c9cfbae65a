"""Curves that are not the same thing: asked about, never guessed; and such as run away."""

from __future__ import annotations

import math

import pytest

from backends.validation.compare import Comparison, compare_points
from backends.validation.series import Sample, Series
from backends.verdict import Verdict


def series(values: dict[float, float], by: str = "epoch", shift: float | None = None) -> Series:
    made = Series(by)  # type: ignore[arg-type]
    made.shift = shift
    made.extend(Sample(x, x, v) for x, v in values.items())
    return made


def judge(old: Series, new: Series, *at: float) -> Comparison:
    return compare_points(old, new, at=at or None, tolerance=0.005, higher_is_better=False)


FROM_0 = {float(i): 2 - i / 10 for i in range(10)}
FROM_1 = {float(i + 1): v for i, v in enumerate(FROM_0.values())}


@pytest.mark.parametrize(("old", "new", "shift"), [(FROM_0, FROM_1, "1,0"), (FROM_1, FROM_0, "0,1")])
def test_epochs_from_0_and_from_1_are_asked_about(old: dict[float, float], new: dict[float, float], shift: str) -> None:
    for at in ((), (3.0, 5.0)):
        found = judge(series(old), series(new), *at)
        assert found.verdict is Verdict.INCONCLUSIVE
        assert f"--shift {shift} if it is" in found.reason


def test_steps_from_0_and_from_1_are_asked_about_where_each_is_logged() -> None:
    assert "begin at 0" in judge(series(FROM_0, "step"), series(FROM_1, "step")).reason
    tens = {x * 10: v for x, v in FROM_0.items()}
    assert "begin at" not in judge(series(tens, "step"), series(FROM_1, "step")).reason


def test_an_answer_shifts_a_side_or_says_that_both_count_alike() -> None:
    assert judge(series(FROM_0, shift=1), series(FROM_1, shift=0)).verdict is Verdict.PASS
    assert judge(series(FROM_0, shift=0), series(FROM_1, shift=0)).verdict is Verdict.BREACH


def test_fractions_of_epochs_are_no_count() -> None:
    halves = {i / 2: 2 - i / 10 for i in range(10)}
    assert judge(series(halves), series({x: v for x, v in halves.items() if x >= 1})).verdict is Verdict.PASS


def test_nan_is_told_before_any_question() -> None:
    found = judge(series(FROM_0), series(FROM_1 | {4.0: math.nan}))
    assert found.verdict is Verdict.BREACH
    assert "NaN at epoch 4" in found.reason


@pytest.mark.parametrize("factor", [1000, 0.01, 60])
def test_other_units_are_asked_about(factor: float) -> None:
    found = judge(series(FROM_1), series({x: v * factor for x, v in FROM_1.items()}))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "are the units the same?" in found.reason


def test_many_times_legacy_at_one_place_is_no_question_of_units() -> None:
    assert judge(series(FROM_1), series(FROM_1 | {10.0: 1100.0})).verdict is Verdict.BREACH


def test_a_loss_that_runs_away_is_seen_at_once_between_the_points() -> None:
    found = judge(series(FROM_1), series(FROM_1 | {5.0: 41.0}), 1.0, 10.0)
    assert found.verdict is Verdict.BREACH
    assert "41 at epoch 5, over 10 times all that legacy had (2): diverged" in found.reason
    assert judge(series(FROM_1), series(FROM_1 | {5.0: 15.0}), 1.0, 10.0).verdict is Verdict.PASS
