"""Rounds of sync that run by themselves: onto the target while legacy writes, onto legacy while the target does.

Nothing ever copies onto the side that holds the token; while nobody holds it only the handover's own last rounds run.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from backends.cutover.events import Kind
from backends.cutover.rules import delete_refusal
from backends.cutover.states import syncs
from backends.dataset_view import DatasetView, FailureView, Lag, ProofCounts
from backends.engine.desk import Desk
from backends.errors import CutoverError
from backends.escape import plain
from backends.plan.models import Dataset
from backends.snapshot import GateView
from backends.transfer.models import FAILURES_SHOWN, Direction, Progress, Proof, RoundResult, Status
from backends.transfer.rounds import delete_refused
from backends.transfer.shown import dataset_view, live_lag
from backends.transfer.trend import Trend
from backends.verdict import Verdict
from backends.vocabulary import Phase, SideName, State

IDLE = 0.5  # seconds between two looks whether a round is due
AFTER_FAILURE = 10.0


@dataclass(slots=True)
class Follower:
    """What is known of one dataset's rounds."""

    spec: Dataset
    progress: Progress = field(default_factory=Progress)
    direction: Direction = "forward"
    last: dict[Direction, RoundResult] = field(default_factory=dict)
    last_at: float | None = None
    looked_at: dict[Direction, float] = field(default_factory=dict)  # observed: when the round of `last` began
    rounds: int = 0
    error: str | None = None
    repaired: list[FailureView] = field(default_factory=list)
    trends: dict[Direction, Trend] = field(default_factory=dict)
    proofs: dict[Proof, int] = field(default_factory=dict)  # of all objects that the index knows
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def trend(self, direction: Direction, *, is_complete: bool = False) -> Trend:
        """What is seen of its rounds in this direction. `is_complete`: all was there when the engine started."""
        if direction not in self.trends:
            self.trends[direction] = Trend(follows=self.spec.follow is not None, is_complete=is_complete)
        return self.trends[direction]


class Followers:
    """All datasets of the plan."""

    def __init__(self, engine: Desk) -> None:
        self._engine = engine
        self.all = {d.name: Follower(d) for d in engine.plan.datasets}

    async def run(self, name: str) -> None:
        """Rounds of one dataset, for ever."""
        follower = self.all[name]
        while True:
            direction = self._due(follower)
            if direction is None:
                await self._idle(follower, IDLE)
                continue
            await self._round(follower, direction)

    async def _idle(self, follower: Follower, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await follower.wake.wait()
        except TimeoutError:
            return
        finally:
            follower.wake.clear()

    def _due(self, follower: Follower) -> Direction | None:
        m = self._engine.migration
        if self._engine.recovering or not syncs(m.state):
            return None
        writer = m.token(follower.spec.name).writer
        direction: Direction | None = "forward" if writer == "legacy" else "reverse" if writer == "target" else None
        if direction is None or (direction == "reverse" and not follower.spec.reverse):
            return None
        if direction == "forward" and m.state is State.ROLLBACK_BLOCKED:
            return None
        if direction == "reverse" and follower.spec.name in m.forced:
            return None  # legacy may hold what a copy would overwrite
        if follower.last_at is None or direction != follower.direction:
            return direction
        if follower.error is None and direction in follower.last and follower.last[direction].was_cut:
            return direction
        if direction == "forward" and follower.error is None and self._may_delete_now(follower):
            return direction
        if follower.error is not None:
            period = AFTER_FAILURE
        elif follower.spec.follow is not None:
            period = follower.spec.follow
        elif direction in follower.last and direction == "forward" and follower.last[direction].is_proven:
            return None
        else:
            period = AFTER_FAILURE
        return direction if time.monotonic() - follower.last_at >= period else None

    def _may_delete_now(self, follower: Follower) -> bool:
        """Did the last round hold deletes back only because the migration was not committed, as it is now?"""
        last = follower.last.get("forward")
        return (
            last is not None and last.deletes.rule == "SR4" and delete_refusal(self._engine.migration, follower.spec.name) is None
        )

    async def _round(self, follower: Follower, direction: Direction) -> None:
        progress = Progress()
        follower.direction, follower.progress = direction, progress
        try:
            result = await self._engine.world.round(follower.spec.name, direction, progress, following=True)
            follower.error = None
            if (refused := delete_refused(result)) is not None:
                await self._failed(follower, direction, refused)
        except CutoverError as error:
            follower.trend(direction).broke_off()
            await self._failed(follower, direction, error)
        finally:
            follower.last_at = time.monotonic()
            self._engine.touch()

    async def _failed(self, follower: Follower, direction: Direction, error: CutoverError) -> None:
        said, follower.error = follower.error, error.message
        follower.progress.status = "failed"
        if said != error.message:
            data = {"dataset": follower.spec.name, "direction": direction, "error": plain(error.message)}
            await self._engine.record(Kind.ROUND, data)

    async def note(self, result: RoundResult, began: float) -> None:
        """Take a round's end, from whoever ran it; into the journal where something happened. `began`: observed time."""
        follower = self.all[result.dataset]
        first = result.direction not in follower.last
        if not result.only_failed:  # which has listed nothing: what is missing it does not know
            follower.last[result.direction], follower.looked_at[result.direction] = result, began
        follower.rounds += 1
        self._trend(follower, result.direction).ended(time.monotonic(), result)
        new = [FailureView(key=f.key, reason=f.reason) for f in result.repaired]
        follower.repaired = (follower.repaired + new)[-20:]
        if first or result.copied or result.failed or new:
            follower.proofs = dict(await self._engine.world.session.index.proof_counts(result.dataset))
            await self._engine.record(Kind.ROUND, self._told(result, new))

    def _told(self, result: RoundResult, repaired: list[FailureView]) -> dict[str, object]:
        proven = proven_of(result)
        return {
            "dataset": result.dataset, "direction": result.direction, "listed": result.listed, "copied": result.copied,
            "unchanged": result.unchanged, "failed": result.failed, "bytes": result.bytes, "seconds": round(result.seconds, 3),
            "proofs": dict(result.proofs), "proven": proven, "objects_total": result.objects_total,
            "bytes_total": result.bytes_total, "lag_objects": result.lag_objects, "resent_bytes": result.resent_bytes,
            "repaired": [r.model_dump() for r in repaired],
            "failures": [{"key": f.key, "reason": f.reason} for f in result.failures[:20]],
        }  # fmt: skip

    def gate(self, dataset: str, phase: Phase) -> GateView:
        """`verified: all`: the last forward round copied and proved everything that it listed."""
        follower = self.all[dataset]
        name = f"{dataset} verified"
        last = follower.last.get("forward")
        if follower.error is not None:
            return GateView(name=name, phase=phase, verdict=Verdict.ERROR, reason=follower.error)
        if last is None:
            told = self._engine.migration.rounds.get(dataset)
            return GateView(name=name, phase=phase, verdict=Verdict.INCONCLUSIVE, reason=_not_yet(follower, told))
        proven = proven_of(last)
        value = proven / last.objects_total if last.objects_total else 1.0
        reason = f"{proven} of {last.objects_total} proven, {last.failed} failed"
        if last.failed:
            verdict = Verdict.BREACH
        else:
            verdict = Verdict.PASS if proven >= last.objects_total and not last.lag_objects else Verdict.INCONCLUSIVE
        return GateView(name=name, phase=phase, verdict=verdict, reason=reason, value=value, limit=1.0)

    def reverse_lag(self) -> Lag:
        """What target alone holds of all datasets whose token it holds, or held until now (cutover.md, section 4)."""
        return self._gap([n for n in self.all if self._engine.migration.token(n).epoch % 2 == 1], "reverse")

    def forward_gap(self, names: list[str]) -> Lag:
        """What legacy alone holds of these datasets."""
        return self._gap(names, "forward")

    def _gap(self, names: Sequence[str], direction: Direction) -> Lag:
        """By the last look at each; unknown where there was none. More where who writes there may have written since it began."""
        now = self._engine.observed_now()
        if not names:
            return Lag(objects=0, bytes=0, seconds=0.0)
        objects = bytes_ = 0
        seconds, oldest, more = 0.0, now, False
        for name in names:
            follower = self.all[name]
            last, began = follower.last.get(direction), follower.looked_at.get(direction, -math.inf)
            proven = self._engine.migration.at_zero.get((name, direction), -math.inf)
            if (direction == "reverse" and not follower.spec.reverse) or max(began, proven) == -math.inf:
                return Lag()
            if last is not None and began >= proven:
                left = max(last.lag_objects, _waiting(follower, direction))
                objects, bytes_ = objects + left, bytes_ + last.lag_bytes
                ended = began + last.seconds
                seconds = max(seconds, last.lag_seconds + max(0.0, now - ended)) if left else seconds
            looked = max(began, proven)
            oldest = min(oldest, looked)
            if self._may_have_written(name, "target" if direction == "reverse" else "legacy", looked):
                more, seconds = True, max(seconds, now - looked)
        return Lag(objects=objects, bytes=bytes_, seconds=round(seconds, 1), age=round(now - oldest, 1), may_be_more=more)

    def _may_have_written(self, dataset: str, side: SideName, since: float) -> bool:
        """Not, where each of its writers on a side is known to have been stopped there before, and is not started since."""
        still = self._engine.migration.still
        writers = [w.name for w in self._engine.plan.workloads if dataset in w.writes]
        return any(still.get((name, side), math.inf) > since for name in writers)

    def view(self, name: str) -> DatasetView:
        """The dataset as the snapshot shows it."""
        follower, now = self.all[name], time.monotonic()
        trend, progress = self._trend(follower, follower.direction), follower.progress
        trend.sample(now, progress)
        token = self._engine.migration.token(name)
        last = follower.last.get(follower.direction)
        shown: dict[str, Any] = {
            "writer": token.writer, "epoch": token.epoch, "direction": follower.direction, "status": _status(follower),
            "lag": self._lag(follower, "forward"),
            "reverse_lag": self._lag(follower, "reverse") if "reverse" in follower.last else None,
            "repaired": tuple(follower.repaired),
            "round": follower.rounds, "error": follower.error,
        }  # fmt: skip
        if last is not None:
            shown |= {"proven": proven_of(last), "proofs": ProofCounts.model_validate(follower.proofs)}
        if last is not None and not (progress.is_listed and progress.status == "copying"):
            shown["failed"] = last.failed
            shown["failures"] = tuple(FailureView(key=f.key, reason=f.reason) for f in last.failures[:FAILURES_SHOWN])
        return dataset_view(follower.spec, trend, progress, now, time.time()).model_copy(update=shown)

    def _lag(self, follower: Follower, direction: Direction) -> Lag:
        p, last = follower.progress, follower.last.get(direction)
        if follower.direction == direction and p.status == "copying":
            return live_lag(p, time.time())
        if last is None:
            return Lag()
        age = self._engine.observed_now() - follower.looked_at[direction]
        return Lag(objects=last.lag_objects, bytes=last.lag_bytes, seconds=last.lag_seconds, age=round(age, 1))

    def _trend(self, follower: Follower, direction: Direction) -> Trend:
        told = self._engine.migration.rounds.get(follower.spec.name, {})
        return follower.trend(direction, is_complete=told.get("direction") == direction and told.get("lag_objects") == 0)


def proven_of(result: RoundResult) -> int:
    """Objects shown to be equal on both sides: by this round, or by one before and unchanged since."""
    proven_now = sum(n for proof, n in result.proofs.items() if proof != "size_only")
    return result.unchanged - result.compared + proven_now


def _not_yet(follower: Follower, told: dict[str, object] | None) -> str:
    p = follower.progress
    if told is not None and not p.listed:
        return f"{told.get('proven', 0)} of {told.get('objects_total', 0)} proven before the restart; a new round is due"
    return f"{p.objects_done} of {p.objects_total} so far" if p.objects_total else "no round has ended yet"


def _status(follower: Follower) -> Status:
    if follower.error is not None:
        return "failed"
    last = follower.last.get(follower.direction)
    if follower.progress.status in ("listing", "copying"):
        # A listing after a round in sync is no news.
        in_sync = last is not None and last.is_proven and follower.progress.to_copy_objects == 0
        return "in sync" if in_sync else follower.progress.status
    return "in sync" if last is not None and last.is_proven else follower.progress.status


def _waiting(follower: Follower, direction: Direction) -> int:
    """Objects that a round under way has still to copy."""
    p = follower.progress
    is_copying = follower.direction == direction and p.status == "copying"
    return p.to_copy_objects - p.copied_objects if is_copying else 0
