"""`cutover baseline`: legacy's figures read from the sources and recorded in the journal, workload by workload."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backends.cutover.events import Kind
from backends.errors import UsageError
from backends.escape import plain
from backends.plan.defaults import gates_of
from backends.plan.models import Measure
from backends.validation.baseline import Baseline, take
from backends.validation.followed import Followed
from backends.vocabulary import Phase

if TYPE_CHECKING:
    from backends.engine.core import Engine

READ_LIMIT = 300.0  # seconds for all sources of a measure
_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a measure: its baseline, or why there is none."""

    measure: Measure
    baseline: Baseline | None
    reason: str = ""

    def as_json(self) -> dict[str, Any]:
        out = self.baseline.as_json() if self.baseline is not None else {}
        told = {"measure": self.measure.name, "workload": self.measure.workload, "kind": self.measure.kind}
        text = self.baseline.text if self.baseline is not None else ""
        return told | out | {"recorded": self.baseline is not None, "reason": self.reason, "text": text}


async def take_baseline(engine: Engine, workload: str | None, runs: Mapping[str, Sequence[str]], actor: str) -> list[Taken]:
    """Read every measure's legacy source (and the further `runs` of it), record what was found. Raises `UsageError` for names that the plan
    does not have; what cannot be read is told, not raised."""
    measures = _chosen(engine, workload, runs)
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(measure: Measure) -> Taken:
        async with turns:
            return await _take(engine, measure, runs.get(measure.name, ()))

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(measure), name=f"baseline {measure.name}") for measure in measures]
    taken = [task.result() for task in tasks]
    found = [t.baseline.as_json() | {"text": t.baseline.text} for t in taken if t.baseline is not None]
    if found:
        await engine.record(Kind.BASELINE, {"measures": found, "count": len(found)}, actor=actor)
    return taken


def _chosen(engine: Engine, workload: str | None, runs: Mapping[str, Sequence[str]]) -> list[Measure]:
    plan = engine.plan
    names = [w.name for w in plan.workloads]
    if workload is not None and workload not in names:
        raise UsageError(f"the plan has no workload {plain(workload)}", hint=f"one of {', '.join(names)}")
    found = [m for m in plan.measures if workload is None or m.workload == workload]
    if not found:
        raise UsageError("the plan has no measure to record", hint="name legacy's and the target's figures under `measures`")
    unknown = [name for name in runs if name not in {m.name for m in found}]
    if unknown:
        raise UsageError(f"no measure {plain(unknown[0])}", hint=f"one of {', '.join(m.name for m in found)}")
    return found


async def _take(engine: Engine, measure: Measure, further: Sequence[str]) -> Taken:
    pinned = tuple(
        sorted({p for phase in Phase for g in gates_of(engine.plan, phase) if g.measure == measure.name for p in g.at})
    )
    if further and measure.legacy.prometheus is not None:
        return Taken(measure, None, "further runs are files or MLflow's; this measure's source is neither")
    field = "run" if measure.legacy.mlflow is not None else "file"
    sources = [measure.legacy, *(measure.legacy.model_copy(update={field: run}) for run in further)]
    feeds = [engine.world.follow(source, pinned) for source in sources]
    try:
        async with asyncio.timeout(READ_LIMIT):
            for feed in feeds:
                await _read_whole(feed)
    except TimeoutError:
        return Taken(measure, None, f"not read within {READ_LIMIT:.0f} s")
    wrong = next((feed.error for feed in feeds if feed.error is not None), None)
    if wrong is not None:
        return Taken(measure, None, wrong)
    found = take(measure, [feed.series for feed in feeds], pinned)
    return Taken(measure, None, found) if isinstance(found, str) else Taken(measure, found)


async def _read_whole(feed: Followed) -> None:
    """Poll until all of it was read: a poll reads a bounded amount."""
    await feed.poll()
    while feed.error is None and not feed.is_caught_up:
        await feed.poll()
