"""What leaving a provider costs: tiers of a month, cumulative, GB of 10^9 bytes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from backends.catalog.tables import egress_tiers
from backends.plan.models import Side

GB = 1e9
_SAME = {"amazon": "aws", "google": "gcp", "google cloud": "gcp", "microsoft": "azure", "oracle": "oci", "r2": "cloudflare"}


@dataclass(frozen=True, slots=True)
class Egress:
    """`tiers`: up to so many bytes a month in all, USD a GB. `source` says whose figures they are; empty tiers are unknown prices."""

    tiers: tuple[tuple[float, float], ...]
    source: str

    def cost(self, bytes_: float, before: float = 0.0) -> float | None:
        """USD for `bytes_` that leave after `before` have left in the same month. None where no price is known."""
        if not self.tiers:
            return None
        cost, low = 0.0, 0.0
        for bound, price in self.tiers:
            span = min(before + bytes_, bound) - max(before, low)
            if span > 0:
                cost += span / GB * price
            low = bound
        return cost

    def costs(self, sizes: Sequence[float]) -> list[float | None]:
        """Of each of several that leave one after the other: they share the month's tiers."""
        found, before = [], 0.0
        for size in sizes:
            found.append(self.cost(size, before))
            before += size
        return found


def egress_of(side: Side) -> Egress:
    """The plan's own tiers, else the provider's list prices."""
    if side.egress_usd_per_gb:
        return Egress(tuple(side.egress_usd_per_gb), "the plan")
    name = side.provider.casefold()
    name = _SAME.get(name, name)
    rows = [t for t in egress_tiers() if t.provider == name]
    if not rows:
        return Egress((), f"no egress price of {side.provider} is known: give egress_usd_per_gb")
    tiers = tuple((row.up_to_gb * GB if math.isfinite(row.up_to_gb) else math.inf, row.usd_per_gb) for row in rows)
    return Egress(tiers, f"{rows[0].source}, {rows[0].as_of}")
