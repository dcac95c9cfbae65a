"""The first of some names, and how many more there are."""

from __future__ import annotations

from collections.abc import Sequence


def listed(texts: Sequence[str], most: int, *, between: str = ", ") -> str:
    """`a, b and 7 more`."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return between.join(texts[:most]) + more
