"""A submission queue: which of two partitions of Slurm takes new jobs. Legacy's is UP and target's closed, or the other way round.

Closed is DRAIN, which finishes what was submitted before, or DOWN, which keeps it waiting. The side that is to take jobs is opened before the
other is closed, so that a submission is never refused by both. What clients would be told is asked by `sbatch --test-only`, which submits nothing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from backends.children import Children
from backends.errors import CouldNot, unwrapped
from backends.plan.queues import SlurmRoute as SlurmSpec
from backends.slurm.partition import UP, ask_slurm, partition_state, set_partition
from backends.ssh.place import Places
from backends.ssh.pool import SshPool
from backends.traffic.base import Clients, Confirmation, ForeignChange, Observed, PlainRoute, RouteError
from backends.vocabulary import SIDES, SideName

CLOSED = {"refuse": "DRAIN", "hold": "DOWN"}
MIXED = 50  # both take jobs: some go to either
_REFUSAL = "required partition not available"


class SlurmRoute(PlainRoute):
    """All or nothing: weight 0 or 100."""

    kind = "slurm"

    def __init__(self, name: str, spec: SlurmSpec, *, pool: SshPool, base: Path, children: Children) -> None:
        self.name = name
        self._spec = spec
        hosts = spec.hosts
        self._partitions: dict[SideName, str] = {"legacy": spec.legacy, "target": spec.target}
        self._places: dict[SideName, Places] = {
            "legacy": Places((hosts.legacy if hosts else None,), pool, children, base),
            "target": Places((hosts.target if hosts else None,), pool, children, base),
        }

    async def read(self) -> Observed:
        states = await self._states()
        text = ", ".join(f"{self._partitions[side]} {states[side]}" for side in SIDES)
        is_open = {side: states[side] == UP for side in SIDES}
        if is_open["legacy"] and is_open["target"]:
            return Observed(MIXED, text, f"has both partitions open ({text})")
        if not is_open["legacy"] and not is_open["target"]:
            raise RouteError(
                f"route {self.name}: neither partition takes jobs ({text})",
                hint=f"scontrol update PartitionName={self._spec.legacy} State=UP",
            )
        return Observed(100 if is_open["target"] else 0, text)

    async def set(self, weight: int, expected: int | None) -> None:
        if weight not in (0, 100):
            raise RouteError(f"route {self.name}: a queue takes all or nothing, and {weight} is neither")
        if expected is not None:
            found = await self.read()
            if not found.is_at(expected) and not found.is_at(weight):
                raise ForeignChange(self.name, expected, found.weight, found.foreign)
        to: SideName = "target" if weight == 100 else "legacy"
        away: SideName = "legacy" if weight == 100 else "target"
        try:
            await set_partition(self._places[to], self._partitions[to], UP)
            # One that is closed in another way already stays so: a quiesced writer's partition starts nothing.
            if await partition_state(self._places[away], self._partitions[away]) == UP:
                await set_partition(self._places[away], self._partitions[away], CLOSED[self._spec.queue])
        except CouldNot as error:
            raise RouteError(f"route {self.name}: {error.message}", hint=error.hint) from error
        found = await self.read()
        if not found.is_at(weight):
            raise ForeignChange(self.name, weight, found.weight, found.foreign)

    async def confirm(self, weight: int) -> Confirmation:
        observed = await self.read()
        to: SideName = "target" if weight == 100 else "legacy"
        away: SideName = "legacy" if weight == 100 else "target"
        takes, refuses = await asyncio.gather(self._takes(to), self._takes(away))
        # A partition that is DOWN takes submissions and holds them.
        is_there = takes and (refuses is not True or self._spec.queue == "hold") if takes is not None else None
        said = {True: "takes", False: "refuses", None: "does not say whether it takes"}
        detail = f"{observed.detail}; {self._partitions[to]} {said[takes]} a job, {self._partitions[away]} {said[refuses]} one"
        return Confirmation(observed.is_at(weight), is_there, None, detail)

    async def clients(self) -> Clients:
        """What was submitted to target before ends there: nobody waits for it, and it is told."""
        argv = ("squeue", "--noheader", f"--partition={self._spec.target}", "--format=%i")
        try:
            jobs = (await ask_slurm(self._places["target"], argv)).split()
        except CouldNot as error:
            raise RouteError(f"route {self.name}: {error.message}", hint=error.hint) from error
        return Clients(detail=f"{len(jobs)} jobs are left in {self._spec.target}, and end there")

    async def close(self) -> None:
        """Nothing is kept open."""

    async def _states(self) -> dict[SideName, str]:
        try:
            with unwrapped():
                async with asyncio.TaskGroup() as group:
                    tasks = {
                        side: group.create_task(partition_state(self._places[side], self._partitions[side])) for side in SIDES
                    }
        except CouldNot as error:
            raise RouteError(f"route {self.name}: {error}", hint=error.hint) from error
        return {side: task.result() for side, task in tasks.items()}

    async def _takes(self, side: SideName) -> bool | None:
        """Would a job be taken now? None where that was not told: no account, a limit, no answer."""
        argv = ("sbatch", "--test-only", f"--partition={self._partitions[side]}", "--wrap=true")
        try:
            said = await self._places[side].run(self._places[side].hosts[0], argv, 10.0)
        except CouldNot:
            return None
        if said.status == 0:
            return True
        return False if _REFUSAL in said.words.lower() else None
