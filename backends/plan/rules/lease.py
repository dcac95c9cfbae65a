"""The lease: one place, which can hold one."""

from __future__ import annotations

from backends.plan.models import Lease, Plan
from backends.plan.problems import Findings
from backends.plan.rules.names import Names, refer
from backends.plan.rules.stores import split_url

CONDITIONAL = ("s3", "gs", "az")
SHORTEST, LONGEST = 1.0, 60.0  # seconds


def check_lease(plan: Plan, names: Names, findings: Findings) -> None:
    lease = plan.lease
    if not isinstance(lease, Lease):
        return
    if lease.store is not None and lease.host is not None:
        findings.error(("lease", "host"), "lease_places", "found a store and a host, expected one place", "leave one of them out")
    if lease.store is not None and refer(("lease", "store"), lease.store, names.stores, "stores", findings):
        _check_store(plan, lease.store, findings)
    if lease.host is not None and refer(("lease", "host"), lease.host, names.hosts, "hosts", findings):
        hosts = {h.name: h for side in (plan.legacy, plan.target) for h in side.hosts}
        if lease.host in hosts and hosts[lease.host].address == "local":
            message = f"found `{lease.host}`, which is the engine's own machine: no other one sees a lease there"
            findings.error(("lease", "host"), "lease_local", message, "a host that every bastion reaches by SSH, or lease: none")
    if not SHORTEST <= lease.duration <= LONGEST:
        message = f"found {lease.duration:g} s, expected {SHORTEST:g} s to {LONGEST:g} s"
        findings.error(("lease", "duration"), "lease_duration", message, "duration: 30s")


def _check_store(plan: Plan, name: str, findings: Findings) -> None:
    store = plan.stores.get(name)
    parts = split_url(store.url) if store is not None else None
    if parts is not None and parts.scheme not in CONDITIONAL:
        message = f"found `{name}`, a {parts.scheme}:// tree, which has no conditional writes"
        findings.error(("lease", "store"), "lease_store", message, "a store by s3://, gs:// or az://; or lease: {host: NAME}")
