"""A workload that commands stop, start and ask: on the hosts of its side, or on the engine's machine.

`status` exits 0 while it runs and 3 when it is quiesced; anything else is `unknown`. Without `status` the state is what our
last command left, for as long as this process lives, and `unknown` before. `drain` stops new work, `idle` exits 0 when nothing runs
and 3 when something does. All commands must be safe to repeat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backends.errors import CouldNot
from backends.plan.ways import Way
from backends.ssh.place import Places, Said, shown, shown_argv
from backends.vocabulary import SideName
from backends.workloads.base import NoWay, Outcome, RunState, Standing, WorkloadError
from backends.workloads.waiting import ASK_TIMEOUT, until_idle

YES, NO = 0, 3


class CommandSide:
    """One workload on one side, by commands."""

    def __init__(self, name: str, side: SideName, way: Way, places: Places) -> None:
        self._name, self._side, self._way, self._places = name, side, way, places
        self._left: RunState = "unknown"

    async def quiesce(self) -> Outcome:
        self._left = "unknown"  # where only some hosts follow, it is neither
        text = await self._everywhere(self._way.command or (), "stopped")
        self._left = "quiesced"
        return Outcome(text, Standing("quiesced"))

    async def resume(self, pinned: Mapping[str, Any]) -> Outcome:
        if self._way.resume is None:
            raise NoWay(
                f"workload {self._name}: the plan has no command that starts it on {self._side}",
                where=f"workloads.{self._name}.quiesce.resume",
                hint="give `resume`, or start it by hand",
            )
        self._left = "unknown"
        text = await self._everywhere(self._way.resume, "started")
        self._left = "running"
        return Outcome(text, Standing("running"))

    async def stop_new_work(self) -> Outcome:
        if self._way.drain is None:
            raise NoWay(
                f"workload {self._name}: the plan has no command that stops new work on {self._side}",
                where=f"workloads.{self._name}.quiesce.drain",
                hint="give `drain`, and `idle` to see its end",
            )
        return Outcome(await self._everywhere(self._way.drain, "taking no new work"), await self.look())

    async def drain(self) -> Outcome:
        return await until_idle(self.stop_new_work, self.look, self._name, self._side, self._way.timeout)

    async def look(self) -> Standing:
        state = self._left if self._way.status is None else await self._ask(self._way.status, "running", "quiesced")
        if self._way.idle is None:
            return Standing(state, is_idle=None)
        idle = await self._ask(self._way.idle, "quiesced", "running")
        return Standing(state, is_idle={"quiesced": True, "running": False}.get(idle))

    async def pin(self) -> dict[str, Any]:
        return {}

    async def _ask(self, argv: Sequence[str], yes: RunState, no: RunState) -> RunState:
        answers = await self._places.run_all(argv, min(self._way.timeout, ASK_TIMEOUT))
        known = {YES: yes, NO: no}
        states = {known.get(a.status, "unknown") if isinstance(a, Said) else "unknown" for a in answers.values()}
        if "running" in states:
            return "running"  # one host that writes is a writer
        return "quiesced" if states == {"quiesced"} else "unknown"

    async def _everywhere(self, argv: Sequence[str], done: str) -> str:
        """Run it at every place at once; all are tried, then the failures are raised together."""
        answers = await self._places.run_all(argv, self._way.timeout)
        failures = [text for host, answer in answers.items() if (text := _failure(host, argv, answer))]
        if failures:
            raise WorkloadError(
                f"workload {self._name} on {self._side} is not {done}: {'; '.join(failures)}",
                hint="the command is safe to repeat; see the host",
            )
        return f"{self._name} {done} on {self._side} ({self._places.text}) by `{shown_argv(argv)}`"


def _failure(host: str | None, argv: Sequence[str], answer: Said | CouldNot) -> str:
    if isinstance(answer, CouldNot):
        return answer.message
    if answer.status == 0:
        return ""
    return f"`{shown_argv(argv)}` on {shown(host) if host else 'the engine'} ended with {answer.status}" + (
        f": {answer.words}" if answer.words else ""
    )
