"""What the parts of a plan must be to each other: one module a subject, each adds its problems and stops nothing."""

from __future__ import annotations

from typing import Any

from backends.plan.models import Plan
from backends.plan.problems import Findings
from backends.plan.rules.backups import check_backups
from backends.plan.rules.hands import check_hands
from backends.plan.rules.haproxy import check_haproxy
from backends.plan.rules.hosts import check_hosts
from backends.plan.rules.judging import check_judging
from backends.plan.rules.lease import check_lease
from backends.plan.rules.load import check_load
from backends.plan.rules.names import Names, check_names
from backends.plan.rules.order import check_order
from backends.plan.rules.quotas import check_quotas
from backends.plan.rules.reaches import check_reaches
from backends.plan.rules.reconfigure import check_reconfigure
from backends.plan.rules.records import check_records
from backends.plan.rules.requirements import check_requirements
from backends.plan.rules.routes import check_routes
from backends.plan.rules.secrets import check_secrets
from backends.plan.rules.stores import check_stores
from backends.plan.rules.windows import check_windows
from backends.plan.rules.workers import check_workers
from backends.plan.rules.writers import check_writers


def check_rules(plan: Plan, values: dict[str, Any], findings: Findings) -> None:
    """All rules that need nothing but the plan. `values` are the plan's own, with what did not fit the models."""
    names = Names.declared_in(values)
    for check in (
        check_names,
        check_hosts,
        check_requirements,
        check_order,
        check_stores,
        check_secrets,
        check_routes,
        check_haproxy,
        check_records,
        check_writers,
        check_backups,
        check_judging,
        check_load,
        check_reaches,
        check_quotas,
        check_windows,
        check_hands,
        check_reconfigure,
        check_lease,
        check_workers,
    ):
        check(plan, names, findings)
