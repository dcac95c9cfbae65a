"""Order: a workload that moves after others names those of the plan, and no circle leaves nobody to be first."""

from __future__ import annotations

from backends.escape import plain
from backends.plan.models import Plan
from backends.plan.order import order_of
from backends.plan.problems import Findings
from backends.plan.rules.names import Names, refer


def check_order(plan: Plan, names: Names, findings: Findings) -> None:
    for i, workload in enumerate(plan.workloads):
        for j, name in enumerate(workload.after):
            refer(("workloads", i, "after", j), name, names.workloads, "workloads", findings)
    for circle in order_of(plan.workloads).circles:
        first = circle[0]
        after = circle[1] if len(circle) > 1 else first
        index = next(i for i, w in enumerate(plan.workloads) if w.name == first and after in w.after)
        place = ("workloads", index, "after", plan.workloads[index].after.index(after))
        if len(circle) == 1:
            findings.error(place, "order", f"found `{first}` after itself", "leave it out")
            continue
        way = " after ".join(plain(name, 80) for name in (*circle[:8], first if len(circle) <= 8 else "…"))
        message = f"found a circle: {way}: none of them can move first"
        findings.error(place, "order", message, "take one of these names out of its `after`")
