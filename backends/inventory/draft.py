"""The draft: a plan that `check` reads, every inferred field with a comment that says from what. What one look cannot show is asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from backends.catalog.errors import UnknownGpu
from backends.catalog.tables import find_gpu
from backends.escape import plain
from backends.inventory.look import HostSeen, Process

_SERVES = ("vllm", "tritonserver", "text-generation", "sglang", "uvicorn", "gunicorn", "torchserve", "ollama", "llama-server")
_TRAINS = ("torchrun", "torch.distributed", "deepspeed", "accelerate", "train", "megatron", "horovod")
_PIPELINES = ("airflow", "prefect", "dagster", "kubeflow", "luigi")
_FRAMEWORKS = (("torch", "pytorch"), ("tensorflow", "tensorflow"), ("jax", "jax"))
_GB = 1e9


@dataclass(frozen=True, slots=True)
class Work:
    """Processes that are one workload: of one unit or job, else of one program and user; on one host or several."""

    name: str
    processes: tuple[tuple[str, Process], ...]  # host, process

    @property
    def hosts(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(host for host, _ in self.processes))

    @property
    def gpus(self) -> int:
        """How many, over all its hosts; 0 where no tool says which."""
        return len({(host, index) for host, p in self.processes for index in p.gpus})


def work_of(seen: Sequence[HostSeen]) -> list[Work]:
    """What runs, grouped."""
    groups: dict[str, list[tuple[str, Process]]] = {}
    for host in seen:
        for process in host.processes:
            groups.setdefault(_label(process), []).append((host.host.name, process))
    names: dict[str, int] = {}
    out = []
    for label, processes in groups.items():
        name = _name(label)
        names[name] = names.get(name, 0) + 1
        out.append(Work(name if names[name] == 1 else f"{name[:58]}-{names[name]}", tuple(processes)))
    return out


def class_of(work: Work) -> tuple[str, str]:
    """The class, and from what."""
    text = " ".join(f"{p.program} {p.script or ''} {p.job or ''}".lower() for _, p in work.processes)
    for kind, words in (("realtime", _SERVES), ("training", _TRAINS), ("pipeline", _PIPELINES)):
        word = next((w for w in words if w in text), None)
        if word is not None:
            return kind, f"inferred: `{word}` in its command"
    ports = sorted({port for _, p in work.processes for port in p.ports})
    if ports:
        return "realtime", f"inferred: it listens on {', '.join(map(str, ports[:4]))}"
    return "batch", "not known: nothing in its command says; realtime, batch, training or pipeline"


def draft(seen: Sequence[HostSeen], *, name: str, provider: str | None) -> str:
    """The plan's text. Foreign text is quoted, or escaped in comments."""
    return "\n".join(_lines(seen, name, provider)) + "\n"


def _lines(seen: Sequence[HostSeen], name: str, provider: str | None) -> Iterator[str]:
    yield "# A draft from `cutover inventory`: each inferred field says from what. Go through it, then cutover check."
    yield "version: 1"
    yield f"name: {name}"
    yield "legacy:"
    yield f"  provider: {_quoted(provider or 'unknown')}" + ("" if provider else "  # not known: no host tells")
    yield "  hosts:"
    for host in seen:
        yield from _host(host)
    yield "target:"
    yield "  provider: unknown  # not known: where it goes"
    yield from _stores(seen)
    work = work_of(seen)
    if work:
        yield "workloads:"
    for one in work:
        yield from _workload(one, {s.host.name: s for s in seen})
    if not work:
        yield "# workloads: no process with a GPU was seen in this one look"
    yield "# routes: how clients come to the endpoints above is not seen from the hosts"


def _host(seen: HostSeen) -> Iterator[str]:
    host = seen.host
    if seen.error:
        yield f"    # {plain(host.name, 80)}: {plain(seen.error, 300)}"
    yield f"    - name: {_quoted(host.name)}"
    yield f"      address: {_quoted(host.address)}"
    if host.user:
        yield f"      user: {_quoted(host.user)}"
    if host.port:
        yield f"      port: {host.port}"
    view, facts = seen.view, seen.facts
    if view is not None and view.gpus:
        names = sorted({g.name for g in view.gpus})
        told = f"seen: {len(view.gpus)} x {plain(', '.join(names), 120)}, driver {view.driver or 'unknown'}, CUDA {view.cuda or 'unknown'}"
        yield f"      gpus: {{type: {_quoted(_card(names[0]))}, count: {len(view.gpus)}}}  # {told}"
        if len(names) > 1:
            yield "      # different GPUs in one host: the plan has one type a host"
    elif view is not None:
        yield f"      # no GPU seen: {plain(view.error or 'no tool there tells of any', 200)}"
    if facts is not None:
        memory = f"{facts.memory / 2**30:.0f} GiB" if facts.memory else "memory unknown"
        yield f"      # {facts.os or 'system unknown'}, {facts.machine or '?'}, {facts.cpus or '?'} cores, {memory}"
        for package in facts.packages:
            if package.name in ("torch", "tensorflow", "jax", "vllm"):
                built = f" for CUDA {package.cuda}" if package.cuda else ""
                yield f"      # {package.name} {package.version}{built} in {package.folder}"
    if seen.unread:
        yield f"      # {seen.unread} processes belong to others: look as root, or as who runs the work, to see all"


def _stores(seen: Sequence[HostSeen]) -> Iterator[str]:
    found: dict[str, str] = {}
    for host in seen:
        for process in host.processes:
            for url in process.stores:
                found.setdefault(url + "/", f"seen: in the command or the environment of {_what(process)} on {host.host.name}")
        for mount in host.mounts:
            size = f"{mount.used / _GB:.1f} GB used of {mount.size / _GB:.1f} GB"
            found.setdefault(f"ssh://{host.host.name}{mount.path}/", f"seen: {mount.kind} mounted on {host.host.name}, {size}")
    if not found:
        yield "# stores: no mounted data and no bucket was seen"
        return
    yield "stores:"
    named: dict[str, int] = {}
    for url, told in found.items():
        name = _name(url.partition("://")[2].strip("/").replace("/", "-"))
        named[name] = named.get(name, 0) + 1
        is_first = named[name] == 1
        yield f"  {_quoted(name if is_first else f'{name[:58]}-{named[name]}')}: {{url: {_quoted(url)}}}  # {plain(told, 300)}"
    yield "# datasets: which of these move, and to which store of target: {name: …, from: one of the above, to: …}"
    yield "# how they grow is not seen in one look"


def _workload(work: Work, hosts: dict[str, HostSeen]) -> Iterator[str]:
    kind, why = class_of(work)
    first = work.processes[0][1]
    seen = ", ".join(dict.fromkeys(_what(p) for _, p in work.processes))
    yield f"  - name: {_quoted(work.name)}  # seen: {plain(seen, 200)}, user {first.user}"
    yield f"    class: {kind}  # {plain(why, 200)}"
    peaks = [p.memory for _, p in work.processes if p.memory is not None]
    if work.gpus:
        memory = f", memory_gb: {max(peaks) / _GB:.1f}" if peaks else ""
        told = "memory: what the fullest GPU held in this one look, no peak" if peaks else "memory: not told by the GPU's tool"
        yield f"    gpus: {{count: {work.gpus}{memory}}}  # seen: GPUs {_indices(work)}; {told}"
    else:
        yield "    # gpus: it holds one, and no tool says which"
    yield from _framework([hosts[name] for name in work.hosts])
    yield f"    runs_on: {{legacy: [{', '.join(_quoted(h) for h in work.hosts)}]}}"
    units = {p.job[5:] for _, p in work.processes if p.job is not None and p.job.startswith("unit ")}
    if len(units) == 1:
        yield f"    # quiesce: {{systemd: {_quoted(units.pop())}}}  # inferred: the unit of its process; where it writes, this stops it"
    ports = sorted({port for _, p in work.processes for port in p.ports})
    if ports:
        yield f"    # endpoints: it listens on {', '.join(map(str, ports))}"
    names = sorted({name for _, p in work.processes for name in p.environment})
    if names:
        yield f"    # environment, names only: {plain(', '.join(names), 1500)}"
    elif not all(p.has_environment for _, p in work.processes):
        yield "    # environment: not ours to read"
    hours = [p.hours for _, p in work.processes if p.hours is not None]
    running = f"running for {max(hours):.1f} h; " if hours else ""
    yield f"    # {running}how long and how often it runs, compliance and locality: not seen in one look"


def _framework(hosts: Sequence[HostSeen]) -> Iterator[str]:
    """Only where all of its hosts have one version of one framework installed; else it would be a guess."""
    found = {
        (ours, p.version.partition("+")[0], p.cuda, p.folder)
        for host in hosts
        if host.facts is not None
        for p in host.facts.packages
        for name, ours in _FRAMEWORKS
        if p.name == name
    }
    if len({f[:3] for f in found}) != 1:
        yield "    # framework: " + ("several are installed" if found else "none seen outside of images") + ": say which"
        return
    ours, version, cuda, folder = sorted(found, key=str)[0]
    built = f', cuda: "{cuda}"' if cuda else ""
    yield f"    framework: {{name: {ours}, version: {_quoted(version)}{built}}}  # inferred: the only one installed, {plain(folder, 200)}"


def _label(process: Process) -> str:
    if process.job is not None:
        return process.job.partition(" ")[2].removesuffix(".service") if process.job.startswith("unit ") else process.job
    return f"{process.script.rpartition('/')[2] if process.script else process.program}-{process.user}"


def _what(process: Process) -> str:
    job = f" ({process.job})" if process.job else ""
    return f"{process.program}{f' {process.script}' if process.script else ''}{job}"


def _indices(work: Work) -> str:
    return "; ".join(
        f"{','.join(map(str, sorted({i for h, p in work.processes if h == host for i in p.gpus})))} of {host}"
        for host in work.hosts
    )


def _card(name: str) -> str:
    """The catalogue's name where it knows the card, else as its tool calls it."""
    try:
        return find_gpu(name).name
    except UnknownGpu:
        return plain(name, 80)


def _name(text: str) -> str:
    """What the plan takes for a name."""
    kept = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")[:64]
    return kept or "unnamed"


def _quoted(text: str) -> str:
    """As YAML reads it: bare where it is plainly a word, else a JSON string, which YAML reads too."""
    return (
        text
        if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]*", text) and text.lower() not in ("true", "false", "null")
        else json.dumps(text)
    )
