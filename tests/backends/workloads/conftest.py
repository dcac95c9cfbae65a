"""What the workloads' tests share: a workload of the plan, opened."""

from __future__ import annotations

from pathlib import Path

from backends.children import Children
from backends.plan.models import Workload
from backends.ssh.pool import SshPool
from backends.workloads.base import WorkloadControl
from backends.workloads.open import open_workload


def workload(quiesce: dict[str, object] | None) -> Workload:
    """A workload on the host `box` of legacy, and on `box` and `gone` of target."""
    return Workload.model_validate(
        {
            "name": "pretrain",
            "class": "training",
            "runs_on": {"legacy": ["box"], "target": ["box", "gone"]},
            "quiesce": quiesce,
        }
    )


def control(pool: SshPool, base: Path, **quiesce: object) -> WorkloadControl:
    opened = open_workload(workload(quiesce), pool, base=base, children=Children())
    assert opened is not None
    return opened
