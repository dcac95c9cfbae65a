"""Hosts: how each is probed."""

from __future__ import annotations

from backends.plan.models import Plan
from backends.plan.problems import Findings
from backends.plan.rules.names import Names
from backends.plan.rules.stores import split_url

LOCAL = "local"


def check_hosts(plan: Plan, _names: Names, findings: Findings) -> None:
    for side in ("legacy", "target"):
        for i, host in enumerate(plan.side(side).hosts):
            parts = split_url(host.dcgm) if host.dcgm is not None else None
            if host.dcgm is not None and (parts is None or parts.scheme not in ("http", "https") or not parts.hostname):
                message = "found a dcgm-exporter that is no URL, expected http:// or https:// and a host"
                findings.error((side, "hosts", i, "dcgm"), "dcgm_url", message, f"such as http://{host.address}:9400/metrics")
            if host.address == LOCAL and (host.user or host.port or host.via):
                message = "found `user`, `port` or `via` of the engine's own machine, which is not reached by SSH"
                findings.error((side, "hosts", i, "address"), "local_host", message, "leave them out, or give its real address")
