"""The desk at which the engine's parts meet: what each may know of the migration, note in its journal, and ask for.

Parts are written against it, the engine is it: so none of them needs to know the engine.
"""

from __future__ import annotations

from collections.abc import Coroutine
from pathlib import Path
from typing import Any, Protocol

from backends.cutover.events import Event
from backends.cutover.forward import Move
from backends.cutover.migration import Migration
from backends.cutover.rollback import Mode, RollbackPlan
from backends.cutover.rules import Refusal
from backends.dataset_view import Lag
from backends.engine.runner import Runner
from backends.engine.world import LiveWorld
from backends.plan.models import Plan
from backends.vocabulary import State


class Desk(Protocol):
    """One migration, as its parts see it."""

    plan: Plan
    base: Path
    plan_hash: str
    recovering: bool
    migration: Migration
    world: LiveWorld
    runner: Runner

    @property
    def is_moving(self) -> bool: ...
    @property
    def is_going_back(self) -> bool: ...
    @property
    def is_evacuating(self) -> bool: ...

    async def record(self, kind: str, data: dict[str, Any], *, actor: str = "engine") -> Event:
        """Into the journal and the fold."""
        ...

    def touch(self) -> None:
        """Something that a snapshot shows has changed."""
        ...

    def observed_now(self) -> float: ...

    def stamp(self) -> float:
        """Unix seconds that no jump of the wall clock moves: what windows and ages are counted by."""
        ...

    def stamp_of(self, observed: float) -> float:
        """An observed time as such a stamp."""
        ...

    def uptime(self) -> float: ...

    async def tick(self) -> None: ...

    def reverse_lag(self) -> Lag: ...

    def forward_gap(self) -> Lag: ...

    def next_move(self, only: str | None = None) -> Move | Refusal: ...

    def rollback_plan(self, mode: Mode, accept_unknown: bool = False) -> RollbackPlan: ...

    async def advance(self, *, actor: str, reason: str = "", only: str | None = None) -> Move: ...

    async def rollback(
        self, *, mode: Mode, actor: str, reason: str, accept_unknown: bool = False, limit: float | None = None
    ) -> State: ...

    async def in_turn(self, body: Coroutine[Any, Any, None], name: str) -> None:
        """Run something of the engine's own as the one run in flight, which a rollback cancels; nothing where another is under way."""
        ...

    async def by_itself(self, coroutine: Coroutine[Any, Any, Any], name: str) -> None:
        """Start something automatic; a refusal of it goes into the journal."""
        ...
