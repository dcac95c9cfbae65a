"""The steps of a rollback, routes apart from each other: one that cannot be moved keeps no other from going home.

Weights that follow each other are set at the same time. One that takes its time goes on while the rest does, and what has to do with that
route waits for it; one that failed keeps only what has to do with its route from being done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence, Set

from backends.cutover.steps.base import Step
from backends.cutover.steps.weight import SetWeight
from backends.errors import CouldNot

PATIENCE = 3.0  # seconds that the rest waits for a weight
Numbered = tuple[int, Step]
Touches = Callable[[Step], Set[str]]
Perform = Callable[[int, Step], Awaitable[None]]


class StepFailed(CouldNot):
    """A step did not come to be. `foreign`: because somebody else had changed the world."""

    code = "step_failed"

    def __init__(self, step: Step, reason: str, *, foreign: bool = False) -> None:
        super().__init__(f"{step.text}: {reason}")
        self.step = step
        self.reason = reason
        self.foreign = foreign


class RoutesAway(CouldNot):
    """All is done but what has to do with these routes. `routes`: why, by name."""

    code = "routes_away"

    def __init__(self, routes: dict[str, str]) -> None:
        super().__init__("; ".join(routes.values()))
        self.routes = routes


class Apart:
    """Performs one run's steps. `touches`: the routes that a step has to do with."""

    def __init__(self, perform: Perform, touches: Touches) -> None:
        self._perform = perform
        self._touches = touches
        self._away: dict[str, str] = {}
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._late: list[Numbered] = []

    async def go(self, steps: Sequence[Step]) -> None:
        """All of them. Raises `RoutesAway` at the end, and at once what forbids a step or fails one that moves no route."""
        try:
            for group in self._groups(steps):
                await self._begin(group)
            for task in self._under_way.values():
                await task
            self._under_way.clear()
            for index, step in self._late:
                if not self._touches(step) & self._away.keys():
                    await self._or_away(index, step)
        finally:
            await self._end()
        if self._away:
            raise RoutesAway(self._away)

    def _groups(self, steps: Sequence[Step]) -> Iterator[list[Numbered]]:
        group: list[Numbered] = []
        for index, step in enumerate(steps):
            if group and not (self._is_apart(step) and self._is_apart(group[-1][1])):
                yield group
                group = []
            group.append((index, step))
        if group:
            yield group

    def _is_apart(self, step: Step) -> bool:
        return isinstance(step, SetWeight) and bool(self._touches(step))

    async def _begin(self, group: list[Numbered]) -> None:
        due: list[Numbered] = []
        for index, step in group:
            touched = self._touches(step)
            if touched & self._away.keys():
                continue
            waits = any(touched & self._touches(before) for _, before in self._late)
            (self._late if waits or touched & self._under_way.keys() else due).append((index, step))
        if due and not self._is_apart(due[0][1]):
            await self._or_away(*due[0])
        elif due:
            loop = asyncio.get_running_loop()
            tasks = {s.args()["route"]: loop.create_task(self._or_away(i, s), name=s.text) for i, s in due}
            self._under_way |= tasks
            done, _ = await asyncio.wait(tasks.values(), timeout=PATIENCE, return_when=asyncio.FIRST_EXCEPTION)
            for route, task in tasks.items():
                if task in done:
                    self._under_way.pop(route).result()

    async def _or_away(self, index: int, step: Step) -> None:
        """Perform a step; of one that moves a route, note that it failed."""
        try:
            await self._perform(index, step)
        except StepFailed as error:
            if "route" not in step.args():
                raise
            self._away[step.args()["route"]] = error.message

    async def _end(self) -> None:
        for task in self._under_way.values():
            task.cancel()
        await asyncio.gather(*self._under_way.values(), return_exceptions=True)
