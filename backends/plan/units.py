"""Quantities of a plan, each written with its unit: durations, sizes, rates, shares."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator

_NUMBER = re.compile(r"^\s*([+-]?[0-9]+(?:\.[0-9]+)?)\s*([A-Za-z%µ]*(?:/s)?)\s*$")
_DURATION = {"ms": 0.001, "s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_SIZE = {"B": 1} | {f"{p}B": 10 ** (3 * i) for i, p in enumerate("kMGTP", 1)}
_SIZE |= {f"{p}iB": 2 ** (10 * i) for i, p in enumerate("KMGTP", 1)} | {"KB": 1000}
_RATE = {"bps": 1, "kbps": 10**3, "Mbps": 10**6, "Gbps": 10**9, "Tbps": 10**12}


def _parse(text: object, units: dict[str, float], what: str, example: str) -> float:
    if isinstance(text, str) and (m := _NUMBER.match(text)) and m[2] in units:
        return float(m[1]) * units[m[2]]
    raise ValueError(f"expected {what} with its unit, such as {example}")


def parse_duration(text: object) -> float:
    """`15min` -> 900.0 seconds."""
    return _parse(text, dict(_DURATION), "a duration", "30s, 15min, 24h, 7d")


def parse_size(text: object) -> int:
    """`38 GB` -> 38000000000 bytes; `1 GiB` -> 1073741824."""
    return int(_parse(text, dict(_SIZE), "a size", "38 GB, 256 GiB, 12 TB"))


def parse_rate(text: object) -> float:
    """`2 Gbps` -> 2e9 bits a second."""
    return _parse(text, dict(_RATE), "a rate", "500 Mbps, 2 Gbps")


def parse_share(text: object) -> float:
    """`0.5%` -> 0.005, a fraction."""
    return _parse(text, {"%": 0.01}, "a percentage", "0.5%")


Duration = Annotated[float, BeforeValidator(parse_duration)]  # seconds
Size = Annotated[int, BeforeValidator(parse_size)]  # bytes
Rate = Annotated[float, BeforeValidator(parse_rate)]  # bits a second
Share = Annotated[float, BeforeValidator(parse_share)]  # fraction
