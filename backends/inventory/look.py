"""Hosts of legacy asked what they are and what works on them (`backends.probes.agent.work`), parsed and never trusted."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from backends.errors import CutoverError
from backends.escape import plain
from backends.inventory.around import TLS_PORTS, Around, Growth, parse_around, parse_growth
from backends.inventory.containers import Running, parse_running
from backends.inventory.untyped import part
from backends.live.facts import HostFacts, NoFacts, ask_facts
from backends.probes.agent_link import BOOT, program
from backends.probes.once import probe_hosts
from backends.snapshot import HostView
from backends.ssh.models import SshHost
from backends.ssh.pool import SshPool

LIMIT = 40.0
MOST = 200
MOST_MEASURED = 8  # folders whose growth is looked at: a few seconds each


@dataclass(frozen=True, slots=True)
class Process:
    """One that holds a GPU. `gpus` are indices and `memory` bytes on the fullest of them, as the GPU's own tool says, `peak` the most that it
    ever held on one, where its driver keeps accounts; `hours` since it began."""

    pid: int
    user: str
    program: str
    script: str | None
    job: str | None
    hours: float | None
    environment: tuple[str, ...]
    has_environment: bool
    stores: tuple[str, ...]
    hashes: Mapping[str, str]  # of what is secret-like in its environment, by name
    ports: tuple[int, ...]
    container: str | None = None  # its id
    gpus: tuple[int, ...] = ()
    memory: int | None = None
    peak: int | None = None

    @property
    def unit(self) -> str:
        """The unit that starts and stops it; empty where none does, or a container's runtime lies between."""
        is_unit = self.job is not None and self.job.startswith("unit ") and self.container is None
        return (self.job or "").removeprefix("unit ") if is_unit else ""


@dataclass(frozen=True, slots=True)
class Mount:
    path: str
    kind: str
    size: int
    used: int


@dataclass(frozen=True, slots=True)
class HostSeen:
    """`unread` counts processes of others that we may not look into; `error` says what could not be asked; `has_accounts`: do the drivers of
    all GPUs keep the peaks of processes (None: not told)?"""

    host: SshHost
    view: HostView | None
    facts: HostFacts | None
    processes: tuple[Process, ...] = ()
    mounts: tuple[Mount, ...] = ()
    unread: int = 0
    error: str = ""
    around: Around | None = None
    running: Running = field(default_factory=Running)
    growth: Mapping[str, Growth] = field(default_factory=dict)
    has_accounts: bool | None = None
    notes: tuple[str, ...] = ()


async def look_at(pool: SshPool, hosts: Sequence[SshHost]) -> list[HostSeen]:
    """All at once, in the order given; a host's trouble is in its `error`."""
    key = secrets.token_bytes(16)
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_look(pool, host, key), name=f"inventory of {host.name}") for host in hosts]
    return [task.result() for task in tasks]


async def _look(pool: SshPool, host: SshHost, key: bytes) -> HostSeen:
    try:
        await pool.connect(host.name)
    except CutoverError as error:
        return HostSeen(host, None, None, error=error.message)
    [view] = await probe_hosts(pool, [("legacy", host)])
    held = _held(view)
    try:
        facts = await ask_facts(pool, host.name, secrets.token_bytes(16))
        value = await _ask(pool, host.name, "work", {"pids": list(held)}, key.hex().encode() + b"\n")
    except CutoverError as error:
        return HostSeen(host, view, None, error=error.message)
    seen = HostSeen(host, view, facts, *parse_work(value, held))
    return replace(seen, **await _surroundings(pool, seen), **await _peaks(pool, seen))


async def _peaks(pool: SshPool, seen: HostSeen) -> dict[str, Any]:
    """The processes with their peaks. Not told is no error: most drivers keep none."""
    held = [p.pid for p in seen.processes if p.gpus]
    if not held:
        return {}
    try:
        told = await _ask(pool, seen.host.name, "peaks", {"pids": held}, needs=("nvml",))
    except CutoverError:
        return {}
    return with_peaks(seen.processes, told)


def with_peaks(processes: Sequence[Process], told: dict[str, Any]) -> dict[str, Any]:
    """`processes` with what the host told, and `has_accounts`; what does not fit is left out."""
    peaks: dict[int, int] = {}
    for one in _list(told.get("peaks")):
        if isinstance(one, list) and len(one) == 3 and all(isinstance(n, int) and n >= 0 for n in one):
            peaks[one[0]] = max(one[2], peaks.get(one[0], 0))
    kept = [one for one in _list(told.get("kept")) if isinstance(one, bool)]
    with_them = tuple(replace(p, peak=peaks[p.pid]) if p.pid in peaks else p for p in processes)
    return {"processes": with_them, "has_accounts": all(kept) if kept else None}


async def _surroundings(pool: SshPool, seen: HostSeen) -> dict[str, Any]:
    """What is not told of these is no error of the host, and noted."""
    out: dict[str, Any] = {}
    notes = []
    try:
        out["around"] = parse_around(await _ask(pool, seen.host.name, "around", {"tls_ports": list(TLS_PORTS)}))
    except CutoverError as error:
        notes.append(f"cloud, schedules and names: not told: {error.message}")
    try:
        units = sorted({p.unit for p in seen.processes if p.unit})
        wanted = sorted({p.container for p in seen.processes if p.container is not None})
        told = await _ask(pool, seen.host.name, "running", {"wanted": wanted, "units": units}, needs=("packages",))
        out["running"] = parse_running(told)
    except CutoverError as error:
        notes.append(f"containers and their images: not told: {error.message}")
    try:
        paths = [mount.path for mount in seen.mounts][:MOST_MEASURED]
        value = await _ask(pool, seen.host.name, "growth", {"paths": paths}) if paths else {}
        out["growth"] = parse_growth(value)
    except CutoverError as error:
        notes.append(f"growth of mounted data: not told: {error.message}")
    return out | {"notes": tuple(notes)}


async def _ask(
    pool: SshPool, host: str, what: str, asked: dict[str, Any], more: bytes = b"", needs: tuple[str, ...] = ()
) -> dict[str, Any]:
    """What the program `what` prints there, with the parts that it needs. Raises `NoFacts`, and what the connection raises."""
    argv = ["python3", "-BISuc", BOOT, json.dumps(asked)]
    result = await pool.run(host, argv, input=program("host", *needs, what) + more, timeout=LIMIT)
    for line in result.stdout.splitlines():
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue  # a banner
        if isinstance(value, dict) and value.get("cutover") == what:
            return value
    said = plain(result.stderr.strip()[-200:], 200)
    raise NoFacts(f"it does not tell what works there ({what}): {said or f'ended with {result.exit_status}'}")


def _held(view: HostView) -> dict[int, list[tuple[int, int | None]]]:
    """By process: each GPU it holds, and the memory there."""
    out: dict[int, list[tuple[int, int | None]]] = {}
    for gpu in view.gpus:
        for process in (gpu.detail.processes if gpu.detail is not None else None) or ():
            out.setdefault(process.pid, []).append((gpu.index, process.memory))
    return out


def parse_work(
    value: dict[str, Any], held: dict[int, list[tuple[int, int | None]]]
) -> tuple[tuple[Process, ...], tuple[Mount, ...], int]:
    """From what the host printed; what does not fit is left out."""
    processes = [p for one in _list(value.get("processes")) if isinstance(one, dict) and (p := _process(one, held)) is not None]
    mounts = [m for one in _list(value.get("mounts")) if (m := _mount(one)) is not None]
    unread = value.get("unread")
    return tuple(processes), tuple(mounts), unread if isinstance(unread, int) and unread > 0 else 0


def _process(one: dict[str, Any], held: dict[int, list[tuple[int, int | None]]]) -> Process | None:
    pid, name, hours = one.get("pid"), one.get("program"), one.get("hours")
    if not isinstance(pid, int) or not isinstance(name, str) or not name:
        return None
    mine, container = held.get(pid, []), one.get("container")
    return Process(
        pid=pid,
        user=plain(str(one.get("user") or "?"), 60),
        program=plain(name, 60),
        script=_text(one.get("script"), 200),
        job=_text(one.get("job"), 100),
        hours=float(hours) if isinstance(hours, (int, float)) and 0 <= hours < 1e6 else None,
        environment=_texts(one.get("environment"), 80),
        has_environment=one.get("has_environment") is True,
        stores=_texts(one.get("stores"), 220),
        hashes={k: v for k, v in part(one, "hashes").items() if isinstance(v, str) and re.fullmatch(r"[0-9a-f]{1,64}", v)},
        ports=tuple(p for p in _list(one.get("ports")) if isinstance(p, int) and 0 < p < 65536),
        container=container if isinstance(container, str) and re.fullmatch(r"[0-9a-f]{64}", container) else None,
        gpus=tuple(sorted({index for index, _ in mine})),
        memory=max((m for _, m in mine if m is not None), default=None),
    )


def _mount(one: Any) -> Mount | None:
    if not isinstance(one, list) or len(one) != 4 or not all(isinstance(n, int) and n >= 0 for n in one[2:]):
        return None
    return Mount(plain(str(one[0]), 200), plain(str(one[1]), 40), one[2], one[3])


def _list(value: Any) -> list[Any]:
    return value[:MOST] if isinstance(value, list) else []


def _texts(value: Any, most: int) -> tuple[str, ...]:
    return tuple(plain(text, most) for text in _list(value) if isinstance(text, str))


def _text(value: Any, most: int) -> str | None:
    return plain(value, most) if isinstance(value, str) and value else None
