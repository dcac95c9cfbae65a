"""Stopping, starting and asking a workload by commands: on the hosts of its side, or on the engine's machine.

`status` exits 0 while it runs and 3 when it is quiesced; anything else is `unknown`. Without `status` the state is what our
last command left, for as long as this process lives, and `unknown` before. All commands must be safe to repeat.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from backends.children import Children
from backends.errors import CouldNot, NotYetSupported
from backends.escape import plain
from backends.plan.models import CommandQuiesce, Quiesce, Workload
from backends.ssh.pool import SshPool
from backends.vocabulary import SIDES, SideName
from backends.workloads.base import RunState, WorkloadControl, WorkloadError

RUNNING, QUIESCED = 0, 3
ASK_TIMEOUT = 10.0
SHOWN = 200


class CommandControl:
    """A workload that commands stop and start."""

    def __init__(
        self,
        name: str,
        ways: dict[SideName, CommandQuiesce],
        hosts: dict[SideName, tuple[str, ...]],
        pool: SshPool,
        *,
        base: Path,
        children: Children,
    ) -> None:
        self.name = name
        self._ways = ways
        self._hosts = hosts
        self._pool = pool
        self._base = base
        self._children = children
        self._left: dict[SideName, RunState] = {}

    async def quiesce(self, side: SideName) -> str:
        way = self._way(side)
        self._left.pop(side, None)  # where only some hosts follow, it is neither
        said = await self._everywhere(side, way, way.command, "stopped")
        self._left[side] = "quiesced"
        return said

    async def resume(self, side: SideName) -> str:
        way = self._way(side)
        if way.resume is None:
            raise WorkloadError(
                f"workload {self.name}: the plan has no command that starts it on {side}",
                where=f"workloads.{self.name}.quiesce.resume",
                hint="give `resume`, or start it by hand",
            )
        self._left.pop(side, None)
        said = await self._everywhere(side, way, way.resume, "started")
        self._left[side] = "running"
        return said

    async def state(self, side: SideName) -> RunState:
        way = self._ways.get(side)
        if way is None or way.status is None:
            return self._left.get(side, "unknown")
        places = self._places(side, way)
        if not places:
            return "unknown"
        async with asyncio.TaskGroup() as group:
            asked = [group.create_task(self._ask(place, way.status, min(way.timeout, ASK_TIMEOUT))) for place in places]
        states = {task.result() for task in asked}
        if "running" in states:
            return "running"  # one host that writes is a writer
        return "quiesced" if states == {"quiesced"} else "unknown"

    def _way(self, side: SideName) -> CommandQuiesce:
        way = self._ways.get(side)
        if way is None:
            raise WorkloadError(
                f"workload {self.name}: the plan does not say how it is stopped on {side}",
                where=f"workloads.{self.name}.quiesce.{side}",
            )
        if not self._places(side, way):
            raise WorkloadError(
                f"workload {self.name}: it has no host on {side} to run commands on",
                where=f"workloads.{self.name}.runs_on.{side}",
                hint="name its hosts, or `on: engine`",
            )
        return way

    def _places(self, side: SideName, way: CommandQuiesce) -> tuple[str | None, ...]:
        """Hosts; None is the engine's machine."""
        return (None,) if way.on == "engine" else self._hosts.get(side, ())

    async def _everywhere(self, side: SideName, way: CommandQuiesce, argv: Sequence[str], done: str) -> str:
        """Run it at every place at once; all are tried, then the failures are raised together."""
        places = self._places(side, way)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._do(place, argv, way.timeout)) for place in places]
        failures = [text for task in tasks if (text := task.result())]
        if failures:
            raise WorkloadError(
                f"workload {self.name} on {side} is not {done}: {'; '.join(failures)}",
                hint="the command is safe to repeat; see the host",
            )
        where = ", ".join(place or "the engine's machine" for place in places)
        return f"{self.name} {done} on {side} ({where}) by `{_shown(argv)}`"

    async def _do(self, place: str | None, argv: Sequence[str], timeout: float) -> str:
        """Empty when it succeeded, else what went wrong."""
        try:
            status, said = await self._run(place, argv, timeout)
        except CouldNot as error:
            return error.message
        if status == 0:
            return ""
        return f"`{_shown(argv)}` on {place or 'the engine'} ended with {status}" + (f": {said}" if said else "")

    async def _ask(self, place: str | None, argv: Sequence[str], timeout: float) -> RunState:
        try:
            status, _ = await self._run(place, argv, timeout)
        except CouldNot:
            return "unknown"
        return {RUNNING: "running", QUIESCED: "quiesced"}.get(status, "unknown")  # type: ignore[return-value]

    async def _run(self, place: str | None, argv: Sequence[str], timeout: float) -> tuple[int, str]:
        if place is None:
            child = await self._children.run(argv, cwd=self._base, timeout=timeout)
            return child.exit_status, _said(child.stderr, child.stdout)
        result = await self._pool.run(place, argv, timeout=timeout)
        return result.exit_status, _said(result.stderr, result.stdout)


def open_workload(spec: Workload, pool: SshPool, *, base: Path, children: Children) -> WorkloadControl | None:
    """How the plan stops this workload; None where it names no way. `base` is the plan's folder. Contacts nothing yet."""
    if spec.quiesce is None:
        return None
    for kind in ("systemd", "slurm", "kubernetes"):
        if getattr(spec.quiesce, kind) is not None:
            raise NotYetSupported(
                f"workload {spec.name}: quiesce by {kind} is not yet supported",
                where=f"workloads.{spec.name}.quiesce.{kind}",
                hint="use commands: {command: […], resume: […], status: […]}",
            )
    ways = {side: way for side in SIDES if (way := _way_of(spec.quiesce, side)) is not None}
    hosts: dict[SideName, tuple[str, ...]] = {"legacy": spec.runs_on.legacy, "target": spec.runs_on.target}
    return CommandControl(spec.name, ways, hosts, pool, base=base, children=children)


def _way_of(quiesce: Quiesce, side: SideName) -> CommandQuiesce | None:
    own = quiesce.legacy if side == "legacy" else quiesce.target
    if own is not None or quiesce.command is None:
        return own
    return CommandQuiesce.model_construct(  # its parts are parsed already: a duration is seconds now
        command=quiesce.command,
        resume=quiesce.resume,
        status=quiesce.status,
        on=quiesce.on,
        timeout=quiesce.timeout,
    )


def _shown(argv: Sequence[str]) -> str:
    return plain(" ".join(argv), 120)


def _said(stderr: bytes, stdout: bytes) -> str:
    return plain(stderr.strip() or stdout.strip(), SHOWN)
