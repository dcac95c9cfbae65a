"""Routes, their names in DNS and the endpoints behind them, as they are before the window."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

from backends.children import Children
from backends.errors import CutoverError
from backends.escape import plain
from backends.live.found import Found
from backends.plan.models import Plan
from backends.plan.models import Route as RouteSpec
from backends.plan.problems import Severity
from backends.probes.endpoints import EndpointSeen, look
from backends.ssh.pool import SshPool
from backends.traffic.open import open_route
from backends.vocabulary import SideName

LIMIT = 30.0


async def try_route(plan: Plan, index: int, pool: SshPool, children: Children, base: Path) -> list[Found]:
    """What keeps a route from being moved, and who carries clients now. Never raises for it."""
    spec = plan.routes[index]
    out: list[Found] = []
    try:
        async with asyncio.timeout(LIMIT):
            route = open_route(spec, base=base, children=children, pool=pool)
            try:
                seen, findings = await route.read(), await route.preflight()
            finally:
                await route.close()
    except TimeoutError:
        return [
            _of(spec, index, "route_silent", "does not answer", f"nothing within {LIMIT:.0f} s", "network, firewall, address")
        ]
    except CutoverError as error:
        return [_of(spec, index, error.code, "cannot be asked", error.message, error.hint or "what the route's authority needs")]
    if seen.weight or seen.foreign:
        told = f"{seen.weight} % on target: {seen.detail}" if seen.weight else f"it {seen.foreign}"
        found = _of(
            spec,
            index,
            "route_carries",
            "already sends clients to target, or is set as the plan does not say",
            told,
            "arming refuses it: set it to 0",
        )
        out.append(found)
    for finding in findings:
        if finding.good is not True:
            found = _of(spec, index, "route_unready", "is not ready to be moved", finding.text, finding.cure)
            out.append(found if finding.good is False else _as_warning(found))
    return out


async def try_delegation(plan: Plan, index: int) -> list[Found]:
    """Do resolvers come to the name servers that the route changes? For a route by dynamic updates that names resolvers."""
    spec = plan.routes[index]
    if spec.rfc2136 is None or not spec.rfc2136.resolvers:
        return []
    from backends.traffic.nameserver import NameServer  # dnspython, for those who need it

    zone = spec.rfc2136.zone.rstrip(".")
    out: list[Found] = []
    try:
        own = await NameServer.at(spec.rfc2136.server).record(zone, "NS")
    except CutoverError:
        return []  # told with the route itself
    for resolver in spec.rfc2136.resolvers:
        try:
            given = await NameServer.at(resolver).record(zone, "NS", recursive=True)
        except CutoverError as error:
            out.append(
                _as_warning(
                    _of(
                        spec,
                        index,
                        "resolver",
                        f"has a resolver that does not answer for {zone}",
                        error.message,
                        "the route's resolvers",
                    )
                )
            )
            continue
        if own.values and given.values and set(own.values) != set(given.values):
            told = f"{plain(resolver, 60)} comes to {', '.join(given.values)}, the zone names {', '.join(own.values)}"
            out.append(
                _of(
                    spec,
                    index,
                    "delegation",
                    f"changes a zone, {zone}, that resolvers do not come to",
                    told,
                    "the delegation in the zone above",
                )
            )
    return out


async def try_probes(plan: Plan, index: int) -> list[Found]:
    """The endpoints that the route is watched by, from here, and how long their certificates hold."""
    spec = plan.routes[index]
    if spec.probe is None:
        return []
    urls = {name: url for name in ("url", "legacy", "target") if (url := getattr(spec.probe, name)) is not None}
    seen = await look(list(urls.values()), max(spec.probe.timeout, 1.0))
    return [found for name, one in zip(urls, seen, strict=True) for found in _judge_endpoint(spec, index, name, one)]


def _judge_endpoint(spec: RouteSpec, index: int, name: str, seen: EndpointSeen) -> Iterator[Found]:
    path = ("routes", index, "probe", name)
    if not seen.ok:
        message = f"route {spec.name}: its probe of {'clients' if name == 'url' else name} does not answer well"
        told = f"{plain(seen.url, 200)}: {seen.error}"
        severity: Severity = "warning" if name == "target" else "error"  # target may come up later
        yield Found(severity, "probe", message, told, "the URL, or what stands behind it", path, _side(name))
    warning = seen.warning(time.time())
    if warning is not None:
        message = f"route {spec.name}: a certificate ends within the window"
        yield Found(
            "warning",
            "certificate",
            message,
            f"{plain(seen.url, 200)}: {warning}",
            "renew it before the window",
            path,
            _side(name),
        )


def _side(name: str) -> SideName | None:
    return "legacy" if name == "legacy" else "target" if name == "target" else None


def _of(spec: RouteSpec, index: int, code: str, message: str, evidence: str, cure: str) -> Found:
    return Found("error", code, f"route {spec.name} {message}", plain(evidence, 400), cure, ("routes", index))


def _as_warning(found: Found) -> Found:
    return Found("warning", found.code, found.message, found.evidence, found.cure, found.path, found.side)
