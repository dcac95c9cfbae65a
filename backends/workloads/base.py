"""Stopping and starting what runs on a side: `quiesce`, `resume`, and what state it is in. All safe to repeat."""

from __future__ import annotations

from typing import Literal, Protocol

from backends.errors import CouldNot
from backends.vocabulary import SideName

RunState = Literal["running", "quiesced", "unknown"]


class WorkloadError(CouldNot):
    """A workload could not be stopped, started or asked."""

    code = "workload_error"


class WorkloadControl(Protocol):
    """One workload on both sides."""

    @property
    def name(self) -> str: ...

    async def quiesce(self, side: SideName) -> str:
        """Stop it writing; returns what happened in words. Raises `WorkloadError`."""
        ...

    async def resume(self, side: SideName) -> str: ...

    async def state(self, side: SideName) -> RunState:
        """Ask; `unknown` where it cannot be seen. Never raises for an unreachable host."""
        ...
