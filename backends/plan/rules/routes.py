"""Routes: one kind each, steps that rise and end at 100, and a way to see whether a side serves."""

from __future__ import annotations

from backends.plan.document import Path
from backends.plan.models import ROUTE_KINDS, Plan, Route
from backends.plan.problems import Findings
from backends.plan.queues import SlurmRoute
from backends.plan.rules.names import Names
from backends.plan.rules.stores import is_loopback, split_url


def check_routes(plan: Plan, names: Names, findings: Findings) -> None:
    for i, route in enumerate(plan.routes):
        path: Path = ("routes", i)
        _check_kind(path, route, findings)
        _check_steps(path, route, findings)
        _check_probe(path, route, findings)
        if route.command is not None and not any("{weight}" in part for part in route.command.set):
            message = "found no `{weight}` in the command, expected it where the weight belongs"
            findings.error((*path, "command", "set"), "no_weight", message, 'such as [./set-weight, "{weight}"]')
        if route.slurm is not None:
            _check_queue(path, route, route.slurm, names, findings)
        if route.gateway is not None and route.gateway.legacy == route.gateway.target:
            findings.error(
                (*path, "gateway", "target"),
                "same_backend",
                "found the same backend on both sides, expected two",
                "name target's own",
            )


def _check_queue(path: Path, route: Route, spec: SlurmRoute, names: Names, findings: Findings) -> None:
    if route.steps != (100,):
        message = f"found steps {', '.join(map(str, route.steps))}, expected [100]: a queue takes all or nothing"
        findings.error((*path, "steps"), "queue_steps", message, "steps: [100]")
    same_host = spec.hosts is None or spec.hosts.legacy == spec.hosts.target
    if spec.legacy == spec.target and same_host:
        message = "found the same partition on both sides, expected two"
        findings.error((*path, "slurm", "target"), "same_partition", message, "name another, or `hosts` of two clusters")
    for side in ("legacy", "target") if spec.hosts is not None else ():
        host = getattr(spec.hosts, side)
        if host not in names.hosts:
            message = f"found `{host}`, which is no host of the plan: taken as an alias of the ssh_config"
            findings.note(
                (*path, "slurm", "hosts", side), "ssh_alias", message, "check --live tries it; or name a host of the plan"
            )


def _check_kind(path: Path, route: Route, findings: Findings) -> None:
    kinds = [kind for kind in ROUTE_KINDS if getattr(route, kind) is not None]
    if len(kinds) == 1:
        return
    # A kind that is written but does not fit has its own problem already.
    if not kinds and any(findings.places.is_written((*path, kind)) for kind in ROUTE_KINDS):
        return
    found = " and ".join(f"`{k}`" for k in kinds) if kinds else "none"
    findings.error(
        path,
        "one_kind",
        f"found {found}, expected exactly one of {', '.join(ROUTE_KINDS)}",
        "leave the others out" if kinds else "say who decides where clients go",
    )


def _check_steps(path: Path, route: Route, findings: Findings) -> None:
    previous = 0
    for j, step in enumerate(route.steps):
        if step <= previous:
            what = "more than 0" if j == 0 else f"more than the {previous} before it"
            message = f"found {step}, expected {what}: steps rise"
            findings.error((*path, "steps", j), "steps_rise", message, "such as [5, 25, 50, 100]: a rollback is the way down")
        previous = step
    if route.steps[-1] != 100:
        message = f"found {route.steps[-1]} as the last step, expected 100"
        findings.error((*path, "steps"), "steps_end", message, "add 100 at the end")


def _check_probe(path: Path, route: Route, findings: Findings) -> None:
    probe = route.probe
    for field in ("url", "legacy", "target"):
        text = getattr(probe, field, None)
        parts = split_url(text) if text is not None else None
        if text is not None and (parts is None or parts.scheme not in ("http", "https") or not parts.hostname):
            message = "found a probe that is no URL, expected http:// or https:// and a host"
            findings.error((*path, "probe", field), "probe_url", message, "such as https://chat.example.net/healthz")
    if route.haproxy is None and (probe is None or not (probe.legacy and probe.target)):
        message = f"nothing shows whether each side of route `{route.name}` serves"
        findings.note((*path, "probe"), "no_probe", message, "give probe.legacy and probe.target, each side's own URL")
    if route.sandbox is not None:
        parts = split_url(route.sandbox.admin)
        if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
            findings.error(
                (*path, "sandbox", "admin"),
                "endpoint",
                "found no URL, expected http:// and a host",
                "admin: http://127.0.0.1:PORT, as cutover sandbox writes it",
            )
        elif not is_loopback(parts.hostname):
            message = "found a sandbox's front door elsewhere, expected it on loopback"
            findings.error(
                (*path, "sandbox", "admin"), "endpoint", message, "admin: http://127.0.0.1:PORT, as cutover sandbox writes it"
            )
