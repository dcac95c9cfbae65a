"""One host against what the plan says of it and of the workloads that run there. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from backends.live.cards import difference
from backends.live.cuda import judge_chip, judge_driver, judge_require
from backends.live.facts import HostFacts, Image, Package, version_of
from backends.live.found import Found
from backends.live.interconnect import judge_links
from backends.plan.document import Path
from backends.plan.models import Host, Plan, Workload
from backends.plan.problems import Severity
from backends.snapshot import HostView
from backends.vocabulary import SideName

CLOCK = 0.5  # seconds that a host's clock may be off
DISK = 0.05  # share of a disk that should be free
PACKAGE_OF = {"pytorch": "torch", "torch": "torch", "tensorflow": "tensorflow", "jax": "jax", "vllm": "vllm"}
_GB = 1e9


@dataclass(frozen=True, slots=True)
class Seen:
    """All that was asked of a host. `view` is what the probe found, `facts` None where it runs no look of ours, `error` the reason of either."""

    side: SideName
    index: int
    host: Host
    view: HostView
    facts: HostFacts | None
    error: str = ""

    @property
    def path(self) -> Path:
        return (self.side, "hosts", self.index)


def runs_there(plan: Plan, seen: Seen) -> list[tuple[int, Workload]]:
    """The workloads that the plan has on this host, with their numbers."""
    return [(i, w) for i, w in enumerate(plan.workloads) if seen.host.name in getattr(w.runs_on, seen.side)]


def compared_with(plan: Plan, host: Seen, seen: Sequence[Seen]) -> list[Seen]:
    """Legacy's hosts that do the same work as this one of target; all of them where no workload says who does what."""
    names = {name for _, w in runs_there(plan, host) for name in w.runs_on.legacy}
    works = any(w.runs_on.legacy or w.runs_on.target for w in plan.workloads)
    return [s for s in seen if s.side == "legacy" and (s.host.name in names if works else True)]


def judge_host(plan: Plan, seen: Seen, pulled: Mapping[str, Image] | None = None) -> Iterator[Found]:
    """Everything that is wrong with one host by itself. The host has answered. `pulled` are the images that it lacks, as a registry has them."""
    yield from _gpus(plan, seen)
    yield from _driver(plan, seen, pulled or {})
    yield from _machine(plan, seen)
    if seen.facts is None:
        yield _of(
            seen,
            "warning",
            "no_facts",
            "does not run our look: frameworks, limits, environment are not compared",
            seen.error,
            "python3",
        )
        return
    yield from _frameworks(plan, seen, seen.facts)
    yield from judge_links(seen.facts.interconnect, partial(_of, seen))


def _of(seen: Seen, severity: Severity, code: str, message: str, evidence: str, cure: str, path: Path | None = None) -> Found:
    return Found(severity, code, message, evidence, cure, path or seen.path, seen.side, seen.host.name)


def _gpus(plan: Plan, seen: Seen) -> Iterator[Found]:
    view, planned = seen.view, seen.host.gpus
    needs = [(i, w) for i, w in runs_there(plan, seen) if w.gpus is not None]
    for gpu in view.gpus:
        if gpu.alarm:
            yield _of(
                seen,
                "error",
                "gpu_health",
                "a GPU is not well",
                f"GPU {gpu.index} {gpu.alarm}",
                "what the evidence says, before the window",
            )
    if not view.gpus:
        if planned is not None or needs:
            why = view.error or "no tool there tells of any"
            yield _of(
                seen,
                "error",
                "gpu_none",
                "shows no GPU, and the plan counts on some",
                why,
                "driver and rights of the SSH user: nvidia-smi",
            )
        return
    if planned is not None and len(view.gpus) != planned.count:
        severity: Severity = "error" if len(view.gpus) < planned.count else "warning"
        yield _of(
            seen, severity, "gpu_count", f"has another number of GPUs than the plan's {planned.count}", f"{len(view.gpus)} are there",
            "the plan's count, or the instance", (*seen.path, "gpus", "count"),
        )  # fmt: skip
    if planned is not None and planned.type:
        told = {(g.name, d) for g in view.gpus if (d := difference(planned.type, g.name, g.memory_total))}
        for name, words in sorted(told):
            yield _of(
                seen, "error", "gpu_type", f"has another GPU than the plan's {planned.type}", f"{name}: {words}",
                "the plan's type, or the instance; cutover gpus --like compares them", (*seen.path, "gpus", "type"),
            )  # fmt: skip
    for i, workload in needs:
        yield from _room(seen, i, workload)
    if any(g.detail is not None and g.detail.mig_mode for g in view.gpus) and needs:
        yield _of(
            seen,
            "warning",
            "gpu_mig",
            "has GPUs divided by MIG",
            "MIG mode is on",
            "nvidia-smi -mig 0, where whole GPUs are wanted",
        )
    if any(g.detail is not None and g.detail.compute_mode == "prohibited" for g in view.gpus):
        yield _of(
            seen, "error", "gpu_prohibited", "lets nobody compute on a GPU", "compute mode is prohibited", "nvidia-smi -c DEFAULT"
        )


def _room(seen: Seen, index: int, workload: Workload) -> Iterator[Found]:
    assert workload.gpus is not None
    need = workload.gpus.memory_gb
    if need is None:
        return
    path: Path = ("workloads", index, "gpus", "memory_gb")
    totals = [g.memory_total for g in seen.view.gpus if g.memory_total is not None]
    if totals and min(totals) < need * _GB:
        yield _of(
            seen, "error", "gpu_memory", f"has too little GPU memory for {workload.name}, which needs {need:g} GB on each",
            f"{min(totals) / _GB:.1f} GB", "a larger GPU, a smaller batch, quantisation, or tensor parallel over more", path,
        )  # fmt: skip
        return
    full = [
        g
        for g in seen.view.gpus
        if g.memory_total is not None and g.memory_used is not None and g.memory_total - g.memory_used < need * _GB
    ]
    if full and seen.side == "target":
        gpu = full[0]
        assert gpu.memory_used is not None
        yield _of(
            seen, "warning", "gpu_busy", f"has GPUs that somebody uses: {workload.name} would not fit beside",
            f"GPU {gpu.index} has {gpu.memory_used / _GB:.1f} GB in use", "see who: cutover probe", path,
        )  # fmt: skip


def _driver(plan: Plan, seen: Seen, pulled: Mapping[str, Image]) -> Iterator[Found]:
    for _, needed, what, path in _built_for(plan, seen, pulled):
        for name in sorted({g.name for g in seen.view.gpus}):
            unknown = judge_chip(name, needed)
            if unknown is not None:
                yield _of(
                    seen, unknown.severity, "cuda", f"{unknown.message} ({what})", f"{name}, CUDA {needed}", unknown.cure, path
                )
        mismatch = judge_driver(seen.view.driver, seen.view.cuda, needed)
        if mismatch is not None:
            yield _of(
                seen,
                mismatch.severity,
                "driver",
                f"{mismatch.message} ({what})",
                f"driver {seen.view.driver}",
                mismatch.cure,
                path,
            )
    for i, workload in runs_there(plan, seen):
        image = _image(seen, workload, pulled)
        refused = judge_require(seen.view.driver, seen.view.cuda, image.require if image is not None else None)
        if refused is not None:
            message = f"{refused.message} (the image of {workload.name})"
            path = ("workloads", i, "framework", "image")
            yield _of(seen, refused.severity, "image_refused", message, f"driver {seen.view.driver}", refused.cure, path)


def _image(seen: Seen, workload: Workload, pulled: Mapping[str, Image]) -> Image | None:
    """The image that it would run there, held or yet to be pulled."""
    name = workload.framework.image_on(seen.side) if workload.framework is not None else None
    if name is None or seen.facts is None:
        return None
    there = seen.facts.images.get(name)
    return there if there is not None and there.error is None else pulled.get(name)


def _built_for(plan: Plan, seen: Seen, pulled: Mapping[str, Image]) -> Iterator[tuple[int, str, str, Path]]:
    """(workload's number, CUDA version, what was built for it, place in the plan), each version of a workload once."""
    for i, workload in runs_there(plan, seen):
        if workload.framework is None:
            continue
        found: dict[str, tuple[str, Path]] = {}
        path: Path = ("workloads", i, "framework")
        if workload.framework.cuda:
            found[workload.framework.cuda] = (f"{workload.name}'s framework.cuda", (*path, "cuda"))
        image = _image(seen, workload, pulled)
        if image is not None and image.cuda:
            found.setdefault(_two(image.cuda), (f"the image of {workload.name}", (*path, "image")))
        for package in _packages_of(workload, seen.facts):
            if package.cuda:
                found.setdefault(_two(package.cuda), (f"{package.name} {package.version} in {package.folder}", path))
        yield from ((i, cuda, what, where) for cuda, (what, where) in found.items())


def _two(cuda: str) -> str:
    return ".".join(cuda.split(".")[:2])


def _packages_of(workload: Workload, facts: HostFacts | None) -> list[Package]:
    """The packages there of the workload's framework, in whichever environment."""
    if facts is None or workload.framework is None:
        return []
    name = PACKAGE_OF.get(workload.framework.name.lower(), workload.framework.name.lower().replace("-", "_"))
    return [p for p in facts.packages if p.name == name]


def _machine(plan: Plan, seen: Seen) -> Iterator[Found]:
    machine, facts = seen.view.machine, seen.facts
    if (
        machine is not None
        and machine.clock_offset is not None
        and abs(machine.clock_offset) - (machine.clock_error or 0) > CLOCK
    ):
        way = "ahead of" if machine.clock_offset > 0 else "behind"
        yield _of(
            seen,
            "error",
            "clock",
            f"has a clock that is {way} ours",
            f"{machine.clock_offset:+.1f} s",
            "chrony or systemd-timesyncd there",
        )
    for disk in machine.disks if machine is not None else ():
        if disk.error:
            continue  # a tree that is not there yet is told with its store
        if disk.total and disk.free is not None and disk.free < DISK * disk.total:
            yield _of(
                seen,
                "error",
                "disk_full",
                f"has hardly any room under {disk.path}",
                f"{disk.free / disk.total:.0%} is free",
                "make room there",
            )
        elif disk.inodes and disk.inodes_free is not None and disk.inodes_free < DISK * disk.inodes:
            yield _of(
                seen,
                "error",
                "inodes_full",
                f"has hardly any inodes under {disk.path}",
                f"{disk.inodes_free} are free",
                "fewer small files there",
            )
    if facts is None or facts.memory is None:
        return
    for i, workload in runs_there(plan, seen):
        if workload.host_memory is not None and facts.memory < 0.95 * workload.host_memory:
            yield _of(
                seen, "error", "host_memory", f"has less memory than {workload.name} needs ({workload.host_memory / 2**30:.0f} GiB)",
                f"{facts.memory / 2**30:.1f} GiB", "a larger instance", ("workloads", i, "host_memory"),
            )  # fmt: skip


def _frameworks(plan: Plan, seen: Seen, facts: HostFacts) -> Iterator[Found]:
    """What is installed, where something is: a host that works by images alone has none, and that is fine."""
    for i, workload in runs_there(plan, seen):
        framework = workload.framework
        there = _packages_of(workload, facts)
        if framework is None or not framework.version or not there:
            continue
        wanted = version_of(framework.version)
        if wanted is None or any((version_of(p.version) or ())[: len(wanted)] == wanted for p in there):
            continue
        yield _of(
            seen, "error", "framework", f"has no {framework.name} {framework.version}, which {workload.name} is planned with",
            "; ".join(f"{p.version} in {p.folder}" for p in there[:3]), "install that version, or say in the plan which one is meant",
            ("workloads", i, "framework", "version"),
        )  # fmt: skip
