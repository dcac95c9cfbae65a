"""Names and numbers of things in words."""

from __future__ import annotations

from collections.abc import Sequence


def listed(texts: Sequence[str], most: int, *, between: str = ", ") -> str:
    """`a, b and 7 more`."""
    more = f" and {len(texts) - most} more" if len(texts) > most else ""
    return between.join(texts[:most]) + more


def counted(count: int, one: str) -> str:
    """`1 pod`, `3 pods`; of several words the first is the one that is counted: `2 kinds of jobs`."""
    first, blank, rest = one.partition(" ")
    return f"{count} {first}{'' if count == 1 else 's'}{blank}{rest}"
