"""Contenders on the same work, in turns: an empty target for each run, and its contents compared after it."""

from __future__ import annotations

import contextlib
import itertools
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.contenders import OURS, Contender, told
from tests.bench.contents import Contents, compare
from tests.bench.outcome import Outcome, Run, Verdict
from tests.bench.processes import cost_of
from tests.bench.servers import Place

Tell = Callable[[str], None]
_numbers = itertools.count(1)
_HOPELESS = 4  # times the fastest's wall: such a peer runs no further turn


@dataclass(frozen=True, slots=True)
class Bars:
    """Of the best peer's wall, and of that peer's CPU; None: no bar. Families that are shown `beside` are nobody's peers."""

    wall: float
    cpu: float | None = None
    wall_text: str = "wall against the best peer's"
    beside: frozenset[str] = frozenset()


def number() -> int:
    """For names of buckets and folders that are made once."""
    return next(_numbers)


async def race(
    outcome: Outcome,
    contenders: Sequence[Contender],
    source: Place,
    new_target: Callable[[], Place],
    expected: Contents,
    scratch: Path,
    *,
    runs: int,
    tell: Tell,
    seen: Callable[[Place], Place] = lambda place: place,
) -> None:
    """Fill `outcome.runs`. A family with several variants runs each once first (twice where there are more than 3 runs), and goes on
    with its fastest. A peer that took over 4 times as long as the fastest run takes part in no further turn.

    `seen` turns a place into what the measured programs are given for it (behind a proxy). Raises `ProgramFailed`, `WrongCopy`.
    """

    async def once(contender: Contender) -> Run:
        target = new_target()
        async with emptied(target), empty_folder(scratch) as folder:
            command = contender.command(seen(source), seen(target), folder)
            cost = await cost_of(command)
            compare(expected, await target.contents(), contender.name)
        if contender.family.startswith(OURS):
            proofs = told(cost.out)["proofs"]
            assert isinstance(proofs, dict)
            told_of = ", ".join(f"{kind.replace('_', ' ')} {count:,}" for kind, count in proofs.items() if count)
            outcome.notes = [f"ours proves by {told_of}"]
        run = Run(contender.name, cost.wall, cost.cpu, cost.rss)
        tell(f"  {run.contender:<34} {run.wall:8.2f} s  {run.cpu:8.2f} CPU s  {run.rss / 1e6:7.0f} MB")
        return run

    chosen = []
    for family in dict.fromkeys(c.family for c in contenders):
        variants = [c for c in contenders if c.family == family]
        if len(variants) > 1:
            tries = [await once(c) for _ in range(2 if runs > 3 else 1) for c in variants]
            outcome.tried += tries
            fastest = min(tries, key=lambda run: run.wall).contender
            variants = [c for c in variants if c.name == fastest]
        chosen += variants
    for turn in range(runs):
        first = turn % len(chosen)
        for contender in chosen[first:] + chosen[:first]:
            outcome.runs.append(await once(contender))
        least = min(run.wall for run in outcome.runs)
        hopeless = {run.contender for run in outcome.runs if run.wall > _HOPELESS * least and not run.contender.startswith(OURS)}
        chosen = [c for c in chosen if c.name not in hopeless]


@contextlib.asynccontextmanager
async def emptied(place: Place) -> AsyncIterator[Place]:
    """A place that is made for one run and dropped after."""
    await place.make()
    try:
        yield place
    finally:
        await place.drop()


@contextlib.asynccontextmanager
async def empty_folder(scratch: Path) -> AsyncIterator[Path]:
    with tempfile.TemporaryDirectory(prefix="run-", dir=scratch) as folder:
        yield Path(folder)


def judge(outcome: Outcome, bars: Bars) -> None:
    """Add the verdicts of ours against the best peer."""
    names = outcome.contenders()
    ours = next(name for name in names if name.startswith(OURS))
    peers = [name for name in names if name != ours and not name.startswith(tuple(bars.beside))]
    if not peers:
        outcome.notes.append("no peer is here: nothing to be held against")
        return
    best = outcome.best(peers)
    outcome.verdicts.append(
        Verdict(f"{bars.wall_text} ({best})", outcome.median(ours, "wall") / outcome.median(best, "wall"), bars.wall)
    )
    if bars.cpu is not None:
        outcome.verdicts.append(
            Verdict(f"CPU against its ({best})", outcome.median(ours, "cpu") / outcome.median(best, "cpu"), bars.cpu)
        )
