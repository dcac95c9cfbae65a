"""Hosts of legacy asked what they are and what works on them (`backends.probes.agent.work`), parsed and never trusted."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from backends.errors import CutoverError
from backends.escape import plain
from backends.live.facts import HostFacts, ask_facts
from backends.probes.agent_link import BOOT, program
from backends.probes.once import probe_hosts
from backends.snapshot import HostView
from backends.ssh.models import SshHost
from backends.ssh.pool import SshPool

LIMIT = 40.0
MOST = 200


@dataclass(frozen=True, slots=True)
class Process:
    """One that holds a GPU. `gpus` are indices and `memory` bytes on the fullest of them, as the GPU's own tool says; `hours` since it began."""

    pid: int
    user: str
    program: str
    script: str | None
    job: str | None
    hours: float | None
    environment: tuple[str, ...]
    has_environment: bool
    stores: tuple[str, ...]
    ports: tuple[int, ...]
    gpus: tuple[int, ...] = ()
    memory: int | None = None


@dataclass(frozen=True, slots=True)
class Mount:
    path: str
    kind: str
    size: int
    used: int


@dataclass(frozen=True, slots=True)
class HostSeen:
    """`unread` counts processes of others that we may not look into; `error` says what could not be asked."""

    host: SshHost
    view: HostView | None
    facts: HostFacts | None
    processes: tuple[Process, ...] = ()
    mounts: tuple[Mount, ...] = ()
    unread: int = 0
    error: str = ""


async def look_at(pool: SshPool, hosts: Sequence[SshHost]) -> list[HostSeen]:
    """All at once, in the order given; a host's trouble is in its `error`."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_look(pool, host), name=f"inventory of {host.name}") for host in hosts]
    return [task.result() for task in tasks]


async def _look(pool: SshPool, host: SshHost) -> HostSeen:
    try:
        await pool.connect(host.name)
    except CutoverError as error:
        return HostSeen(host, None, None, error=error.message)
    [view] = await probe_hosts(pool, [("legacy", host)])
    held = _held(view)
    try:
        facts = await ask_facts(pool, host.name, secrets.token_bytes(16))
        asked = json.dumps({"pids": list(held)})
        result = await pool.run(host.name, ["python3", "-BISuc", BOOT, asked], input=program("host", "work"), timeout=LIMIT)
    except CutoverError as error:
        return HostSeen(host, view, None, error=error.message)
    for line in result.stdout.splitlines():
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue  # a banner
        if isinstance(value, dict) and value.get("cutover") == "work":
            return HostSeen(host, view, facts, *parse_work(value, held))
    said = plain(result.stderr.strip()[-200:], 200)
    return HostSeen(host, view, facts, error=f"it does not tell what works there: {said or f'ended with {result.exit_status}'}")


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
    mine = held.get(pid, [])
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
        ports=tuple(p for p in _list(one.get("ports")) if isinstance(p, int) and 0 < p < 65536),
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
