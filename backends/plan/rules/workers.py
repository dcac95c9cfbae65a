"""Hosts that carry bytes too: that there is something which they can carry."""

from __future__ import annotations

from backends.plan.models import Plan
from backends.plan.problems import Findings
from backends.plan.rules.names import Names

_FROM_ANYWHERE = ("s3://", "gs://", "az://")


def check_workers(plan: Plan, names: Names, findings: Findings) -> None:
    """A worker reaches both stores by itself, so neither may be a tree of this machine, and none is behind its SSH. Named twice, a host
    would be counted twice."""
    workers = plan.transfer.workers
    for i, name in enumerate(workers):
        if name in workers[:i]:
            findings.error(("transfer", "workers", i), "twice", f"`{name}` is named twice", "name each host once")
    if workers and plan.datasets and not any(d.hub is None and can_help(plan, d.from_, d.to) for d in plan.datasets):
        findings.warning(
            ("transfer", "workers"),
            "idle_workers",
            "no dataset goes straight from one object store to another: the workers carry nothing",
            "leave it empty; trees, SSH and the hub are carried by this machine",
        )


def can_help(plan: Plan, source: str, target: str) -> bool:
    """Can a host that is not this machine reach both stores?"""
    return all(name in plan.stores and plan.stores[name].url.startswith(_FROM_ANYWHERE) for name in (source, target))
