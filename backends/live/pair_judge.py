"""Target's hosts against legacy's that do the same work: what a workload had and will miss. Pure.

A host of target is compared with all of legacy's that run the same workload, or with every one where no workload says so. Only what *all* of
them have counts as what the work is used to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from backends.listed import listed
from backends.live.facts import ABSENT, UNLIMITED, HostFacts
from backends.live.found import Found
from backends.live.host_judge import Seen, compared_with
from backends.live.interconnect import judge_joined
from backends.plan.models import Plan
from backends.plan.problems import Severity
from backends.snapshot import HostView

_LOWER_MATTERS = {
    "vm.max_map_count", "vm.nr_hugepages", "net.core.rmem_max", "net.core.wmem_max", "net.core.somaxconn",
    "fs.inotify.max_user_watches", "fs.aio-max-nr", "kernel.shmmax", "kernel.pid_max",
}  # fmt: skip
_SAME_MATTERS = {"vm.overcommit_memory"}
_SHOWN = 8


def judge_pairs(plan: Plan, seen: Sequence[Seen]) -> Iterator[Found]:
    """Each host of target that differs, each difference once."""
    for host in seen:
        if host.side != "target" or host.facts is None:
            continue
        before = [(s.facts, s.view) for s in compared_with(plan, host, seen) if s.facts is not None]
        if before:
            yield from _compare(host, host.facts, [f for f, _ in before], [v for _, v in before])
    yield from _mixed_drivers(plan, seen)


def _compare(host: Seen, facts: HostFacts, before: Sequence[HostFacts], views: Sequence[HostView]) -> Iterator[Found]:
    def found(severity: Severity, code: str, message: str, evidence: str, cure: str) -> Found:
        return Found(severity, code, message, evidence, cure, host.path, "target", host.host.name)

    yield from _system(facts, before, found)
    yield from judge_joined(facts.interconnect, [f.interconnect for f in before], found)
    yield from _sizes(facts, before, found)
    yield from _kernel(facts, before, found)
    yield from _software(facts, before, found)
    yield from _environment(facts, before, found)
    yield from _config(facts, before, found)
    yield from _gpu_settings(host.view, views, found)


Finding = Callable[[Severity, str, str, str, str], Found]


def _system(facts: HostFacts, before: Sequence[HostFacts], found: Finding) -> Iterator[Found]:
    machines = {f.machine for f in before}
    if facts.machine and None not in machines and facts.machine not in machines:
        told = f"{facts.machine}, legacy {_listed(machines)}"
        yield found(
            "error",
            "machine",
            "is another kind of machine: what was built for legacy does not run",
            told,
            "images and wheels for it",
        )
    libraries = [f.glibc for f in before if f.glibc is not None]
    if facts.glibc is not None and libraries and facts.glibc < min(libraries):
        told = f"glibc {_dots(facts.glibc)}, legacy {_dots(min(libraries))}"
        yield found(
            "warning",
            "glibc",
            "has an older C library than legacy: what was built there may not start",
            told,
            "a newer base, or images",
        )
    systems = {f.os for f in before}
    if facts.os and None not in systems and facts.os not in systems:
        yield found(
            "note", "os", "runs another system than legacy", f"{facts.os}, legacy {_listed(systems)}", "try every workload on it"
        )
    zones = {f.zone[0] for f in before if f.zone is not None}
    if facts.zone is not None and zones and facts.zone[0] not in zones:
        names = {f.zone[1] for f in before if f.zone is not None}
        yield found(
            "warning",
            "time_zone",
            "has another time zone than legacy",
            f"{facts.zone[1]}, legacy {_listed(names)}",
            "timedatectl set-timezone",
        )
    links = all(f.links for f in before)
    if links and not facts.links:
        told = f"none, legacy {', '.join(before[0].links[:_SHOWN])}"
        yield found(
            "warning",
            "interconnect",
            "has no InfiniBand or RoCE link, and legacy has",
            told,
            "instances with it, where work spans hosts",
        )


def _sizes(facts: HostFacts, before: Sequence[HostFacts], found: Finding) -> Iterator[Found]:
    shm = [f.shm for f in before if f.shm is not None]
    if facts.shm is not None and shm and facts.shm < 0.5 * min(shm):
        told = f"{_size(facts.shm)}, legacy {_size(min(shm))}"
        yield found(
            "warning",
            "shared_memory",
            "has a smaller /dev/shm than legacy: data loaders and NCCL use it",
            told,
            "mount -o remount,size=… /dev/shm",
        )
    memory = [f.memory for f in before if f.memory is not None]
    if facts.memory is not None and memory and facts.memory < 0.75 * min(memory):
        told = f"{_size(facts.memory)}, legacy {_size(min(memory))}"
        yield found(
            "warning", "memory", "has less memory than legacy", told, "a larger instance, or smaller caches and fewer workers"
        )
    cpus = [f.cpus for f in before if f.cpus is not None]
    if facts.cpus is not None and cpus and facts.cpus < 0.75 * min(cpus):
        yield found(
            "warning",
            "cpus",
            "has fewer cores than legacy",
            f"{facts.cpus}, legacy {min(cpus)}",
            "fewer data loaders, or a larger instance",
        )
    mounts = set.intersection(*(set(f.mounts) for f in before))
    lost = sorted(mounts - set(facts.mounts))
    if lost:
        yield found(
            "warning",
            "mount",
            "lacks file systems that legacy has mounted",
            ", ".join(lost[:_SHOWN]),
            "mount them, or take them out of the work",
        )


def _kernel(facts: HostFacts, before: Sequence[HostFacts], found: Finding) -> Iterator[Found]:
    lower = []
    for name, mine in facts.limits.items():
        theirs = [f.limits[name] for f in before if name in f.limits]
        if len(theirs) == len(before) and mine < min(theirs):
            lower.append(f"{name} {_count(mine)}, legacy {_count(min(theirs))}")
    if lower:
        yield found(
            "warning",
            "limits",
            "gives a session lower limits than legacy",
            "; ".join(lower),
            "/etc/security/limits.d, LimitNOFILE= and the like",
        )
    odd = []
    for name, mine in facts.settings.items():
        theirs = [f.settings[name] for f in before if name in f.settings]
        if len(theirs) != len(before):
            continue
        if (name in _LOWER_MATTERS and mine < min(theirs)) or (name in _SAME_MATTERS and mine not in theirs):
            odd.append(f"{name} {mine}, legacy {min(theirs)}")
    if odd:
        yield found(
            "warning", "kernel_settings", "has kernel settings that differ from legacy's", "; ".join(odd), "/etc/sysctl.d"
        )


def _software(facts: HostFacts, before: Sequence[HostFacts], found: Finding) -> Iterator[Found]:
    if not facts.runtimes and all(f.runtimes for f in before):
        told = f"none, legacy {', '.join(before[0].runtimes)}"
        yield found(
            "warning",
            "container_runtime",
            "has no container runtime, and legacy has",
            told,
            "install it, with NVIDIA's container toolkit",
        )
    elif facts.toolkit is False and all(f.toolkit for f in before):
        yield found(
            "warning",
            "container_toolkit",
            "lacks NVIDIA's container toolkit, which legacy has",
            "no nvidia-ctk",
            "install nvidia-container-toolkit",
        )
    mine = _versions(facts)
    for name in sorted(set.intersection(*(set(_versions(f)) for f in before))):
        theirs = set().union(*(_versions(f)[name] for f in before))
        if name not in mine:
            if mine:  # where nothing at all is installed, images carry it
                yield found(
                    "warning",
                    "package_missing",
                    f"lacks {name}, which legacy has installed",
                    f"legacy {_listed(theirs)}",
                    "install it",
                )
        elif not mine[name] & theirs:
            told = f"{_listed(mine[name])}, legacy {_listed(theirs)}"
            yield found(
                "warning",
                "package_differs",
                f"has another version of {name} than legacy",
                told,
                "the same version, or compare the results anew",
            )


def _environment(facts: HostFacts, before: Sequence[HostFacts], found: Finding) -> Iterator[Found]:
    common = set.intersection(*(set(f.environment) for f in before))
    lost = sorted(common - set(facts.environment))
    if lost:
        told = listed(lost, _SHOWN)
        yield found(
            "warning",
            "environment_missing",
            "lacks variables that every session on legacy has",
            told,
            "/etc/environment, or the unit's own",
        )
    same = {name for name in common if len({f.environment[name] for f in before}) == 1}
    other = sorted(name for name in same & set(facts.environment) if facts.environment[name] != before[0].environment[name])
    if other:
        told = listed(other, _SHOWN)
        yield found(
            "note",
            "environment_differs",
            "has other values of variables than legacy",
            told,
            "see that none still leads to legacy",
        )


def _config(facts: HostFacts, before: Sequence[HostFacts], found: Finding) -> Iterator[Found]:
    lost, other = [], []
    for path, mine in sorted(facts.files.items()):
        theirs = {f.files.get(path) for f in before}
        if theirs & {None, ABSENT}:
            continue  # not all of legacy have it, or it could not be read there
        if mine == ABSENT:
            lost.append(path)
        elif len(theirs) == 1 and mine not in theirs:
            other.append(path)
    if lost:
        told = listed(lost, _SHOWN)
        yield found(
            "warning", "config_missing", "lacks configuration files that legacy has", told, "cutover reconfigure writes target's"
        )
    if other:
        told = listed(other, _SHOWN)
        yield found("note", "config_differs", "has other configuration files than legacy", told, "see that it is meant so")


def _gpu_settings(view: HostView, before: Sequence[HostView], found: Finding) -> Iterator[Found]:
    def settings(name: str, of: HostView) -> set[object]:
        return {getattr(g.detail, name) for g in of.gpus if g.detail is not None and getattr(g.detail, name) is not None}

    for name, words in (("ecc", "error correction (ECC)"), ("mig_mode", "MIG mode"), ("compute_mode", "the compute mode")):
        mine, theirs = settings(name, view), set().union(*(settings(name, v) for v in before))
        if mine and theirs and not mine & theirs:
            told = f"{_listed(mine)}, legacy {_listed(theirs)}"
            yield found(
                "warning",
                f"gpu_{name}",
                f"has {words} of its GPUs set otherwise than legacy",
                told,
                "nvidia-smi sets it; ECC and MIG want a reset",
            )


def _mixed_drivers(plan: Plan, seen: Sequence[Seen]) -> Iterator[Found]:
    """Within one workload: a collective over different drivers fails late."""
    for i, workload in enumerate(plan.workloads):
        hosts = [s for s in seen if s.side == "target" and s.host.name in workload.runs_on.target]
        drivers: dict[str, list[str]] = {}
        for host in hosts:
            if host.view.driver:
                drivers.setdefault(host.view.driver, []).append(host.host.name)
        if len(drivers) > 1:
            told = "; ".join(f"{d} on {', '.join(names[:3])}" for d, names in sorted(drivers.items()))
            message = f"the hosts of {workload.name} have different drivers"
            yield Found(
                "warning",
                "drivers_mixed",
                message,
                told,
                "one driver for all of them",
                ("workloads", i, "runs_on", "target"),
                "target",
            )


def _versions(facts: HostFacts) -> dict[str, set[str]]:
    out: dict[str, set[str]] = {}
    for package in facts.packages:
        out.setdefault(package.name, set()).add(package.version)
    return out


def _listed(values: set[str | None] | set[object] | set[str]) -> str:
    return ", ".join(sorted(str(v) for v in values))


def _dots(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _size(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def _count(limit: int) -> str:
    return "unlimited" if limit >= UNLIMITED else str(limit)
