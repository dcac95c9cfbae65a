"""JSON of somebody else's, read part by part: what is not of the kind that is asked for is empty."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_SUFFIXES = {
    "": 1,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "Pi": 2**50,
}
_QUANTITY = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)(?:e(\d{1,2}))?([A-Za-z]{0,2})")


def part(value: Any, *path: str) -> dict[str, Any]:
    """A mapping below `value`."""
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def parts(value: Any, *path: str) -> Iterator[dict[str, Any]]:
    """The mappings of a list below `value`."""
    *above, last = path
    found = part(value, *above).get(last)
    yield from (one for one in (found if isinstance(found, list) else ()) if isinstance(one, dict))


def texts(value: Any, *path: str) -> Iterator[str]:
    """The texts of a list below `value`."""
    *above, last = path
    found = part(value, *above).get(last)
    yield from (one for one in (found if isinstance(found, list) else ()) if isinstance(one, str))


def text(value: Any, *path: str) -> str:
    """A text below `value`, empty where there is none."""
    *above, last = path
    found = part(value, *above).get(last)
    return found if isinstance(found, str) else ""


def whole(value: Any, *path: str) -> int | None:
    """A whole number from 0 on."""
    *above, last = path
    found = part(value, *above).get(last)
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 1 << 53 else None


def labels(value: Any, *path: str) -> dict[str, str]:
    """A mapping from texts to texts below `value`."""
    return {key: told for key, told in part(value, *path).items() if isinstance(told, str)}


def quantity(value: Any) -> float | None:
    """A quantity of Kubernetes: `500Gi`, `100m`, `1e3`, 4. None for what is none."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e18:
        return float(value)
    found = _QUANTITY.fullmatch(value) if isinstance(value, str) else None
    if found is None or found[3] not in _SUFFIXES:
        return None
    return float(found[1]) * 10.0 ** int(found[2] or 0) * _SUFFIXES[found[3]]
