"""Both sides of a validation run, seed by seed, and the verdict."""

from __future__ import annotations

import asyncio
import hashlib
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backends.errors import UsageError, unwrapped
from backends.escape import plain
from backends.plan.models import Measure, Plan, TrialFigure, TrialRun, Workload
from backends.snapshot import PointView
from backends.ssh.pool import SshPool
from backends.validation.causes import Cause, likely_causes
from backends.validation.compare import compare_points
from backends.validation.curve import Curve
from backends.validation.errors import TrialFailed
from backends.validation.feed import Feed
from backends.validation.files import FileReader
from backends.validation.gate import BATCH_WITHIN, DEFAULT_WITHIN
from backends.validation.measured import direction_of
from backends.validation.memory import Use, judge_room
from backends.validation.oom import memory_line
from backends.validation.rule import Rule
from backends.validation.series import Sample, Series
from backends.validation.speed import judge_speed
from backends.validation.trial.environment import MACHINES, Difference, causes_in, environment, in_words, unlike
from backends.validation.trial.gpus import watched_gpus
from backends.validation.trial.paired import Place, compare_pairs
from backends.validation.trial.remote import Ended, RemoteRun
from backends.verdict import Verdict, worst
from backends.vocabulary import SIDES, SideName

_SPEEDS = ("step_time", "throughput")
_MEMORY = TrialFigure.model_construct(value="GPU memory", kind="memory")
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class SideRun:
    """One seed on one side: how it ended, and each figure's series."""

    seed: int
    ended: Ended
    series: dict[str, Series] = field(default_factory=dict)
    memory: Use | None = None
    causes: tuple[Cause, ...] = ()  # what may have made it slow, by what its GPUs showed
    settings: Mapping[str, str] = field(default_factory=dict)  # what its log says of how it was made

    def as_json(self) -> dict[str, Any]:
        hashes = {name: {"samples": len(series), "sha256": _hash(series)} for name, series in self.series.items()}
        told = {"seed": self.seed, "status": self.ended.status, "seconds": round(self.ended.seconds, 3), "series": hashes}
        return told | {"gpu_memory": {"peak": self.memory.peak, "capacity": self.memory.capacity} if self.memory else None}


@dataclass(frozen=True, slots=True)
class Judged:
    """The verdict on one figure."""

    figure: TrialFigure
    verdict: Verdict
    reason: str
    points: tuple[dict[str, Any], ...] = ()

    def as_json(self) -> dict[str, Any]:
        told = {"value": self.figure.value, "kind": self.figure.kind, "verdict": self.verdict.value, "reason": self.reason}
        return told | {"points": list(self.points)}


@dataclass(frozen=True, slots=True)
class Trial:
    """All that came of a validation run; `as_json` is what the journal keeps."""

    workload: str
    command: tuple[str, ...]
    hosts: dict[SideName, str]
    runs: dict[SideName, tuple[SideRun, ...]]
    environments: dict[SideName, dict[str, str]]
    judged: tuple[Judged, ...]
    verdict: Verdict
    reason: str
    causes: tuple[Cause, ...] = ()

    def as_json(self) -> dict[str, Any]:
        sides = {
            side: {
                "host": self.hosts[side],
                "runs": [r.as_json() for r in self.runs[side]],
                "environment": self.environments[side],
            }
            for side in SIDES
        }
        told: dict[str, Any] = {"workload": self.workload, "command": list(self.command), "sides": sides}
        apart = unlike(self.environments["legacy"], self.environments["target"])
        told["differences"] = [{"name": name, "legacy": old, "target": new} for name, old, new in apart]
        told["metrics"] = [j.as_json() for j in self.judged]
        told["causes"] = [{"cause": c.cause, "evidence": c.evidence} for c in self.causes]
        return told | {"verdict": self.verdict.value, "reason": self.reason}


def trial_of(plan: Plan, name: str | None) -> tuple[Workload, TrialRun]:
    """The workload to validate; the name may be left out where only one can be. Raises `UsageError`."""
    able = {w.name: w for w in plan.workloads if w.validate_ is not None}
    if not able:
        raise UsageError("no workload of the plan has `validate`", hint="give it a command that trains a little: docs/plan.md")
    if name is None and len(able) > 1:
        raise UsageError("which workload?", hint=f"--workload {' or '.join(able)}")
    workload = able.get(name) if name is not None else next(iter(able.values()))
    if workload is None or workload.validate_ is None:
        raise UsageError(f"workload {plain(name or '')} has no `validate`", hint=f"one of {', '.join(able)}")
    return workload, workload.validate_


async def run_trial(plan: Plan, workload: Workload, spec: TrialRun, pool: SshPool, tell: Tell = lambda text: None) -> Trial:
    """Train on both sides at once, seed after seed, and judge. Raises `TrialFailed` where a side cannot be trained on."""
    hosts = {side: _host(plan, workload, side) for side in SIDES}
    places = {side: asyncio.create_task(environment(pool, hosts[side], spec.command)) for side in SIDES}
    runs: dict[SideName, list[SideRun]] = {side: [] for side in SIDES}
    try:
        for seed in spec.seeds:
            tell(f"{workload.name}: seed {seed} on {hosts['legacy']} and {hosts['target']}")
            with unwrapped():
                async with asyncio.TaskGroup() as group:
                    tasks = {side: group.create_task(_one(pool, hosts[side], spec, seed), name=f"train {side}") for side in SIDES}
            for side in SIDES:
                runs[side].append(tasks[side].result())
        environments = {side: await places[side] for side in SIDES}
    finally:
        for task in places.values():
            task.cancel()
    return _judged(workload, spec, hosts, {side: tuple(runs[side]) for side in SIDES}, environments)


def _host(plan: Plan, workload: Workload, side: SideName) -> str:
    named = getattr(workload.runs_on, side) or tuple(h.name for h in plan.side(side).hosts)
    if not named:
        raise UsageError(f"workload {workload.name} runs on no host of {side}", hint="name one in `runs_on`")
    return str(named[0])


async def _one(pool: SshPool, host: str, spec: TrialRun, seed: int) -> SideRun:
    async with RemoteRun(pool, host, spec.command, folder=spec.folder or "", env=spec.env, seed=seed) as run:
        async with watched_gpus(pool, host) as gpus:
            ended = await run.wait(spec.timeout)
        if ended.status:
            ran_out = memory_line(ended.output.encode())
            text = (
                f"memory ran out on {plain(host)} (seed {seed}): {ran_out}"
                if ran_out
                else f"the command ended with {ended.status} on {plain(host)} (seed {seed}): {ended.output[-500:] or 'it printed nothing'}"
            )
            raise TrialFailed(text)
        series: dict[str, Series] = {}
        settings: dict[str, str] = {}
        for figure in spec.compare:
            feed = Feed(run.source(figure.value, figure.by), FileReader(pool), pinned=figure.at)
            await feed.poll()
            while feed.error is None and not feed.is_caught_up:
                await feed.poll()
            if feed.error is not None:
                raise TrialFailed(f"no {plain(figure.value, 60)} from {plain(host)} (seed {seed}): {feed.error}")
            series[figure.value] = feed.series
            settings |= feed.settings
        return SideRun(seed, ended, series, gpus.use, gpus.causes, settings)


def _judged(
    workload: Workload,
    spec: TrialRun,
    hosts: dict[SideName, str],
    runs: dict[SideName, tuple[SideRun, ...]],
    environments: dict[SideName, dict[str, str]],
) -> Trial:
    judged = tuple(judge_figure(workload, f, *([r.series[f.value] for r in runs[side]] for side in SIDES)) for f in spec.compare)
    old, new = (min((r.memory for r in runs[side] if r.memory is not None), key=lambda u: u.free, default=None) for side in SIDES)
    if new is not None:
        judged += (Judged(_MEMORY, *judge_room(old, new)),)
    verdict = worst([j.verdict for j in judged])
    decisive = next(j for j in judged if j.verdict is verdict)
    reason = f"{decisive.figure.value}: {decisive.reason}"
    differences = unlike(environments["legacy"], environments["target"])
    apart = in_words(differences)
    if verdict is not Verdict.PASS:
        reason += f"; the sides differ in {apart}" if apart else "; no difference of the two environments was seen"
    causes = likely(decisive.figure, runs, differences, workload) if verdict is not Verdict.PASS else ()
    return Trial(workload.name, spec.command, hosts, runs, environments, judged, verdict, reason, causes)


def likely(
    figure: TrialFigure, runs: dict[SideName, tuple[SideRun, ...]], differences: Sequence[Difference], workload: Workload
) -> tuple[Cause, ...]:
    """Most likely first: of a curve what differs in software, then the shape of the differences, then the machines; of a speed the machines
    as they were seen, then all that differs."""
    apart = causes_in(differences)
    seen = tuple(dict.fromkeys(c for r in runs["target"] for c in r.causes))
    if figure.kind in _SPEEDS:
        return seen + apart
    software = tuple(c for c in apart if c.cause != MACHINES)
    return software + _shape(figure, runs, workload) + tuple(c for c in apart if c.cause == MACHINES) + seen


def _shape(figure: TrialFigure, runs: dict[SideName, tuple[SideRun, ...]], workload: Workload) -> tuple[Cause, ...]:
    """What the logs of the first seed say of how the runs were made, and what their differences look like along the curve."""
    if figure.value not in runs["legacy"][0].series:
        return ()
    old, new = (_curve(runs[side][0].series[figure.value], runs[side][0].settings) for side in SIDES)
    measure, within = _asked(workload, figure)
    rule = Rule(within, direction_of(measure))
    found = compare_points(old, new, tolerance=within, higher_is_better=rule.higher_is_better)
    return tuple(likely_causes(found.judged, [old], [new], rule))


def _curve(series: Series, settings: Mapping[str, str]) -> Curve:
    curve = Curve(series.by)
    curve.settings = dict(settings)
    curve.extend(Sample(x, x, v) for x, v in series.points())
    return curve


def _asked(workload: Workload, figure: TrialFigure) -> tuple[Measure, float]:
    """The figure as gates' code is asked, and by how much the target may be worse."""
    at = {"name": "figure", "workload": workload.name, "kind": figure.kind, "legacy": {}, "target": {}}
    measure = Measure.model_validate(at | {"higher_is_better": figure.higher_is_better})
    within = figure.within
    if within is None:
        within = BATCH_WITHIN if workload.class_ == "batch" and figure.kind in _SPEEDS else DEFAULT_WITHIN[figure.kind]
    return measure, within


def judge_figure(workload: Workload, figure: TrialFigure, old: Sequence[Series], new: Sequence[Series]) -> Judged:
    """Curves at places; step times and throughput by their medians, each run without its warm-up."""
    measure, within = _asked(workload, figure)
    if figure.kind in _SPEEDS:
        found, _ = judge_speed(measure, old, new, within)
        return Judged(figure, found.verdict, found.reason)
    if len(old) > 1:
        paired = compare_pairs(old, new, figure.at, within, direction_of(measure))
        return Judged(figure, paired.verdict, paired.reason, tuple(_pairs(p) for p in paired.places))
    compared = compare_points(
        list(old), list(new), at=figure.at or None, tolerance=within, higher_is_better=direction_of(measure)
    )  # fmt: skip
    return Judged(figure, compared.verdict, compared.reason, tuple(_point(p) for p in compared.points))


def _pairs(place: Place) -> dict[str, Any]:
    return {"at": place.at, "delta": place.delta, "half": place.half, "verdict": place.verdict.value}


def _point(point: PointView) -> dict[str, Any]:
    """For the journal, which holds no NaN and no infinity."""
    told = point.model_dump(mode="json")
    return {name: None if isinstance(v, float) and not math.isfinite(v) else v for name, v in told.items()}


def _hash(series: Series) -> str:
    """SHA-256 over all places and values, as doubles: what a verdict was made of."""
    digest = hashlib.sha256()
    for x, value in series.points():
        digest.update(struct.pack("<dd", x, value))
    return digest.hexdigest()
