"""Quantities of a plan, each written with its unit: durations, sizes, rates, shares.

TB is 10^12 bytes, TiB 2^40. A number without its unit is an error, so is a unit that is not known: the message says what
was found and what was expected, the hint how it may have been meant.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema

from backends.escape import plain

_NUMBER = re.compile(r"([+-]?[0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([^\W\d_]*(?:/s)?|%)", re.UNICODE)
Units = dict[str, int | Decimal]
_DURATION: Units = {"ms": Decimal("0.001"), "s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZE: Units = {"B": 1} | {f"{p}B": 10 ** (3 * i) for i, p in enumerate("kMGTP", 1)}
_SIZE |= {f"{p}iB": 2 ** (10 * i) for i, p in enumerate("KMGTP", 1)} | {"KB": 1000}
_RATE: Units = {"bps": 1, "kbps": 10**3, "Mbps": 10**6, "Gbps": 10**9, "Tbps": 10**12}
_RATE |= {f"{unit}/s": 8 * factor for unit, factor in _SIZE.items()}
_SHARE: Units = {"%": Decimal("0.01")}

# How people write units that are called otherwise here.
_ALSO = {
    "sec": "s", "secs": "s", "second": "s", "seconds": "s", "mins": "min", "minute": "min", "minutes": "min",
    "hr": "h", "hrs": "h", "hour": "h", "hours": "h", "day": "d", "days": "d", "week": "w", "weeks": "w",
    "byte": "B", "bytes": "B", "k": "kB", "g": "GB", "t": "TB", "p": "PB", "ki": "KiB", "mi": "MiB", "gi": "GiB",
    "ti": "TiB", "gbit/s": "Gbps", "mbit/s": "Mbps", "gb/s": "GB/s", "mb/s": "MB/s", "percent": "%", "pct": "%",
}  # fmt: skip


class UnitError(ValueError):
    """Not a quantity with its unit. `hint` says how it may have been meant, or how one is written."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def _parse(value: object, units: Mapping[str, int | Decimal], what: str, example: str) -> Decimal:
    expected = f"expected {what} with its unit, such as {example}"
    such = f"such as {example.split(',')[0]}"
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UnitError(f"found {_kind(value)}, {expected}", such)
    text = str(value).strip()
    found = f"found `{plain(text, 60)}`, {expected}"
    match = _NUMBER.fullmatch(text)
    if match is None or not isinstance(value, str):
        raise UnitError(found, _without_unit(text, units) or such)
    number, unit = match[1], match[2]
    if unit not in units:
        raise UnitError(found, _nearest_unit(number, unit, units) or such)
    amount = Decimal(number) * units[unit]
    if number.startswith("-") and amount != 0:
        raise UnitError(f"found `{plain(text, 60)}`, expected {what} that is not negative", such)
    return amount


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    return {bool: "true or false", dict: "a mapping", list: "a list", tuple: "a list"}.get(type(value), "something else")


def _without_unit(text: str, units: Mapping[str, int | Decimal]) -> str:
    if not re.fullmatch(r"[0-9.]{1,20}", text):
        return ""
    usual = next(u for u in ("s", "GB", "Mbps", "%") if u in units)
    return f"did you mean {text}{usual}?" if usual in ("s", "%") else f"did you mean {text} {usual}?"


def _nearest_unit(number: str, unit: str, units: Mapping[str, int | Decimal]) -> str:
    if not unit:
        return _without_unit(number, units)
    folded = {name.casefold(): name for name in units}
    meant = folded.get(unit.casefold())
    if meant is None and _ALSO.get(unit.casefold()) in units:
        meant = _ALSO[unit.casefold()]
    if meant is None:
        close = difflib.get_close_matches(unit.casefold()[:40], folded, n=1, cutoff=0.5)
        meant = folded[close[0]] if close else None
    space = "" if meant in _DURATION or meant == "%" else " "
    return f"did you mean {number}{space}{meant}?" if meant else f"the units are {', '.join(units)}"


def parse_duration(text: object) -> float:
    """`15min` -> 900.0 seconds."""
    return float(_parse(text, _DURATION, "a duration", "30s, 15min, 24h, 7d"))


def parse_size(text: object) -> int:
    """`38 GB` -> 38000000000 bytes; `1 GiB` -> 1073741824."""
    return int(_parse(text, _SIZE, "a size", "38 GB, 256 GiB, 12 TB"))


def parse_rate(text: object) -> float:
    """`2 Gbps` -> 2e9 bits a second; `250 MB/s` -> the same."""
    return float(_parse(text, _RATE, "a rate", "500 Mbps, 2 Gbps"))


def parse_share(text: object) -> float:
    """`0.5%` -> 0.005, a fraction."""
    return float(_parse(text, _SHARE, "a percentage", "0.5%"))


def parse_limit(value: object) -> float:
    """An absolute limit: `0.1%` -> 0.001, a bare number stays as it is (in the unit of the measure's own log)."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise UnitError("found a number without end, expected a limit such as 0.1% or 100", "such as 0.1% or 100")
        return float(value)
    try:
        return parse_share(value)
    except UnitError as error:
        message = str(error).replace("a percentage with its unit, such as 0.5%", "a percentage or a number")
        raise UnitError(message, error.hint) from None


def parse_bound(value: object) -> float:
    """The upper bound of a price tier: `10 TB` -> 1e13 bytes, `inf` -> infinity."""
    if value == "inf" or (isinstance(value, float) and value == math.inf):
        return math.inf
    try:
        return float(parse_size(value))
    except UnitError as error:
        raise UnitError(str(error).replace("such as 38 GB", "such as inf, 10 TB, 38 GB"), error.hint) from None


def _text(pattern: str, example: str) -> WithJsonSchema:
    schema: dict[str, Any] = {"type": "string", "pattern": pattern, "examples": [example]}
    return WithJsonSchema(schema)


_DIGITS = r"\s*\+?[0-9]+(\.[0-9]+)?\s*"
_SIZES = r"(B|[kKMGTP]B|[KMGTP]iB)"
_BOUND: dict[str, Any] = {"type": "string", "pattern": rf"^(inf|{_DIGITS}{_SIZES}\s*)$", "examples": ["10 TB", "inf"]}
_LIMIT: dict[str, Any] = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": rf"^{_DIGITS}%\s*$"}]}

Duration = Annotated[  # seconds
    float, BeforeValidator(parse_duration), _text(rf"^{_DIGITS}(ms|s|min|m|h|d|w)\s*$", "15min")
]
Size = Annotated[int, BeforeValidator(parse_size), _text(rf"^{_DIGITS}{_SIZES}\s*$", "38 GB")]  # bytes
Rate = Annotated[  # bits a second
    float, BeforeValidator(parse_rate), _text(rf"^{_DIGITS}([kMGT]?bps|{_SIZES}/s)\s*$", "2 Gbps")
]
Share = Annotated[float, BeforeValidator(parse_share), _text(rf"^{_DIGITS}%\s*$", "0.5%")]  # fraction
Limit = Annotated[float, BeforeValidator(parse_limit), WithJsonSchema(_LIMIT)]
TierBound = Annotated[float, BeforeValidator(parse_bound), WithJsonSchema(_BOUND)]  # bytes a month
