from __future__ import annotations

import math
import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.plan.schema import plan_schema
from backends.plan.units import (
    UnitError,
    parse_bound,
    parse_duration,
    parse_limit,
    parse_rate,
    parse_share,
    parse_size,
)


@pytest.mark.parametrize(
    ("parse", "text", "value"),
    [
        (parse_duration, "7d", 604800),
        (parse_duration, "15min", 900),
        (parse_duration, "15m", 900),
        (parse_duration, "24h", 86400),
        (parse_duration, "10s", 10),
        (parse_duration, "250ms", 0.25),
        (parse_duration, "1.5h", 5400),
        (parse_duration, "2w", 1209600),
        (parse_duration, "0s", 0),
        (parse_rate, "2 Gbps", 2e9),
        (parse_rate, "500Mbps", 5e8),
        (parse_rate, "250 MB/s", 2e9),
        (parse_rate, "1 GiB/s", 8 * 2**30),
        (parse_share, "0.5%", 0.005),
        (parse_share, "25 %", 0.25),
        (parse_size, "38 GB", 38 * 10**9),
        (parse_size, "256 GiB", 256 * 2**30),
        (parse_size, "10 TB", 10**13),
        (parse_size, "1 TiB", 2**40),
        (parse_size, "0.1 TB", 10**11),
        (parse_size, "12kB", 12000),
        (parse_bound, "10 TB", 1e13),
        (parse_bound, "inf", math.inf),
        (parse_limit, "0.1%", 0.001),
        (parse_limit, 100, 100.0),
    ],
)
def test_a_quantity_means_what_its_unit_says(parse: Callable[[object], float], text: object, value: float) -> None:
    assert parse(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("parse", "text", "found", "hint"),
    [
        (parse_duration, "15 minutes", "`15 minutes`", "did you mean 15min?"),
        (parse_duration, "30 Sec", "`30 Sec`", "did you mean 30s?"),
        (parse_duration, "30", "`30`", "did you mean 30s?"),
        (parse_duration, 30, "`30`", "did you mean 30s?"),
        (parse_duration, "1dd", "`1dd`", "did you mean 1d?"),
        (parse_duration, "3 fortnights", "`3 fortnights`", "the units are ms, s, min, m, h, d, w"),
        (parse_size, "38 gb", "`38 gb`", "did you mean 38 GB?"),
        (parse_size, "38", "`38`", "did you mean 38 GB?"),
        (parse_size, "38G", "`38G`", "did you mean 38 GB?"),
        (parse_rate, "2 gbit/s", "`2 gbit/s`", "did you mean 2 Gbps?"),
        (parse_share, "0.5", "`0.5`", "did you mean 0.5%?"),
        (parse_share, "5 percent", "`5 percent`", "did you mean 5%?"),
        (parse_limit, "lots", "`lots`", "such as 0.5%"),
        (parse_bound, "infinity", "`infinity`", "such as 38 GB"),
    ],
)
def test_a_wrong_unit_is_shown_with_what_was_meant(parse: Callable[[object], float], text: object, found: str, hint: str) -> None:
    with pytest.raises(UnitError, match="expected") as caught:
        parse(text)
    assert f"found {found}" in str(caught.value)
    assert caught.value.hint == hint


@pytest.mark.parametrize("value", [None, True, [], {}, (), "", "-3s", "1e3s", "٣s", "9" * 400 + "s", "1.2.3s", float("nan")])
def test_what_is_no_duration_is_refused(value: object) -> None:
    with pytest.raises(UnitError, match=r"found .*expected"):
        parse_duration(value)


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans(), st.none(), st.binary()))
def test_no_value_ends_in_anything_but_a_number_or_a_unit_error(value: object) -> None:
    for parse in (parse_duration, parse_size, parse_rate, parse_share, parse_limit, parse_bound):
        try:
            outcome = f"expected {float(parse(value))}"
        except UnitError as error:
            outcome = f"{error} {error.hint}"
        assert "expected" in outcome
        assert outcome.isprintable()


@given(st.integers(0, 10**6), st.sampled_from(["B", "kB", "MB", "GB", "TB", "PB", "KiB", "MiB", "GiB", "TiB", "PiB"]))
def test_sizes_are_exact(count: int, unit: str) -> None:
    base = 1024 if "i" in unit else 1000
    power = " KMGTP".index(unit[0].upper()) if len(unit) > 1 else 0
    assert parse_size(f"{count} {unit}") == count * base**power
    assert parse_size(f"{count}{unit}") == count * base**power


@given(st.integers(0, 10**6), st.sampled_from(["ms", "s", "min", "h", "d", "w", "", "sec", "D"]))
def test_the_json_schema_takes_the_durations_that_a_plan_takes(count: int, unit: str) -> None:
    pattern = plan_schema()["$defs"]["Windows"]["properties"]["dual"]["pattern"]
    try:
        parse_duration(f"{count}{unit}")
        is_good = True
    except UnitError:
        is_good = False
    assert bool(re.search(pattern, f"{count}{unit}")) is is_good
