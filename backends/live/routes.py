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
from backends.traffic.base import HasTtl, Route
from backends.traffic.open import open_route
from backends.vocabulary import SideName

LIMIT = 30.0
DEEPEST = 8  # labels above a record that its zone is looked for at


async def try_route(plan: Plan, index: int, pool: SshPool, children: Children, base: Path) -> list[Found]:
    """What keeps a route from being moved, and who carries clients now. Never raises for it."""
    spec = plan.routes[index]
    out: list[Found] = []
    try:
        async with asyncio.timeout(LIMIT):
            route = open_route(spec, base=base, children=children, pool=pool)
            try:
                seen, findings = await route.read(), await route.preflight()
                out += await _long_ttl(spec, index, route)
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


async def _long_ttl(spec: RouteSpec, index: int, route: Route) -> list[Found]:
    """A TTL that is longer than the plan's. By RFC 2136 it is told by the route itself."""
    if spec.ttl is None or spec.rfc2136 is not None or not isinstance(route, HasTtl):
        return []
    try:
        seconds, words = await route.ttl()
    except CutoverError:
        return []  # nothing is there yet, or it is told with the route
    if seconds <= spec.ttl:
        return []
    message = f"is kept by resolvers for longer than the plan's {spec.ttl:g} s"
    cure = f"the way into staging lowers it, and waits {seconds} s; earlier by hand"
    return [_as_warning(_of(spec, index, "ttl", message, words, cure))]


async def try_delegation(plan: Plan, index: int) -> list[Found]:
    """Do resolvers come to the name servers that the route changes? For a route by DNS that names resolvers."""
    spec = plan.routes[index]
    by_dns = spec.rfc2136 or spec.powerdns or spec.route53
    if by_dns is None or not by_dns.resolvers:
        return []
    own = await _own_servers(spec)
    if own is None:
        return []  # told with the route itself, or no authority is named
    from backends.traffic.nameserver import NameServer  # dnspython, for those who need it

    zone, servers = own
    out: list[Found] = []
    for resolver in by_dns.resolvers:
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
        if servers and given.values and set(servers) != set(given.values):
            told = f"{plain(resolver, 60)} comes to {', '.join(given.values)}, the zone names {', '.join(servers)}"
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


async def _own_servers(spec: RouteSpec) -> tuple[str, tuple[str, ...]] | None:
    """The zone, and the name servers that it names itself, as its first authority says; None where nobody can say. The zone of Route 53 is
    found from the record upwards: the plan has its id only."""
    from backends.traffic.nameserver import NameServer

    if spec.rfc2136 is not None:
        at, names = spec.rfc2136.server, [spec.rfc2136.zone.rstrip(".")]
    elif spec.powerdns is not None and spec.powerdns.authorities:
        at, names = spec.powerdns.authorities[0], [spec.powerdns.zone.rstrip(".")]
    elif spec.route53 is not None and spec.route53.authorities:
        labels = spec.route53.record.rstrip(".").split(".")
        at, names = spec.route53.authorities[0], [".".join(labels[i:]) for i in range(min(len(labels) - 1, DEEPEST))]
    else:
        return None
    for name in names:
        try:
            found = await NameServer.at(at).record(name, "NS")
        except CutoverError:
            return None
        if found.values:
            return name, found.values
    return None


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
