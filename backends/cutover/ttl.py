"""The TTL of a route by DNS: lowered ahead, on the way into staging, and its old one waited out before arming. Pure.

An answer given out with the old TTL may be used until that is over, so a weight set before then moves nobody, and a rollback is as slow.
"""

from __future__ import annotations

from collections.abc import Iterator

from backends.cutover.migration import Migration
from backends.cutover.steps.base import Step
from backends.cutover.steps.ttl import NoteTtl, SetTtl
from backends.plan.models import Plan, Route
from backends.snapshot import GateView
from backends.verdict import Verdict
from backends.vocabulary import Phase


def lowering_steps(plan: Plan, m: Migration) -> tuple[Step, ...]:
    """What brings each record's TTL down to the plan's; nothing for those that are there."""
    steps: list[Step] = []
    for route, ttl in _by_dns(plan):
        noted = m.ttls.get(route.name)
        if noted is None or noted.now is None or noted.now > ttl:
            steps += [NoteTtl(route.name), SetTtl(route.name, ttl)]
    return tuple(steps)


def restoring_steps(plan: Plan, m: Migration) -> list[Step]:
    """Each TTL that may have been changed, back to what it was."""
    routes = [route.name for route, _ in _by_dns(plan)]
    return [SetTtl(n, m.ttls[n].before, direction="backward") for n in routes if n in m.ttls and m.ttls[n].may_be_changed]


def ttl_gates(plan: Plan, m: Migration, now: float) -> tuple[GateView, ...]:
    """A gate of staging for each route by DNS; `now` in observed seconds."""
    return tuple(_gate(route, ttl, m, now) for route, ttl in _by_dns(plan))


def _by_dns(plan: Plan) -> Iterator[tuple[Route, int]]:
    for route in plan.routes:
        if route.ttl is not None:
            yield route, max(1, round(route.ttl))


def _gate(route: Route, ttl: int, m: Migration, now: float) -> GateView:
    noted = m.ttls.get(route.name)
    verdict, value, reason = Verdict.INCONCLUSIVE, None, f"not lowered to {ttl} s yet: an advance does it"
    if noted is not None and noted.now is not None:
        value = float(noted.now)
        left = noted.before - (now - noted.since) if noted.before > ttl else 0.0
        if noted.now > ttl:
            reason = f"{noted.now} s, the plan says {ttl} s: an advance lowers it"
        elif left > 0:
            reason = f"lowered from {noted.before} s to {noted.now} s; {left:.0f} s until the last answer with the old one ends"
        else:
            verdict, reason = Verdict.PASS, f"{noted.now} s, and no answer with an older one is left"
    return GateView(name=f"ttl {route.name}", phase=Phase.STAGING, verdict=verdict, reason=reason, value=value, limit=float(ttl))
