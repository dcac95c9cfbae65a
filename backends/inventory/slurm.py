"""A Slurm cluster looked at by its own commands where they are reached: `scontrol`, `squeue`, and `sacct` where accounting is. Changes nothing."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from backends.children import Children
from backends.errors import CouldNot
from backends.escape import plain
from backends.inventory.script import Script, parse_script
from backends.inventory.slurm_text import (
    HISTORY_FIELDS,
    QUEUE_FIELDS,
    WIDTHS,
    Job,
    NodeTold,
    Run,
    parse_df,
    parse_history,
    parse_nodes,
    parse_partitions,
    parse_queue,
    parse_tres,
)
from backends.slurm.partition import SlurmError
from backends.ssh.models import SshHost
from backends.ssh.place import shown, shown_argv
from backends.ssh.pool import SshPool

LIMIT = 60.0  # seconds of one command
MOST_BYTES = 32 << 20  # of its output
DAYS = 30
SCRIPTS = 50  # how many are read
FOLDERS = 50
_NODES = ("scontrol", "-o", "show", "node")
_PARTITIONS = ("scontrol", "-o", "show", "partition")
_STATES = "--states=RUNNING,PENDING,SUSPENDED"
_TRES = ("squeue", "--all", "--noheader", _STATES, f"--Format={','.join(f'{name}:{width}' for name, width in WIDTHS.items())}")


@dataclass
class Kind:
    """Jobs of one name, user and partition."""

    name: str
    user: str
    partition: str
    jobs: list[Job] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    script: Script | None = None

    @property
    def folders(self) -> tuple[str, ...]:
        """Where its jobs work."""
        every = [job.folder for job in self.jobs] + [run.folder for run in self.runs]
        return tuple(folder for folder in dict.fromkeys(every) if folder.startswith("/"))

    @property
    def has_gpus(self) -> bool:
        return any(job.gpus for job in self.jobs) or any(run.gpus for run in self.runs)


@dataclass
class SlurmSeen:
    """`notes` say what could not be asked; `folders` from a job's to (mounted on, size, used) of its file system."""

    login: SshHost | None
    nodes: list[NodeTold]
    partitions: list[str]
    kinds: list[Kind]
    days: int = DAYS
    notes: list[str] = field(default_factory=list)
    folders: dict[str, tuple[str, int, int]] = field(default_factory=dict)


async def look_at_slurm(pool: SshPool, login: SshHost | None, days: int = DAYS) -> SlurmSeen:
    """By SSH on the host `login`, None: on this machine. Raises `CouldNot` where nodes or jobs are not told; a missing history is said."""
    place = _Place(pool, login)
    record, unit = secrets.token_hex(12), secrets.token_hex(12)
    queue = ("squeue", "--all", "--noheader", _STATES, f"--format={record}{unit.join(QUEUE_FIELDS)}")
    history = (
        *("sacct", "--allusers", "--noheader", "--parsable2", f"--delimiter={unit}", "--units=K", f"--starttime=now-{days}days"),
        f"--format={','.join(HISTORY_FIELDS)}",
    )
    async with asyncio.TaskGroup() as group:
        nodes, partitions, jobs, tres, past = (
            group.create_task(place.may_ask(argv)) for argv in (_NODES, _PARTITIONS, queue, _TRES, history)
        )
    for needed in (nodes, jobs):
        if not needed.result().out and needed.result().why:
            raise SlurmError(needed.result().why, hint="name a host with Slurm's commands: cutover inventory slurm USER@HOST")
    queued = parse_queue(jobs.result().out, record, unit, parse_tres(tres.result().out))
    runs = parse_history(past.result().out, unit)
    seen = SlurmSeen(
        login, parse_nodes(nodes.result().out), parse_partitions(partitions.result().out), kinds_of(queued, runs), days
    )
    for what, task in (("partitions", partitions), ("the queue", jobs), ("GPUs of jobs", tres)):
        if task.result().why:
            seen.notes.append(f"{what}: {task.result().why}")
    if past.result().why:
        seen.notes.append(f"memory peaks, durations and frequency: not known, no accounting tells: {past.result().why}")
    await _read_scripts(place, seen)
    await _measure_folders(place, seen)
    return seen


def kinds_of(jobs: Iterable[Job], runs: Iterable[Run]) -> list[Kind]:
    """A job that is in the queue and in the history already is in its kind once as a job and once as a run."""
    kinds: dict[tuple[str, str, str], Kind] = {}

    def kind_of(one: Job | Run) -> Kind:
        return kinds.setdefault((one.name, one.user, one.partition), Kind(one.name, one.user, one.partition))

    for job in jobs:
        kind_of(job).jobs.append(job)
    for run in runs:
        kind_of(run).runs.append(run)
    return list(kinds.values())


async def _read_scripts(place: _Place, seen: SlurmSeen) -> None:
    """Of the kinds with GPUs that run or wait: Slurm gives a script to its owner and to operators."""
    key = secrets.token_bytes(16)
    kinds = [kind for kind in seen.kinds if kind.has_gpus and kind.jobs]
    several = asyncio.Semaphore(4)
    refused: list[str] = []

    async def read(kind: Kind) -> None:
        async with several:
            answer = await place.may_ask(("scontrol", "write", "batch_script", kind.jobs[0].ident, "-"))
        if answer.out:
            kind.script = parse_script(answer.out, key)
        else:
            refused.append(answer.why)

    async with asyncio.TaskGroup() as group:
        for kind in kinds[:SCRIPTS]:
            group.create_task(read(kind), name=f"script of {plain(kind.name, 40)}")
    if refused:
        seen.notes.append(f"scripts of {len(refused)} kinds of jobs: not told to this user: {refused[0]}")
    if len(kinds) > SCRIPTS:
        seen.notes.append(f"scripts: only those of the first {SCRIPTS} kinds of jobs were read")


async def _measure_folders(place: _Place, seen: SlurmSeen) -> None:
    """The file systems that jobs with GPUs work in, as the login host mounts them."""
    folders = list(dict.fromkeys(folder for kind in seen.kinds if kind.has_gpus for folder in kind.folders))[:FOLDERS]
    several = asyncio.Semaphore(4)

    async def measure(folder: str) -> None:
        async with several:
            answer = await place.may_ask(("df", "-Pk", "--", folder))
        for told in parse_df(answer.out):
            seen.folders[folder] = told

    async with asyncio.TaskGroup() as group:
        for folder in folders:
            group.create_task(measure(folder), name=f"df {plain(folder, 40)}")


@dataclass(frozen=True, slots=True)
class _Answer:
    """What a command printed, and why it is not all of it."""

    out: str
    why: str = ""


class _Place:
    """The login host, or this machine."""

    def __init__(self, pool: SshPool, login: SshHost | None) -> None:
        self._pool, self._login = pool, login.name if login is not None else None
        self._children = Children(env={name: value for name, value in os.environ.items() if name.startswith("SLURM")})

    async def may_ask(self, argv: tuple[str, ...]) -> _Answer:
        """Run it; what hinders it is in the answer's `why`."""
        try:
            status, out, err, is_cut = await self._run(argv)
        except CouldNot as error:
            return _Answer("", error.message)
        if status and not is_cut:
            said = plain((err.strip() or out.strip()).decode("utf-8", "replace"), 300)
            return _Answer("", f"`{shown_argv(argv[:2])}` on {shown(self._login)} ended with {status}: {said}")
        why = f"more than {MOST_BYTES >> 20} MiB: the rest is not in it" if is_cut else ""
        return _Answer(out.decode("utf-8", "replace"), why)

    async def _run(self, argv: tuple[str, ...]) -> tuple[int | None, bytes, bytes, bool]:
        if self._login is None:
            here = await self._children.run(argv, cwd=Path.cwd(), timeout=LIMIT, limit=MOST_BYTES)
            return here.exit_status, here.stdout, here.stderr, here.truncated
        far = await self._pool.run(self._login, argv, timeout=LIMIT, limit=MOST_BYTES)
        return far.exit_status, far.stdout, far.stderr, far.truncated
