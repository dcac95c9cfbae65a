"""Very long runs: judged as short ones are, without an object a place."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.validation import bulk
from backends.validation.bulk import every_stretch
from backends.validation.compare import Comparison, compare_points, judge_stretch
from backends.validation.curve import Curve
from backends.validation.rule import Rule
from backends.validation.series import Sample, Series
from backends.verdict import Verdict

VALUES = st.one_of(st.sampled_from([0.0, 1.0, -1.0, math.nan, math.inf]), st.floats(0.98, 1.02), st.floats(-2, 2))
PLACES = st.integers(0, 30)
RUNS = st.lists(st.tuples(PLACES, VALUES), min_size=1, max_size=40)


def curve(points: list[tuple[int, float]]) -> Curve:
    made = Curve("samples")
    made.extend(Sample(float(x), float(x), v) for x, v in points)
    return made


def series(points: list[tuple[int, float]]) -> Series:
    made = Series("samples")
    made.extend(Sample(float(x), float(x), v) for x, v in points)
    return made


def told(found: Comparison) -> tuple[Verdict, str, float | None, int]:
    return found.verdict, found.reason, found.value, found.total


@given(RUNS, RUNS, st.sampled_from([True, False, None]), st.booleans())
def test_a_long_run_gets_the_verdict_of_a_short_one(
    old: list[tuple[int, float]], new: list[tuple[int, float]], higher: bool | None, one_sided: bool
) -> None:
    asked = {"tolerance": 0.005, "higher_is_better": higher, "one_sided": one_sided}
    slow = compare_points(series(old), series(new), **asked)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("backends.validation.compare.LEAST", 1)
        patch.setattr(bulk, "_CHUNK", 4)
        patch.setattr(bulk, "_SPREAD", 2)
        fast = compare_points(curve(old), curve(new), **asked)  # type: ignore[arg-type]
    assert fast.verdict is slow.verdict
    assert fast.total == slow.total
    assert {j.at: repr(j) for j in fast.judged}.items() <= {j.at: repr(j) for j in slow.judged}.items()
    rule = Rule(0.005, higher, one_sided)
    every = [j for s in every_stretch(curve(old), curve(new), rule) for j in judge_stretch(s, rule)]
    assert repr(every) == repr(list(slow.judged))
    bad = {j.at for j in slow.judged if j.verdict is not Verdict.PASS}
    assert bad <= {j.at for j in fast.judged}
    assert repr(fast.value) == repr(slow.value)


@given(RUNS)
def test_a_curve_answers_as_a_series_does(points: list[tuple[int, float]]) -> None:
    one, other = curve(points), series(points)
    assert [(x, repr(y)) for x, y in one.points()] == [(x, repr(y)) for x, y in other.points()]
    assert one.duplicates == other.duplicates
    assert one.top == other.top
    assert one.bad_places() == other.bad_places()
    assert one.extremes() == other.extremes()
    assert one.first_places(3) == other.first_places(3)
    for x in (-1.0, 5.0, 5.5, 31.0):
        assert (repr(one.at(x)), one.nearest(x)) == (repr(other.at(x)), other.nearest(x))


def test_the_table_of_a_long_comparison_is_bounded_and_holds_the_worst() -> None:
    old = curve([(i, 1.0) for i in range(30_000)])
    new = curve([(i, 1.01 + i * 1e-6) for i in range(30_000)])
    found = compare_points(old, new, tolerance=0.005, higher_is_better=False)
    assert found.total == 30_000
    assert len(found.judged) < 3000
    assert found.judged[-1].at == 29_999
    assert "+4 % at samples 29999" in found.reason


def test_the_same_values_have_the_same_hash_whatever_their_order_in_the_file() -> None:
    assert curve([(1, 2.0), (2, 3.0)]).digest() == curve([(2, 3.0), (1, 9.0), (1, 2.0)]).digest()
    assert curve([(1, 2.0)]).digest() != curve([(1, 2.1)]).digest()


def test_a_picture_of_very_many_points_loses_no_spike() -> None:
    points = [(i, 1.0) for i in range(100_000)]
    points[77_777] = (77_777, 50.0)
    points[3] = (3, math.nan)
    drawn = dict(curve(points).drawn(2000))
    assert drawn[77_777.0] == 50.0
    assert math.isnan(drawn[3.0])
    assert len(drawn) <= 2100
