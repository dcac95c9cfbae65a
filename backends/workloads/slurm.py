"""A workload that is a partition of Slurm (22.05 and later): its state says what may be queued and started.

Measured on 22.05: UP queues and starts; DRAIN refuses submissions and still starts what is queued; INACTIVE refuses and starts nothing; DOWN
queues and starts nothing. So quiesced is INACTIVE (`queue: refuse`) or DOWN (`queue: hold`) with nothing of ours running, and DRAIN is how
new work is stopped. `scancel --full` signals the batch shell too, which is where a script traps it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from backends.errors import CouldNot
from backends.escape import plain
from backends.plan.ways import SlurmPartition, Way
from backends.slurm.partition import DRAIN, UP, SlurmError, ask_slurm, partition_state, set_partition
from backends.ssh.place import Places
from backends.vocabulary import SideName
from backends.workloads.base import Outcome, RunState, Standing, StillRunning, WorkloadError
from backends.workloads.waiting import ASK_TIMEOUT, until_idle, wait_idle

CLOSED = {"refuse": "INACTIVE", "hold": "DOWN"}
# What holds nodes, or has processes that have not ended yet.
_ACTIVE = "RUNNING,SUSPENDED,COMPLETING,CONFIGURING,RESIZING,SIGNALING,STAGE_OUT,STOPPED"
_ID = re.compile(r"[0-9]+(_[0-9]+|_\[[0-9,:%-]+\]|\+[0-9]+)?")  # a job, one of an array, those of it that wait, a part of a set
NAMED = 5


@dataclass(frozen=True, slots=True)
class Job:
    """`id` as scancel takes it."""

    id: str
    state: str
    name: str

    @property
    def text(self) -> str:
        return f"{self.id} {plain(self.name, 40)} ({self.state.lower()})"


def parse_jobs(text: str) -> tuple[Job, ...]:
    """The answer of `squeue --noheader --format=%i|%T|%j`; a name may hold anything but a line break. Raises ValueError."""
    jobs: list[Job] = []
    for line in text.splitlines():
        id_, _, rest = line.strip().partition("|")
        state, bar, name = rest.partition("|")
        if not _ID.fullmatch(id_) or not bar or not re.fullmatch(r"[A-Z_]+", state):
            raise ValueError(f"squeue answered `{plain(line, 120)}`, which is no job")
        jobs.append(Job(id_, state, name))
    return tuple(jobs)


async def _ask(places: Places, argv: tuple[str, ...]) -> str:
    """Raises `WorkloadError` with what Slurm said, and its cure."""
    try:
        return await ask_slurm(places, argv, ASK_TIMEOUT)
    except SlurmError as error:
        raise WorkloadError(error.message, hint=error.hint) from error


async def _state(places: Places, name: str) -> str:
    try:
        return await partition_state(places, name)
    except SlurmError as error:
        raise WorkloadError(error.message, hint=error.hint) from error


async def _set(places: Places, name: str, state: str) -> None:
    try:
        await set_partition(places, name, state)
    except SlurmError as error:
        raise WorkloadError(error.message, hint=error.hint) from error


class SlurmSide:
    """One workload on one side, as a partition."""

    def __init__(self, name: str, side: SideName, way: Way, spec: SlurmPartition, places: Places) -> None:
        self._name, self._side, self._way, self._spec, self._places = name, side, way, spec, places.first

    async def quiesce(self) -> Outcome:
        """Close the partition and await what runs; at the limit it is signalled, where the plan says so, and awaited once more."""
        closed = CLOSED[self._spec.queue]
        await _set(self._places, self._spec.partition, closed)
        text = f"{self._name} quiesced on {self._side}: partition {self._spec.partition} is {closed}"
        seen = await wait_idle(self.look, self._way.timeout)
        signalled: tuple[str, ...] = ()
        if not seen.is_idle and self._spec.signal is not None:
            signalled = tuple(job.id for job in await self._jobs())
            for job in signalled:
                await _ask(self._places, ("scancel", "--full", f"--signal={self._spec.signal}", job))
            text += f", {', '.join(signalled)} told to end by {self._spec.signal} after {self._way.timeout:g} s"
            seen = await wait_idle(self.look, self._spec.grace)
        if not seen.is_idle:
            raise StillRunning(
                f"workload {self._name} on {self._side} is not quiesced: {seen.text}",
                where=f"workloads.{self._name}.quiesce.slurm",
                hint="a longer `timeout`, or `signal` for jobs that end at a checkpoint when told",
            )
        return Outcome(f"{text}, nothing of it runs", seen, signalled)

    async def resume(self, pinned: Mapping[str, Any]) -> Outcome:
        await _set(self._places, self._spec.partition, UP)
        seen = await self.look()
        return Outcome(f"{self._name} resumed on {self._side}: partition {self._spec.partition} is UP", seen)

    async def stop_new_work(self) -> Outcome:
        await _set(self._places, self._spec.partition, DRAIN)
        seen = await self.look()
        text = f"{self._name} takes no new work on {self._side}: partition {self._spec.partition} is DRAIN"
        return Outcome(f"{text}, {seen.detail}", seen)

    async def drain(self) -> Outcome:
        return await until_idle(self.stop_new_work, self.look, self._name, self._side, self._way.timeout)

    async def look(self) -> Standing:
        """Queued jobs count where the partition still starts them."""
        try:
            state = await _state(self._places, self._spec.partition)
            jobs = await self._jobs(with_queued=state in (UP, DRAIN))
        except CouldNot as error:
            return Standing("unknown", error.message)
        running = "nothing of it runs" if not jobs else f"{len(jobs)} jobs: {', '.join(j.text for j in jobs[:NAMED])}"
        detail = f"partition {self._spec.partition} {state}, {running}"
        known: RunState = "running" if state == UP else "draining" if jobs or state == DRAIN else "quiesced"
        return Standing(known, detail, not jobs)

    async def pin(self) -> dict[str, Any]:
        return {}

    async def _jobs(self, *, with_queued: bool = False) -> tuple[Job, ...]:
        argv = ["squeue", "--noheader", f"--partition={self._spec.partition}", "--format=%i|%T|%j"]
        argv.append(f"--states={_ACTIVE},PENDING" if with_queued else f"--states={_ACTIVE}")
        if self._spec.reservation is not None:
            argv.append(f"--reservation={self._spec.reservation}")
        try:
            jobs = parse_jobs(await _ask(self._places, tuple(argv)))
        except ValueError as error:
            raise WorkloadError(str(error)) from error
        return tuple(job for job in jobs if not self._spec.jobs or job.name in self._spec.jobs)
