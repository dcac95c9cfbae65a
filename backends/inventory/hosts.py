"""Hosts that were looked at by SSH, as what a draft is made of: processes of one unit or job, else of one program and user, are one workload."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from backends.inventory.around import Cloud, Growth, Schedule
from backends.inventory.containers import Container, container_text, framework_of_container
from backends.inventory.cron import Rhythm
from backends.inventory.environment import environment_text
from backends.inventory.look import HostSeen, Process
from backends.inventory.seen import Legacy, Node, Told, Work
from backends.inventory.written import card_name, class_by_words, duration, plan_name, quoted, size

_FRAMEWORKS = (("torch", "pytorch"), ("tensorflow", "tensorflow"), ("jax", "jax"))
_GB = 1e9


@dataclass(frozen=True, slots=True)
class _Group:
    """Processes that are one workload, on one host or several."""

    name: str
    processes: tuple[tuple[str, Process], ...]  # host, process
    containers: tuple[tuple[str, Container], ...] = ()  # host, container that some of them run in

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(host for host, _ in self.processes))

    @property
    def gpus(self) -> int:
        """How many, over all its hosts; 0 where no tool says which."""
        return len({(host, index) for host, p in self.processes for index in p.gpus})


def legacy_of_hosts(seen: Sequence[HostSeen]) -> Legacy:
    by_name = {one.host.name: one for one in seen}
    clouds = [one.around.cloud for one in seen if one.around is not None]
    providers, regions = {cloud.provider for cloud in clouds}, {cloud.region for cloud in clouds}
    is_one = len(clouds) == len(seen)
    told = f"seen: the metadata service of {'each of its hosts' if len(seen) > 1 else 'its host'}"
    provider, region = "".join(providers) if len(providers) == 1 else "", "".join(regions) if len(regions) == 1 else ""
    return Legacy(
        asked="HOST…",
        provider=Told(quoted(provider), told) if provider and is_one else None,
        region=Told(quoted(region), told) if region and is_one else None,
        entries=tuple(_entries(seen)),
        heads=tuple(_heads(seen)),
        nodes=tuple(_node(one) for one in seen),
        works=tuple(_work(group, by_name) for group in _groups(seen)),
        stores=tuple(_stores(seen)),
        nothing="no process with a GPU was seen in this one look",
    )


def _groups(seen: Sequence[HostSeen]) -> list[_Group]:
    groups: dict[str, list[tuple[str, Process, Container | None]]] = {}
    for host in seen:
        known = {one.id: one for one in host.running.containers}
        for process in host.processes:
            within = known.get(process.container or "")
            groups.setdefault(_label(process, within), []).append((host.host.name, process, within))
    return [
        _Group(
            plan_name(label),
            tuple((host_name, process) for host_name, process, _ in members),
            tuple(
                {(host_name, within.id): (host_name, within) for host_name, _, within in members if within is not None}.values()
            ),
        )
        for label, members in groups.items()
    ]


def _class(group: _Group) -> Told:
    text = " ".join(f"{p.program} {p.script or ''} {p.job or ''}" for _, p in group.processes)
    if (found := class_by_words(text)) is not None:
        return Told(found[0], f"inferred: `{found[1]}` in its command")
    ports = sorted({port for _, p in group.processes for port in p.ports})
    if ports:
        return Told("realtime", f"inferred: it listens on {', '.join(map(str, ports[:4]))}")
    return Told("batch", "not known: nothing in its command says; realtime, batch, training or pipeline")


def _node(seen: HostSeen) -> Node:
    host = seen.host
    view = seen.view
    host_cloud = seen.around.cloud if seen.around is not None else Cloud()
    names = sorted({g.name for g in view.gpus}) if view is not None else []
    gpus = None
    if view is not None and names:
        told = f"seen: {len(view.gpus)} x {', '.join(names)}, driver {view.driver or 'unknown'}, CUDA {view.cuda or 'unknown'}"
        gpus = Told(f"{{type: {quoted(card_name(names[0]))}, count: {len(view.gpus)}}}", told)
    return Node(
        name=host.name,
        address=host.address,
        user=host.user,
        port=host.port,
        gpus=gpus,
        spot=Told("true", f"seen: the metadata service ({host_cloud.by})") if host_cloud.is_spot else None,
        region=Told(quoted(host_cloud.region), "seen: the metadata service") if host_cloud.region else None,
        heads=(f"{host.name}: {seen.error}",) if seen.error else (),
        notes=tuple(_host_notes(seen, names)),
    )


def _host_notes(seen: HostSeen, names: Sequence[str]) -> Iterator[str]:
    if len(names) > 1:
        yield "different GPUs in one host: the plan has one type a host"
    if seen.view is not None and not names:
        yield f"no GPU seen: {seen.view.error or 'no tool there tells of any'}"
    if (facts := seen.facts) is not None:
        memory = f"{facts.memory / 2**30:.0f} GiB" if facts.memory else "memory unknown"
        yield f"{facts.os or 'system unknown'}, {facts.machine or '?'}, {facts.cpus or '?'} cores, {memory}"
        for package in facts.packages:
            if package.name in ("torch", "tensorflow", "jax", "vllm"):
                built = f" for CUDA {package.cuda}" if package.cuda else ""
                yield f"{package.name} {package.version}{built} in {package.folder}"
    if seen.around is not None:
        yield from _of_cloud(seen.around.cloud)
        if seen.around.own_names:
            yield f"DNS name: {', '.join(seen.around.own_names)} (hostname -f)"
        for port, told in seen.around.certificates:
            yield f"names in the certificate on port {port}: {', '.join(told) or 'none'}"
    yield from (container_text(one) for one in seen.running.containers)
    yield from (f"containers: {told}: not told" for told in seen.running.untold)
    yield from seen.notes
    if seen.unread:
        yield f"{seen.unread} processes belong to others: look as root, or as who runs the work, to see all"


def _of_cloud(cloud: Cloud) -> Iterator[str]:
    if cloud.machine:
        yield f"{cloud.provider}, {cloud.machine} (its metadata service)"
    if cloud.is_spot is None:
        yield f"spot: not known: {cloud.error or 'the metadata service does not say'}"
    elif not cloud.is_spot:
        yield f"spot: not one, by its metadata service ({cloud.by})"


def _heads(seen: Sequence[HostSeen]) -> Iterator[str]:
    """What is scheduled and does not run now: whether it needs a GPU is not to be seen."""
    for host in seen:
        for one in host.around.schedules if host.around is not None else ():
            if not any(_is_started_by(one, process) for process in host.processes):
                how = f" ({_rhythm(one.rhythm)})" if one.rhythm is not None else ""
                yield f"scheduled on {host.host.name}: {one.what}, {one.schedule}{how}, {one.source}; it holds no GPU now, whether it takes one is not known"


def _rhythm(rhythm: Rhythm) -> str:
    if rhythm.least == rhythm.most:
        return f"each {duration(rhythm.most)}"
    return f"{duration(rhythm.least)} to {duration(rhythm.most)} between two"


def _is_started_by(schedule: Schedule, process: Process) -> bool:
    """A unit by its name, a script by its path."""
    if process.job is not None and process.job == f"unit {schedule.what}":
        return True
    return schedule.what.startswith("/") and schedule.what == process.script


def _entries(seen: Sequence[HostSeen]) -> Iterator[str]:
    """Names that the hosts know of other machines."""
    found: dict[str, list[str]] = {}
    for host in seen:
        for line in host.around.host_lines if host.around is not None else ():
            found.setdefault(line, []).append(host.host.name)
    for line, names in found.items():
        yield f"/etc/hosts of {', '.join(names)}: {line}"


def _stores(seen: Sequence[HostSeen]) -> Iterator[Told]:
    found: dict[str, str] = {}
    for host in seen:
        for process in host.processes:
            for url in process.stores:
                found.setdefault(url + "/", f"seen: in the command or the environment of {_what(process)} on {host.host.name}")
        for mount in host.mounts:
            told = f"{mount.used / _GB:.1f} GB used of {mount.size / _GB:.1f} GB"
            grown = _growth(host.growth.get(mount.path))
            url = f"ssh://{host.host.name}{mount.path}/"
            found.setdefault(url, f"seen: {mount.kind} mounted on {host.host.name}, {told}; {grown}")
    for url, source in found.items():
        yield Told(url, source)


def _growth(told: Growth | None) -> str:
    """What was overwritten counts as new, so that growth is at most this; of a part of the files it says nothing of the rest."""
    if told is None:
        return "growth: not looked at"
    a_day = size(told.recent / told.days) if told.recent else "0 MB"
    if not told.is_all:
        return f"growth: of the first {told.files} files {a_day} a day was written in the last {told.days} days, the rest was not looked at"
    return f"growth: at most {a_day} a day, by what was written in {told.files} files in the last {told.days} days"


def _work(group: _Group, hosts: dict[str, HostSeen]) -> Work:
    seen = ", ".join(dict.fromkeys(_what(p) for _, p in group.processes))
    framework, missing = _framework(group, hosts)
    kind = _class(group)
    gpus = None
    if group.gpus:
        most, told = _memory(group, hosts)
        memory = f", memory_gb: {most / _GB:.1f}" if most is not None else ""
        gpus = Told(f"{{count: {group.gpus}{memory}}}", f"seen: GPUs {_indices(group)}; memory: {told}")
    return Work(
        name=group.name,
        source=f"seen: {seen}, user {group.processes[0][1].user}",
        kind=kind,
        gpus=gpus,
        fields=((("framework", framework),) if framework is not None else ()) + tuple(_times(group, hosts, kind.value)),
        hosts=group.hosts,
        notes=(*missing, *_notes(group, hosts)),
    )


def _memory(group: _Group, hosts: dict[str, HostSeen]) -> tuple[int | None, str]:
    """Bytes of the fullest GPU, and what they are: a peak only where it is one of all that hold GPUs."""
    holding = [p for _, p in group.processes if p.gpus]
    peaks = [p.peak for p in holding if p.peak is not None]
    if peaks and len(peaks) == len(holding):
        return max(peaks), "the most that one of its processes has held on a GPU since it began, by the driver's accounting"
    seen = [n for p in holding for n in (p.memory, p.peak) if n is not None]
    if not seen:
        return None, "not told by the GPU's tool"
    is_off = any(hosts[name].has_accounts is False for name, _ in group.processes)
    cure = "; `nvidia-smi -am 1` (root) keeps peaks of what starts after it" if is_off else ""
    return max(seen), f"what the fullest GPU held in this one look, no peak{cure}"


def _times(group: _Group, hosts: dict[str, HostSeen], kind: str) -> Iterator[tuple[str, Told]]:
    """What is a run's so far, where it is one that ends, and how often it is started."""
    every = dict(_every(group, hosts))
    found = _so_far(group, hosts)
    if found is not None and kind != "realtime" and ("every" not in every or found[0] * 3600 <= every["every"][0]):
        yield "duration", Told(duration(found[0] * 3600), f"seen: {found[1]} by now; it is not over: at least this")
    yield from ((name, told) for name, (_, told) in every.items())


def _so_far(group: _Group, hosts: dict[str, HostSeen]) -> tuple[float, str] | None:
    """The most hours that one of its processes or its unit has run, and which told."""
    found = [
        (p.hours, f"its process {p.pid} on {name} has run for that long (/proc)")
        for name, p in group.processes
        if p.hours is not None
    ]
    for name, process in group.processes:
        hours = (hosts[name].running.units or {}).get(process.unit)
        if hours is not None:
            found.append((hours, f"its unit {process.unit} on {name} has been active for that long (systemctl show)"))
    return max(found, default=None)


def _every(group: _Group, hosts: dict[str, HostSeen]) -> Iterator[tuple[str, tuple[float, Told]]]:
    """Seconds, where cron or a timer starts one of its processes."""
    for name, process in group.processes:
        around = hosts[name].around
        for one in around.schedules if around is not None else ():
            if one.rhythm is not None and _is_started_by(one, process):
                how = _rhythm(one.rhythm)
                told = Told(duration(one.rhythm.most), f"seen: {one.schedule}, {how} ({one.source} on {name})")
                yield "every", (one.rhythm.most, told)
                return


def _notes(group: _Group, hosts: dict[str, HostSeen]) -> Iterator[str]:
    if not group.gpus:
        yield "gpus: it holds one, and no tool says which"
    units = {p.unit for _, p in group.processes if p.unit}
    if len(units) == 1:
        yield f"quiesce: {{systemd: {quoted(units.pop())}}}  # inferred: the unit of its process; where it writes, this stops it"
    ports = sorted({port for _, p in group.processes for port in p.ports})
    if ports:
        yield f"endpoints: it listens on {', '.join(map(str, ports))}"
    variables = {name: p.hashes.get(name, "") for _, p in group.processes for name in p.environment}
    if variables:
        yield f"environment, names only: {environment_text(variables, 200)}"
    elif not all(p.has_environment for _, p in group.processes):
        yield "environment: not ours to read"
    if (found := _so_far(group, hosts)) is not None:
        yield f"running for {duration(found[0] * 3600)}: {found[1]}"


def _framework(group: _Group, hosts: dict[str, HostSeen]) -> tuple[Told | None, tuple[str, ...]]:
    """Of a container the one of its image. Else only where all of its hosts have one version of one framework installed; anything else would be a
    guess, and a note says so."""
    if group.containers:
        return _of_containers(group)
    within = {name for name, p in group.processes if p.container is not None}
    if within:
        return None, (f"framework: it runs in a container that no tool on {', '.join(sorted(within))} tells of: say which",)
    found = {
        (ours, p.version.partition("+")[0], p.cuda, p.folder)
        for name in group.hosts
        if (facts := hosts[name].facts) is not None
        for p in facts.packages
        for package, ours in _FRAMEWORKS
        if p.name == package
    }
    if len({f[:3] for f in found}) != 1:
        return None, ("framework: " + ("several are installed" if found else "none seen outside of images") + ": say which",)
    ours, version, cuda, folder = sorted(found, key=str)[0]
    built = f", cuda: {quoted(cuda)}" if cuda else ""
    value = f"{{name: {ours}, version: {quoted(version)}{built}}}"
    return Told(value, f"inferred: the only one installed, {folder}"), ()


def _of_containers(group: _Group) -> tuple[Told | None, tuple[str, ...]]:
    """Where its containers run one image; of others a note."""
    images = {(one.digest or one.image, one.image) for _, one in group.containers}
    if len(images) > 1:
        return None, (f"framework: its containers run several images ({', '.join(sorted(i for _, i in images))}): say which",)
    host, one = group.containers[0]
    told = framework_of_container(one, host)
    if told is not None:
        return told, ()
    seen = ", ".join(f"{p.name} {p.version}" for p in one.packages) or "none of it may be read, and its name says none"
    return None, (f"framework: say which; image {one.image or 'without a name'}, seen in it: {seen}",)


def _label(process: Process, within: Container | None) -> str:
    if within is not None and within.name:
        return within.name
    if process.job is not None:
        return process.job.partition(" ")[2].removesuffix(".service") if process.job.startswith("unit ") else process.job
    return f"{process.script.rpartition('/')[2] if process.script else process.program}-{process.user}"


def _what(process: Process) -> str:
    job = f" ({process.job})" if process.job else ""
    return f"{process.program}{f' {process.script}' if process.script else ''}{job}"


def _indices(group: _Group) -> str:
    return "; ".join(
        f"{','.join(map(str, sorted({i for h, p in group.processes if h == host for i in p.gpus})))} of {host}"
        for host in group.hosts
    )
