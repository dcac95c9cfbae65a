"""Load: where each side is asked, and with what."""

from __future__ import annotations

from backends.plan.models import Plan
from backends.plan.problems import Findings
from backends.plan.rules.names import Names
from backends.plan.rules.stores import split_url


def check_load(plan: Plan, _names: Names, findings: Findings) -> None:
    for i, workload in enumerate(plan.workloads):
        load = workload.load
        if load is None:
            continue
        for side in ("legacy", "target"):
            parts = split_url(getattr(load, side))
            if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
                message = "found no URL to load, expected http:// or https:// and a host"
                findings.error(
                    ("workloads", i, "load", side), "load_url", message, "such as https://chat.old.example.net/v1/completions"
                )
        if load.legacy == load.target:
            message = "found the same URL for both sides: nothing would be compared"
            findings.warning(("workloads", i, "load", "target"), "load_same", message, "give each side's own data plane")
        if load.body is not None and load.method in ("GET", "HEAD"):
            message = f"found a body with {load.method}, expected POST, PUT or PATCH"
            findings.error(("workloads", i, "load", "body"), "load_body", message, "method: POST")
