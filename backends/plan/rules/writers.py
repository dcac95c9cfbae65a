"""Writers: a workload that writes moves at once, can be stopped and started, and what it writes comes back."""

from __future__ import annotations

from backends.plan.document import Path
from backends.plan.models import Plan, Workload
from backends.plan.problems import Findings
from backends.plan.rules.names import Names, refer
from backends.plan.ways import WAYS, Quiesce, Way
from backends.vocabulary import SIDES


def check_writers(plan: Plan, names: Names, findings: Findings) -> None:
    for i, workload in enumerate(plan.workloads):
        path: Path = ("workloads", i)
        if workload.quiesce is not None:
            _check_quiesce((*path, "quiesce"), workload.quiesce, workload, findings)
            for way, place in _ways((*path, "quiesce"), workload.quiesce):
                _check_checkpoint(place, way, names, findings)
        if workload.writes:
            _check_stoppable(path, workload, findings)
            _check_reverse(path, workload, plan, findings)
    _check_one_writer(plan, findings)
    writing = {w.name for w in plan.workloads if w.writes}
    for i, route in enumerate(plan.routes):
        if route.workload in writing and route.steps != (100,):
            steps = ", ".join(map(str, route.steps))
            message = f"found steps [{steps}] for `{route.workload}`, which writes, expected [100]: it moves at once"
            findings.error(("routes", i, "steps"), "writer_partial_steps", message, "write steps: [100]")


def _check_quiesce(path: Path, quiesce: Quiesce, workload: Workload, findings: Findings) -> None:
    both_sides = quiesce.legacy is not None and quiesce.target is not None
    _check_way(path, quiesce, findings, may_be_none=both_sides)
    for side in SIDES:
        own = quiesce.legacy if side == "legacy" else quiesce.target
        if own is not None:
            _check_way((*path, side), own, findings)
        way = quiesce.way(side)
        needs_host = way is not None and (way.kind != "kubernetes" or way.step is not None)
        if way is not None and needs_host and way.on == "hosts" and not getattr(workload.runs_on, side):
            message = f"the commands of `{workload.name}` run on its hosts, and runs_on.{side} names none"
            findings.error(path, "no_hosts", message, f"name hosts in runs_on.{side}, or write on: engine")


def _ways(path: Path, quiesce: Quiesce) -> list[tuple[Way, Path]]:
    sides = ((quiesce.legacy, (*path, "legacy")), (quiesce.target, (*path, "target")))
    return [(quiesce, path), *((way, place) for way, place in sides if way is not None)]


def _check_checkpoint(path: Path, way: Way, names: Names, findings: Findings) -> None:
    if way.checkpoint is None:
        return
    refer((*path, "checkpoint", "dataset"), way.checkpoint.dataset, names.datasets, "datasets", findings)
    if way.step is not None:
        message = "found `step` and `checkpoint`, expected one of them to tell the step"
        findings.error((*path, "checkpoint"), "one_step", message, "leave one out")
    if "/" in way.checkpoint.marker:
        message = f"found marker `{way.checkpoint.marker}` with a slash, expected a glob of a file's name"
        findings.error((*path, "checkpoint", "marker"), "marker", message, 'such as "trainer_state.json" or "*.complete"')


def _check_way(path: Path, way: Way, findings: Findings, *, may_be_none: bool = False) -> None:
    kinds = [kind for kind in WAYS if getattr(way, kind) is not None]
    # What is written and does not fit has its own problem already.
    has_misfit = not kinds and any((*path, kind) in findings.places.left_out for kind in (*WAYS, "legacy", "target"))
    if len(kinds) > 1 or not (kinds or may_be_none or has_misfit):
        found = " and ".join(f"`{k}`" for k in kinds) if kinds else "none"
        message = f"found {found}, expected exactly one of {', '.join(WAYS)} (or one for each side)"
        findings.error(path, "one_kind", message, "leave the others out" if kinds else "such as systemd: UNIT")
    for field in ("resume", "status", "drain", "idle"):
        if getattr(way, field) is not None and way.kind not in ("command", "none"):
            message = f"found `{field}` beside `{way.kind}`, which needs none: nothing runs it"
            findings.warning((*path, field), "not_used", message, "leave it out, or use command")
    if way.drain is not None and way.idle is None:
        message = "found `drain` without `idle`: nothing shows when what runs has ended"
        findings.note((*path, "drain"), "no_idle", message, "give idle: exits 0 when nothing runs, 3 when something does")


def _check_stoppable(path: Path, workload: Workload, findings: Findings) -> None:
    quiesce = workload.quiesce
    if quiesce is None:
        if not findings.places.is_written((*path, "quiesce")):
            message = f"`{workload.name}` writes and has no `quiesce`: its writer could not be handed over"
            findings.error(path, "writer_not_stoppable", message, "add quiesce: {command: […], resume: […]}")
        return
    for side in SIDES:
        way = quiesce.way(side)
        if way is not None and way.kind == "command" and way.resume is None:
            message = f"`{workload.name}` writes and has no `resume` on {side}: once stopped it could not be started"
            findings.error((*path, "quiesce"), "writer_not_resumable", message, "add resume: […] beside command")
            return
    _check_replicas((*path, "quiesce"), workload, quiesce, findings)


def _check_replicas(path: Path, workload: Workload, quiesce: Quiesce, findings: Findings) -> None:
    """Target's writer stands at 0 until the handover: how many are started is only found missing after the commit point."""
    way = quiesce.way("target")
    thing = way.kubernetes if way is not None else None
    if thing is not None and thing.kind in ("deployment", "statefulset") and thing.replicas is None:
        message = f"nothing says how many replicas of {thing.kind} `{thing.name}` are started on target for `{workload.name}`"
        where = (*path, "target", "kubernetes") if quiesce.target is not None else (*path, "kubernetes")
        findings.error(where, "no_replicas", message, f"{{kind: {thing.kind}, name: {thing.name}, replicas: N}}")


def _check_reverse(path: Path, workload: Workload, plan: Plan, findings: Findings) -> None:
    datasets = {d.name: d for d in plan.datasets}
    for j, name in enumerate(workload.writes):
        dataset = datasets.get(name)
        if dataset is not None and not dataset.reverse and workload.rollback_loses_writes is None:
            message = f"`{workload.name}` writes `{name}` on target and nothing brings that back: no `reverse: true`"
            hint = f"set reverse: true on the dataset {name}, or rollback_loses_writes: accepted here"
            findings.error((*path, "writes", j), "writes_lost", message, hint)


def _check_one_writer(plan: Plan, findings: Findings) -> None:
    first: dict[str, str] = {}
    for i, workload in enumerate(plan.workloads):
        for j, name in enumerate(workload.writes):
            if first.setdefault(name, workload.name) != workload.name:
                message = f"`{workload.name}` and `{first[name]}` both write `{name}`: a dataset has one writer"
                findings.error(
                    ("workloads", i, "writes", j),
                    "two_writers",
                    message,
                    "a dataset for each, or one workload that stands for both",
                )
