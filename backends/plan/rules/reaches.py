"""What a workload's hosts have to come to: URLs that can be asked."""

from __future__ import annotations

from backends.escape import plain
from backends.plan.models import Plan
from backends.plan.problems import Findings, without_userinfo
from backends.plan.rules.names import Names
from backends.plan.rules.stores import split_url

_PORTS = {"tcp": None, "http": 80, "https": 443, "grpc": None, "grpcs": None}


def check_reaches(plan: Plan, _names: Names, findings: Findings) -> None:
    for i, workload in enumerate(plan.workloads):
        for j, url in enumerate(workload.reaches):
            parts = split_url(url)
            is_good = parts is not None and parts.scheme in _PORTS and parts.hostname and "@" not in parts.netloc
            if parts is None or not is_good or (parts.port or _PORTS[parts.scheme]) is None:
                found = (
                    f"found `{plain(without_userinfo(url), 80)}`, expected tcp://HOST:PORT, http(s)://HOST or grpc(s)://HOST:PORT"
                )
                findings.error(("workloads", i, "reaches", j), "reaches_url", found, "such as tcp://db.example.net:5432")
