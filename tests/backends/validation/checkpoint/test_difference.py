"""Figures against computations that share nothing with ours: ml_dtypes' numbers, fractions, and counting in a sorted list."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from backends.validation.checkpoint import difference
from backends.validation.checkpoint.difference import Difference, Tolerance, compare_bytes
from backends.validation.checkpoint.kinds import KINDS, bits_of, reals

TYPES: dict[str, Any] = {
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "F8_E4M3FNUZ": ml_dtypes.float8_e4m3fnuz,
    "F8_E5M2FNUZ": ml_dtypes.float8_e5m2fnuz,
    "F8_E8M0": ml_dtypes.float8_e8m0fnu,
}


def found(kind: str, a: Any, b: Any, other: str | None = None, tolerance: Tolerance | None = None) -> Difference:
    views = [memoryview(np.ascontiguousarray(x).view(np.uint8)) for x in (a, b)]
    return compare_bytes(views[0], views[1], (KINDS[kind], KINDS[other or kind]), tolerance or Tolerance())


@pytest.mark.parametrize("kind", TYPES)
def test_every_number_of_a_narrow_kind_is_worth_what_ml_dtypes_says(kind: str) -> None:
    width = KINDS[kind].width
    every = np.arange(1 << (8 * width), dtype=f"u{width}")
    bits = bits_of(KINDS[kind], every.tobytes())
    with np.errstate(invalid="ignore"):  # signalling NaNs
        ours, theirs = reals(KINDS[kind], bits, np.empty(len(bits))), every.view(TYPES[kind]).astype(np.float64)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", [k for k in TYPES if k != "F8_E8M0"])
@given(data=st.data())
@settings(max_examples=20)
def test_ulp_counts_the_numbers_between(kind: str, data: st.DataObject) -> None:
    width = KINDS[kind].width
    with np.errstate(invalid="ignore"):  # signalling NaNs
        values = np.arange(1 << (8 * width), dtype=f"u{width}").view(TYPES[kind]).astype(np.float64)
    line = np.unique(values[np.isfinite(values)])  # -0 and 0 are one
    bits = data.draw(hnp.arrays(f"u{width}", (2, 9)))
    a, b = values[bits[0]], values[bits[1]]
    both = np.isfinite(a) & np.isfinite(b)
    steps = np.abs(np.searchsorted(line, a[both]) - np.searchsorted(line, b[both]))
    assert found(kind, bits[0], bits[1]).ulp == max(steps, default=0)


@given(hnp.arrays(np.uint32, st.integers(1, 40)), hnp.arrays(np.uint32, 40))
def test_differences_of_floats_are_those_of_exact_arithmetic(first: Any, second: Any) -> None:
    a, b = first.view(np.float32), second[: len(first)].view(np.float32)
    ours = found("F32", a, b)
    pairs = [(Fraction(float(x)), Fraction(float(y))) for x, y in zip(a, b, strict=True) if np.isfinite(x) and np.isfinite(y)]
    apart = [abs(y - x) for x, y in pairs]
    assert ours.max_abs == pytest.approx(float(max(apart, default=0)), rel=1e-12)
    ratios = [abs(y - x) / abs(x) for x, y in pairs if x]
    assert ours.max_rel == pytest.approx(float(max(ratios, default=0)), rel=1e-12)
    assert ours.from_zero == sum(1 for x, y in pairs if not x and y)
    assert ours.differing == sum(1 for x, y in zip(first, second, strict=False) if x != y)
    assert ours.nan == (int(np.isnan(a).sum()), int(np.isnan(b).sum()))
    assert ours.inf == (int(np.isinf(a).sum()), int(np.isinf(b).sum()))
    same = [(x == y) or (x != x and y != y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    finite = [math.isfinite(x) and math.isfinite(y) for x, y in zip(a.tolist(), b.tolist(), strict=True)]
    assert ours.odd == sum(1 for is_same, is_finite in zip(same, finite, strict=True) if not is_finite and not is_same)


@given(hnp.arrays(np.int64, 12), hnp.arrays(np.int64, 12))
def test_whole_numbers_are_apart_exactly_also_beyond_their_own_range(a: Any, b: Any) -> None:
    assert found("I64", a, b).max_abs == max(abs(int(x) - int(y)) for x, y in zip(a, b, strict=True))
    assert found("U8", a.astype(np.uint8), b.astype(np.uint8)).max_abs == max(
        abs(int(x) - int(y)) for x, y in zip(a.astype(np.uint8), b.astype(np.uint8), strict=True)
    )


@given(hnp.arrays(np.float64, 50, elements=st.floats(-1e9, 1e9)), st.integers(1, 20), st.floats(1e-9, 0.1))
def test_cut_into_blocks_the_figures_are_the_same(a: Any, block: int, by: float) -> None:
    b = a * (1 + by)
    whole, before = found("F64", a, b), difference.BLOCK
    difference.BLOCK = block
    try:
        cut = found("F64", a, b)
    finally:
        difference.BLOCK = before
    assert (cut.max_abs, cut.max_rel, cut.ulp, cut.differing) == (whole.max_abs, whole.max_rel, whole.ulp, whole.differing)
    length = float(np.linalg.norm(a))
    if length > 1e-100:
        assert cut.cosine == pytest.approx(float(np.dot(a, b) / length / np.linalg.norm(b)), abs=1e-12)
        assert cut.relative == pytest.approx(float(np.linalg.norm(b - a) / length), rel=1e-9)


@given(hnp.arrays(np.float32, 30, elements=st.floats(-100, 100, width=32)), st.floats(0, 0.1), st.floats(0, 0.1))
def test_the_tolerance_is_that_of_numpys_allclose_with_legacy_as_the_yardstick(a: Any, rtol: float, atol: float) -> None:
    b = (a * np.float32(1.03)).astype(np.float32)
    ours = found("F32", a, b, tolerance=Tolerance(rtol, atol, True))
    x, y = a.astype(np.float64), b.astype(np.float64)
    assert (ours.outside == 0) == np.allclose(y, x, rtol=rtol, atol=atol)


def test_a_nan_in_one_place_on_one_side_is_outside_any_tolerance() -> None:
    a = np.ones(8, dtype=np.float32)
    b = a.copy()
    b[3] = np.nan
    ours = found("F32", a, b, tolerance=Tolerance(10.0, 10.0, True))
    assert (ours.outside, ours.odd, ours.nan) == (1, 1, (0, 1))
    assert found("F32", b, b, tolerance=Tolerance(0.0, 0.0, True)).outside == 0
    assert found("F32", b, b).nan == (1, 1)


def test_two_kinds_are_held_against_each_other_by_value() -> None:
    a = np.array([1.0, -2.5, 0.1], dtype=np.float32)
    b = a.astype(ml_dtypes.bfloat16)
    ours = found("F32", a, b, "BF16")
    assert ours.differing == 1
    assert ours.ulp is None
    assert ours.max_abs == abs(float(b[2]) - float(a[2]))


def test_zero_of_either_sign_differs_in_bits_and_by_no_number() -> None:
    ours = found("F32", np.array([0.0], np.float32), np.array([-0.0], np.float32))
    assert (ours.differing, ours.max_abs, ours.ulp) == (1, 0, 0)


@pytest.mark.parametrize("kind", ["F32", "BF16", "F16"])
@given(data=st.data())
@settings(max_examples=60)
def test_single_precision_tells_what_double_does(kind: str, data: st.DataObject) -> None:
    number = np.float32 if kind == "F32" else TYPES[kind]
    scale = data.draw(st.sampled_from([1e-30, 1e-12, 1e-4, 1.0, 1e4, 1e25]))
    chance = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    with np.errstate(over="ignore", under="ignore"):
        a = (chance.standard_normal(3000) * scale).astype(number)
        b = (a.astype(np.float64) * (1 + data.draw(st.sampled_from([0.0, 1e-6, 1e-2, 1.0])) * chance.random(3000))).astype(number)
    for array, value in ((a, 0), (b, 0), (a, -0.0), (b, -1), (b, np.inf), (a, np.nan)):
        if data.draw(st.booleans()):
            array[data.draw(st.integers(0, 2999))] = value
    old, new = (x.view(f"u{KINDS[kind].width}") for x in (a, b))
    single = found(kind, old, new)
    with np.errstate(all="ignore"):
        double = difference._block(old, new, KINDS[kind], KINDS[kind], Tolerance())
    for name in ("compared", "differing", "outside", "odd", "ulp", "from_zero", "nan", "inf", "max_abs"):
        assert getattr(single, name) == getattr(double, name), name
    assert single.max_rel == pytest.approx(double.max_rel, rel=1e-15)
    assert single.cosine == (double.cosine and pytest.approx(double.cosine, abs=1e-6))
    assert single.relative == (double.relative and pytest.approx(double.relative, rel=1e-5))


def test_weights_of_a_network_are_compared_in_single_precision() -> None:
    a = np.random.default_rng(1).standard_normal(5000).astype(np.float32) * np.float32(0.02)
    a[7] = 0
    old, new = (x.view(np.uint32) for x in (a, a * np.float32(1.001)))
    with np.errstate(all="ignore"):
        told = difference._narrow(old, new, KINDS["F32"], Tolerance(1e-2, 0.0, True), Difference())
        assert told is not None
        assert told.outside == 0
        assert difference._narrow(old, new, KINDS["F32"], Tolerance(1e-4, 0.0, True), Difference()) is None


@pytest.mark.parametrize("kind", ["F16", "F32", "F64", "I64"])
def test_numbers_behind_a_header_of_odd_length_are_compared_as_others_are(kind: str) -> None:
    width = KINDS[kind].width
    numbers = np.random.default_rng(5).standard_normal((2, difference.BLOCK + 9)) * 100
    one, other = (row.astype(np.dtype(kind.lower().replace("f", "float").replace("i", "int"))) for row in numbers)
    other[7] = one[7]
    shifted = [memoryview(b"\0" + row.tobytes())[1:] for row in (one, other)]
    assert np.frombuffer(shifted[0], dtype=f"u{width}").flags.aligned is False
    assert compare_bytes(shifted[0], shifted[1], (KINDS[kind], KINDS[kind]), Tolerance()) == found(kind, one, other)
