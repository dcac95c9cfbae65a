"""Quotas: each is asked in one way, for things that this way knows."""

from __future__ import annotations

import re

from backends.escape import plain
from backends.plan.models import Plan
from backends.plan.nearest import name_hint
from backends.plan.problems import Findings
from backends.plan.quotas import OF_PARTITIONS, QUOTA_KINDS
from backends.plan.rules.names import Names, refer
from backends.plan.rules.stores import split_url

_CODE = re.compile(r"L-[0-9A-F]{8}")


def check_quotas(plan: Plan, names: Names, findings: Findings) -> None:
    for i, quota in enumerate(plan.quotas):
        if len(quota.kinds) != 1:
            found = f"found {' and '.join(quota.kinds) or 'none'}, expected one of {', '.join(QUOTA_KINDS)}"
            findings.error(
                ("quotas", i),
                "quota_kind",
                found,
                "one entry of quotas for each" if quota.kinds else "such as slurm: {partition: gpu}",
            )
            continue
        if not quota.needs:
            findings.error(
                ("quotas", i, "needs"), "quota_needs", "found nothing that is needed, expected some of it", "needs: {…: 16}"
            )
        if quota.slurm is not None and quota.slurm.user is not None and quota.slurm.account is None:
            found = "found a user without the account that it works for"
            findings.error(("quotas", i, "slurm", "user"), "quota_user", found, "account: NAME")
        if quota.slurm is not None and quota.slurm.host is not None:
            refer(("quotas", i, "slurm", "host"), quota.slurm.host, names.hosts, "hosts", findings)
        if quota.aws is not None and quota.aws.endpoint is not None:
            parts = split_url(quota.aws.endpoint)
            if parts is None or parts.scheme not in ("http", "https") or not parts.hostname:
                findings.error(
                    ("quotas", i, "aws", "endpoint"),
                    "quota_endpoint",
                    "found no URL, expected http:// or https:// and a host",
                    "leave it out: the usual one of the region is asked",
                )
        for thing in quota.needs:
            path = ("quotas", i, "needs", thing)
            found = f"found `{plain(thing, 60)}`"
            if quota.slurm is not None and thing not in OF_PARTITIONS:
                findings.error(
                    path,
                    "quota_thing",
                    f"{found}, expected some of {', '.join(OF_PARTITIONS)}",
                    name_hint(thing, OF_PARTITIONS, "limits"),
                )
            if quota.aws is not None and not _CODE.fullmatch(thing):
                findings.error(
                    path, "quota_thing", f"{found}, expected the code of a quota", "such as L-417A185B: vCPUs of P instances"
                )
