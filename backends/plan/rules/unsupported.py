"""What a plan may say and nothing acts on yet: an error that names the field, so that nothing is silently ignored."""

from __future__ import annotations

from backends.plan.models import Plan
from backends.plan.problems import Findings


def check_supported(plan: Plan, findings: Findings) -> None:
    """Add a problem `not_yet_supported` for each field that is known and not yet built."""
    if plan.transfer.workers:
        findings.not_yet(("transfer", "workers"), "transfer.workers", "leave it empty: this machine carries the bytes")
