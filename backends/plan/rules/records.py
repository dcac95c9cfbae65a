"""Routes by DNS: names and addresses that a record can have, weights that it can say, servers that can be asked."""

from __future__ import annotations

import re

from backends.escape import plain
from backends.plan.document import Path
from backends.plan.models import Plan, PowerdnsRoute, Rfc2136Route, Route, Route53Route
from backends.plan.problems import Findings
from backends.plan.records import Record, RecordForm, full_record, parse_record, split_server, values_at
from backends.plan.rules.names import Names
from backends.plan.rules.stores import is_loopback, split_url
from backends.plan.rules.windows import seconds_text

LONG_TTL = 3600.0
MOST_TTL = 2**31 - 1


def check_records(plan: Plan, _names: Names, findings: Findings) -> None:
    for i, route in enumerate(plan.routes):
        path: Path = ("routes", i)
        if route.rfc2136 is not None:
            _check_rfc2136((*path, "rfc2136"), route, route.rfc2136, findings)
        if route.route53 is not None:
            _check_route53((*path, "route53"), route, route.route53, findings)
        if route.powerdns is not None:
            _check_powerdns((*path, "powerdns"), route, route.powerdns, findings)


def _check_rfc2136(path: Path, route: Route, spec: Rfc2136Route, findings: Findings) -> None:
    check_servers(path, spec.server, spec.authorities, spec.resolvers, findings)
    check_ttl(path, route, spec.ttl, findings)
    if spec.tsig is None:
        message = f"nothing signs the updates of route `{route.name}`: the server has to trust this machine's address"
        findings.warning((*path, "tsig"), "unsigned_updates", message, "give tsig: ${file:…} with a key of the server")
    record = record_of(path, spec.record, spec.zone, spec.legacy, spec.target, findings)
    if record is not None:
        _check_weights(path, route, record, findings)


def _check_route53(path: Path, route: Route, spec: Route53Route, findings: Findings) -> None:
    check_servers(path, None, spec.authorities, spec.resolvers, findings)
    check_ttl(path, route, spec.ttl, findings)
    if not re.fullmatch(r"[A-Z0-9]{1,32}", spec.zone):
        message = f"found `{plain(spec.zone, 60)}`, expected the id of a hosted zone"
        findings.error((*path, "zone"), "zone_id", message, "such as Z0123456789ABC, from `aws route53 list-hosted-zones`")
    try:
        full_record(spec.record, spec.legacy, spec.target)
    except RecordForm as error:
        findings.error(path, "record", str(error), error.hint)
    if spec.endpoint is not None:
        _check_url((*path, "endpoint"), spec.endpoint, findings)
    if (spec.access_key is None) != (spec.secret_key is None):
        findings.error(
            path,
            "half_credential",
            "found one of access_key and secret_key, expected both or none",
            "both as references, or none for AWS's usual chain",
        )


def _check_powerdns(path: Path, route: Route, spec: PowerdnsRoute, findings: Findings) -> None:
    check_servers(path, None, spec.authorities, spec.resolvers, findings)
    check_ttl(path, route, spec.ttl, findings)
    _check_url((*path, "api"), spec.api, findings)
    record = record_of(path, spec.record, spec.zone, spec.legacy, spec.target, findings)
    if record is not None and record.type == "CNAME":
        message = "found names, expected addresses: a LUA record chooses among addresses"
        findings.error(path, "record", message, "use rfc2136, all or nothing, for a CNAME")


def _check_url(path: Path, text: str, findings: Findings) -> None:
    parts = split_url(text)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
        findings.error(path, "endpoint", "found no URL, expected https:// and a host", "such as https://dns.example.net:8081")
    elif parts.scheme == "http" and not is_loopback(parts.hostname):
        findings.warning(path, "plain_http", "found plain http: the key can be read on its way", "use https://")


def record_of(
    path: Path, record: str, zone: str, legacy: tuple[str, ...], target: tuple[str, ...], findings: Findings
) -> Record | None:
    """The record that a route means; adds the problem where it is none."""
    try:
        return parse_record(record, zone, legacy, target)
    except RecordForm as error:
        findings.error(path, "record", str(error), error.hint)
        return None


def _check_weights(path: Path, route: Route, record: Record, findings: Findings) -> None:
    can = values_at(record)
    for j, step in enumerate(route.steps):
        if step in can:
            continue
        count = len(record.legacy) + len(record.target)
        what = "a CNAME" if record.type == "CNAME" else f"{count} addresses"
        message = f"found {step}, which plain DNS cannot say with {what}: it has no weights, only k of n distinct addresses"
        hint = f"possible here: {', '.join(str(w) for w in can if w)}; others want more addresses, HAProxy, Route 53 or PowerDNS"
        findings.error((*path[:-1], "steps", j), "weight_unsayable", message, hint)


def check_servers(
    path: Path, server: str | None, authorities: tuple[str, ...] | None, resolvers: tuple[str, ...], findings: Findings
) -> None:
    """Each is an address or a name, and perhaps a port."""
    named: list[tuple[Path, str]] = [((*path, "server"), server)] if server is not None else []
    named += [((*path, "authorities", j), text) for j, text in enumerate(authorities or ())]
    named += [((*path, "resolvers", j), text) for j, text in enumerate(resolvers)]
    for place, text in named:
        try:
            split_server(text)
        except RecordForm as error:
            findings.error(place, "name_server", str(error), error.hint)


def check_ttl(path: Path, route: Route, ttl: float, findings: Findings) -> None:
    """Whole seconds, and short: it is how long clients stay where they are."""
    if not 1 <= ttl <= MOST_TTL or ttl != int(ttl):
        findings.error((*path, "ttl"), "ttl", f"found a TTL of {ttl:g} s, expected whole seconds, at least 1", "ttl: 60s")
        return
    if ttl > LONG_TTL:
        message = (
            f"found a TTL of {seconds_text(ttl)}: after each change, a rollback's too, clients stay where they are for that long"
        )
        findings.warning((*path, "ttl"), "long_ttl", message, "60s is usual for a cutover")
    if len(route.steps) > 1 and route.soak.at_least < ttl:
        message = f"found a soak of {seconds_text(route.soak.at_least)}, less than the TTL of {seconds_text(ttl)}"
        hint = f"at_least: {seconds_text(ttl)} or more: a weight would be left before its clients have come"
        findings.warning((*path[:-1], "soak", "at_least"), "soak_below_ttl", message, hint)
