"""Which workloads move after which (`after` of a workload): how far back each stands, and circles, in which none can be first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from backends.plan.models import Workload


@dataclass(frozen=True, slots=True)
class Order:
    """`ranks` by name: 0 for who waits for nobody, else one more than the last of those it waits for. Who waits in a circle, or for one, has no rank.

    Each of `circles` names those in it, every one before the one that it waits for."""

    ranks: dict[str, int]
    circles: tuple[tuple[str, ...], ...] = ()


def order_of(workloads: Sequence[Workload]) -> Order:
    """Names that no workload has are passed over: a rule tells of them."""
    names = {w.name for w in workloads}
    waits = {w.name: [name for name in dict.fromkeys(w.after) if name in names] for w in workloads}
    behind: dict[str, list[str]] = {name: [] for name in waits}
    for name, before in waits.items():
        for one in before:
            behind[one].append(name)
    left = {name: len(before) for name, before in waits.items()}
    ranks: dict[str, int] = {}
    ready = [name for name, count in left.items() if count == 0]
    while ready:
        name = ready.pop()
        ranks[name] = max((ranks[one] + 1 for one in waits[name]), default=0)
        for other in behind[name]:
            left[other] -= 1
            if left[other] == 0:
                ready.append(other)
    return Order(ranks, tuple(_circles(waits, ranks)))


def _circles(waits: dict[str, list[str]], ranks: dict[str, int]) -> list[tuple[str, ...]]:
    """One way round each knot of those that have no rank, from the first of the plan on."""
    out: list[tuple[str, ...]] = []
    seen: set[str] = set()
    for first in waits:
        way: dict[str, int] = {}
        name = first
        while name not in ranks and name not in seen and name not in way:
            way[name] = len(way)
            name = next(one for one in waits[name] if one not in ranks)  # who has no rank waits for one that has none
        if name in way:
            out.append(tuple(list(way)[way[name] :]))
        seen |= set(way)
    return out
