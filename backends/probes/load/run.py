"""An open loop over one side or both: what is due leaves when it is due. Slices of the time are kept and can be gone on from.

Coordinated omission (G. Tene, "How NOT to Measure Latency"): a request that is late because answers are slow counts from when it was
due, and no answer is waited for before the next leaves.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

from backends.errors import CouldNot
from backends.escape import plain
from backends.probes.load.answers import Answers, Sameness
from backends.probes.load.connection import Exchange
from backends.probes.load.pace import Pace
from backends.probes.load.schedule import Planned
from backends.probes.load.side import Request, Side, Slice, Wire
from backends.vocabulary import SideName

SWEEP = 0.2
WARM = 8


@dataclass(frozen=True, slots=True)
class LoadPlan:
    """What is sent where. `seconds` and `count` bound it; `compared` is how many answers a second are held against each other."""

    requests: dict[SideName, Request]
    seconds: float
    count: int | None = None
    timeout: float = 30.0
    connections: int = 4096
    stream: bool = False
    slice_seconds: float = 10.0
    compared: float = 50.0
    sameness: Sameness = field(default_factory=Sameness)
    skip: float = 0.0  # seconds that an earlier run has done already


@dataclass(slots=True)
class SliceDone:
    """A slice that has ended: its start in seconds, and each side's."""

    at: float
    sides: dict[SideName, Slice]


class LoadRun:
    """Iterate `run` for the slices as they end; `answers` says whether both sides agree."""

    def __init__(self, plan: LoadPlan, schedule: Iterator[Planned], seed: int = 0) -> None:
        self._plan = plan
        self._schedule = schedule
        self._chance = random.Random(seed)
        self._wires = {side: Wire(request) for side, request in plan.requests.items()}
        self.answers = Answers(plan.sameness)
        self._next_compared = 0.0

    async def run(self) -> AsyncIterator[SliceDone]:
        """Until the time, the count or the schedule is over, and what is under way has ended. Raises `CouldNot` where a side does not
        let itself be connected to at all."""
        plan = self._plan
        sides = [
            Side(
                name, wire, timeout=plan.timeout, connections=plan.connections, stream=plan.stream, answered=self._answered
            )
            for name, wire in self._wires.items()
        ]  # fmt: skip
        pace = Pace()
        try:
            for side in sides:
                try:
                    await side.warm(WARM)
                except (OSError, TimeoutError) as error:
                    text = f"{side.name} cannot be loaded at {plain(side.wire.host)}:{side.wire.port}: {plain(str(error) or 'no answer')}"
                    raise CouldNot(text) from error
            async for done in self._go(sides, pace):
                yield done
        finally:
            pace.close()
            for side in sides:
                await side.close()

    async def _go(self, sides: list[Side], pace: Pace) -> AsyncIterator[SliceDone]:
        plan, clock = self._plan, time.monotonic
        start = clock() + 0.05 - plan.skip
        slice_at, swept = plan.skip, clock()
        index = 0
        upcoming = next(self._schedule, None)
        while upcoming is not None and upcoming.at < plan.skip:
            upcoming = next(self._schedule, None)
        while True:
            now = clock() - start
            while upcoming is not None and upcoming.at <= now and not self._is_over(upcoming, index):
                self._send(sides, index, start + upcoming.at, upcoming)
                index += 1
                upcoming = next(self._schedule, None)
                if index % 64 == 0:  # a burst must not keep answers from being seen
                    await asyncio.sleep(0)
            if clock() - swept >= SWEEP:
                swept = clock()
                for side in sides:
                    side.sweep()
            if now - slice_at >= plan.slice_seconds:
                yield self._cut(sides, slice_at)
                slice_at += plan.slice_seconds
            over = upcoming is None or self._is_over(upcoming, index)
            if over and not any(side.under_way for side in sides):
                break
            target = upcoming.at if upcoming is not None and not over else now + 0.02
            await pace.wait(min(target - (clock() - start), SWEEP))
        yield self._cut(sides, slice_at)

    def _is_over(self, upcoming: Planned, index: int) -> bool:
        return upcoming.at >= self._plan.seconds or (self._plan.count is not None and index >= self._plan.count)

    def _send(self, sides: list[Side], index: int, due: float, planned: Planned) -> None:
        keep = len(sides) == 2 and self._plan.compared > 0 and due >= self._next_compared
        if keep:
            self._next_compared = max(self._next_compared + 1 / self._plan.compared, due - 1.0)
        if len(sides) == 2 and self._chance.random() < 0.5:  # neither side is always the first
            sides = sides[::-1]
        for side in sides:
            side.send(index, due, side.wire.bytes_of(planned.method, planned.path, planned.body), keep=keep)

    def _answered(self, side: SideName, exchange: Exchange) -> None:
        if exchange.keep:
            self.answers.take(side, exchange)

    def _cut(self, sides: list[Side], at: float) -> SliceDone:
        done = SliceDone(at, {side.name: side.slice for side in sides})
        for side in sides:
            side.slice = Slice()
        return done
