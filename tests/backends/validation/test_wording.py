"""Figures as they are said to people."""

from __future__ import annotations

import pytest

from backends.validation.wording import figure


@pytest.mark.parametrize(
    ("value", "said"),
    [(33.1815, "33.18"), (0.0, "0"), (81.0, "81"), (12345.67, "12346"), (2.345678, "2.346"), (1.23456e-5, "1.235e-05"), (-0.04999, "-0.04999"), (float("nan"), "NaN")],
)  # fmt: skip
def test_a_figure_has_the_digits_that_count(value: float, said: str) -> None:
    assert figure(value) == said


def test_a_figure_is_told_apart_from_the_one_beside_it() -> None:
    assert figure(100.04, 100.0) == "100.04"
    assert figure(100.0, 100.04) == "100"
    assert figure(2.345678, 2.345671) == "2.34568"
    assert figure(33.1815, 20.0) == "33.18"
