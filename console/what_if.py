"""What if: a plan's estimate with another bandwidth, parallelism, amount of data or dual window, a rung of a ladder at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

from backends.catalog.egress import egress_of
from backends.catalog.estimate import ASSUMED_RATE, Estimate, Size, estimate
from backends.plan.models import Plan
from widgets.figures import rate
from widgets.planning import Factor

_RATES = (100e6, 200e6, 500e6, 1e9, 2e9, 5e9, 10e9, 25e9, 40e9, 100e9)  # bits a second
_PARALLEL = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_DATA = (0.25, 0.5, 1.0, 2.0, 4.0, 10.0)
_DUAL = (1, 3, 7, 14, 30)  # days


@dataclass(frozen=True, slots=True)
class WhatIf:
    """None is the plan's own."""

    bandwidth: float | None = None
    parallel: int | None = None
    data: float = 1.0
    dual: float | None = None

    def moved(self, factor: int, step: int, plan: Plan) -> WhatIf:
        """One factor one rung up or down its ladder, from where it stands."""
        if factor == 0:
            return replace(self, bandwidth=_rung(_RATES, self.bandwidth or plan.transfer.bandwidth or ASSUMED_RATE, step))
        if factor == 1:
            return replace(self, parallel=int(_rung(_PARALLEL, self.parallel or plan.transfer.parallel or 16, step)))
        if factor == 2:
            return replace(self, data=_rung(_DATA, self.data, step))
        days = _rung(_DUAL, (self.dual or plan.windows.dual) / 86400, step)
        return replace(self, dual=days * 86400)

    def of(self, plan: Plan) -> Plan:
        """The plan as it would be."""
        transfer = plan.transfer.model_copy(
            update={
                "bandwidth": self.bandwidth or plan.transfer.bandwidth,
                "parallel": self.parallel or plan.transfer.parallel,
            }
        )
        windows = plan.windows.model_copy(update={"dual": self.dual or plan.windows.dual})
        return plan.model_copy(update={"transfer": transfer, "windows": windows})

    def factors(self, plan: Plan) -> tuple[Factor, ...]:
        changed = self.of(plan)
        parallel = changed.transfer.parallel
        return (
            Factor("bandwidth", rate((changed.transfer.bandwidth or ASSUMED_RATE) / 8), self.bandwidth is None),
            Factor("parallel", str(parallel) if parallel else "by latency", self.parallel is None),
            Factor("data", f"x {self.data:g}", self.data == 1.0),
            Factor("dual window", f"{changed.windows.dual / 86400:g} d", self.dual is None),
        )


def _rung(ladder: Sequence[float], now: float, step: int) -> float:
    """The next rung above or below; the ends hold."""
    if step > 0:
        return next((r for r in ladder if r > now * 1.0001), max(ladder[-1], now))
    return next((r for r in reversed(ladder) if r < now * 0.9999), min(ladder[0], now))


def estimated(plan: Plan, today: date, *, data: float = 1.0) -> Estimate:
    """From next Monday on, by the sizes that the plan gives, `data` times them."""
    sizes = {
        d.name: Size(int(d.size * data), int(d.objects * data), "plan")
        for d in plan.datasets
        if d.size is not None and d.objects is not None
    }
    return estimate(plan, sizes, egress=egress_of(plan.legacy), start=today + timedelta(days=7 - today.weekday()))
