"""A workload on both sides, each in its own way."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from backends.escape import plain
from backends.kubernetes.client import KubernetesClient
from backends.plan.ways import NewestCheckpoint, Way
from backends.ssh.place import Places, shown, shown_argv
from backends.stores.base import Store
from backends.stores.errors import StoreError
from backends.vocabulary import SideName
from backends.workloads.base import NoWay, Outcome, Standing, WorkloadError
from backends.workloads.newest import newest_step

StoreOf = Callable[[str, SideName], Store]


class SideControl(Protocol):
    """One workload on one side. What each does is said in `base.WorkloadControl`."""

    async def quiesce(self) -> Outcome: ...

    async def resume(self, pinned: Mapping[str, Any]) -> Outcome: ...

    async def stop_new_work(self) -> Outcome: ...

    async def drain(self) -> Outcome: ...

    async def look(self) -> Standing: ...

    async def pin(self) -> dict[str, Any]: ...


class Control:
    """One workload; `ways` and `places` belong to the sides that the plan speaks of."""

    def __init__(
        self,
        name: str,
        sides: Mapping[SideName, SideControl],
        ways: Mapping[SideName, Way],
        places: Mapping[SideName, Places],
        clients: Sequence[KubernetesClient] = (),
        store_of: StoreOf | None = None,
    ) -> None:
        self._store_of = store_of
        self.name = name
        self._sides = sides
        self._ways = ways
        self._places = places
        self._clients = clients

    async def quiesce(self, side: SideName) -> Outcome:
        return await self._side(side).quiesce()

    async def resume(self, side: SideName, pinned: Mapping[str, Any]) -> Outcome:
        return await self._side(side).resume(pinned)

    async def stop_new_work(self, side: SideName) -> Outcome:
        return await self._side(side).stop_new_work()

    async def drain(self, side: SideName) -> Outcome:
        return await self._side(side).drain()

    async def look(self, side: SideName) -> Standing:
        try:
            return await self._side(side).look()
        except NoWay as error:
            return Standing("unknown", error.message)

    async def pin(self, side: SideName) -> dict[str, Any]:
        return await self._side(side).pin()

    async def step(self, side: SideName) -> int | None:
        """One number from the first place: training has one step, however many hosts it runs on."""
        way = self._ways.get(side)
        if way is not None and way.checkpoint is not None:
            return await self._checkpoint(side, way.checkpoint, way.timeout)
        if way is None or way.step is None:
            return None
        places = self._places[side]
        said = await places.run(places.hosts[0], way.step, way.timeout)
        if said.status != 0 or not re.fullmatch(r"[0-9]{1,15}", said.out.strip()):
            raise WorkloadError(
                f"workload {self.name} on {side}: `{shown_argv(way.step)}` on {shown(places.hosts[0])} ended with {said.status}, "
                f"and printed {plain(repr(said.out), 120)}, not a step",
                where=f"workloads.{self.name}.quiesce.step",
                hint="it must print one number, and nothing else",
            )
        return int(said.out)

    async def _checkpoint(self, side: SideName, spec: NewestCheckpoint, limit: float) -> int:
        """The step of the newest checkpoint that is complete."""
        where = f"workloads.{self.name}.quiesce.checkpoint"
        what = f"workload {self.name} on {side}: checkpoints of {spec.dataset}"
        assert self._store_of is not None
        try:
            async with asyncio.timeout(limit):
                step = await newest_step(self._store_of(spec.dataset, side), spec.marker)
        except TimeoutError as error:
            raise WorkloadError(f"{what} were not listed within {limit:g} s", where=where, hint="a longer timeout") from error
        except StoreError as error:
            raise WorkloadError(f"{what} could not be listed: {error.message}", where=where, hint=error.hint) from error
        if step is None:
            raise WorkloadError(f"{what}: none holds {plain(spec.marker, 60)}", where=where, hint="has one been finished?")
        return step

    async def close(self) -> None:
        for client in self._clients:
            await client.close()

    def _side(self, side: SideName) -> SideControl:
        if side not in self._sides:
            raise NoWay(
                f"workload {self.name}: the plan does not say how it is stopped on {side}",
                where=f"workloads.{self.name}.quiesce.{side}",
            )
        if self._ways[side].kind != "kubernetes" and not self._places[side].hosts:
            raise NoWay(
                f"workload {self.name}: it has no host on {side} to run commands on",
                where=f"workloads.{self.name}.runs_on.{side}",
                hint="name its hosts, or `on: engine`",
            )
        return self._sides[side]
