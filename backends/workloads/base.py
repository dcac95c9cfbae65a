"""Stopping and starting what runs on a side, and what state it is in. All acts are safe to repeat and end within the plan's time limit.

Errors:

WorkloadError        could not be stopped, started or asked
├── NoWay            the plan, or the kind of thing it is, gives no way to do that
└── StillRunning     what was to end had not, when its time was over
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from backends.errors import CouldNot
from backends.vocabulary import SideName

RunState = Literal["running", "draining", "quiesced", "unknown"]  # draining: takes nothing new, and something of it still runs


class WorkloadError(CouldNot):
    """A workload could not be stopped, started or asked."""

    code = "workload_error"


class NoWay(WorkloadError):
    """Nothing says how this is done to this workload."""

    code = "workload_no_way"


class StillRunning(WorkloadError):
    """What was to end still ran when its time was over."""

    code = "workload_still_running"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a workload is on a side. `is_idle`: nothing of it runs; None where that cannot be told. `is_ready`: of what runs, whether all of it
    serves. `detail` is in words."""

    state: RunState = "unknown"
    detail: str = ""
    is_idle: bool | None = None
    is_ready: bool | None = None

    @property
    def text(self) -> str:
        return f"{self.state} ({self.detail})" if self.detail else self.state


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an act did, in words; `standing` is what was seen after it, `signalled` names what had to be told to end."""

    text: str
    standing: Standing = Standing()
    signalled: tuple[str, ...] = ()


class WorkloadControl(Protocol):
    """One workload on both sides."""

    @property
    def name(self) -> str: ...

    async def quiesce(self, side: SideName) -> Outcome:
        """Stop it: nothing new, and what runs has ended. Raises `WorkloadError`."""
        ...

    async def resume(self, side: SideName, pinned: Mapping[str, Any]) -> Outcome:
        """Start it, as it was when it was pinned. Raises `WorkloadError`."""
        ...

    async def stop_new_work(self, side: SideName) -> Outcome:
        """Let it take nothing new; what runs goes on. Raises `NoWay` where it cannot be told apart from stopping it."""
        ...

    async def drain(self, side: SideName) -> Outcome:
        """Stop new work, and wait until what runs has ended by itself. Raises `StillRunning` when the time is over."""
        ...

    async def look(self, side: SideName) -> Standing:
        """Ask; `unknown` where it cannot be seen. Never raises for an unreachable host."""
        ...

    async def pin(self, side: SideName) -> dict[str, Any]:
        """What `resume` is to bring back, as JSON; empty where there is nothing to remember now. Raises `WorkloadError`."""
        ...

    async def step(self, side: SideName) -> int | None:
        """The step that training is at, or would go on from; None where the plan gives no way to ask. Raises `WorkloadError`."""
        ...

    async def close(self) -> None: ...
