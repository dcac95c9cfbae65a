"""The real world of a migration: SSH, routes, workloads, stores, probes, opened from the plan and read by steps and rules."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from datetime import datetime
from pathlib import Path
from typing import Protocol, Self

from backends.children import Children
from backends.cutover.backups import usable
from backends.cutover.migration import Migration
from backends.cutover.preflight import Proof
from backends.cutover.rules import delete_refusal
from backends.cutover.world import RoundEnd, SideHealth
from backends.engine.clock import utc_now
from backends.engine.failpoints import failpoint
from backends.engine.retiring import Retiring
from backends.engine.runner import Leased, unleased
from backends.engine.sides import SideWatch
from backends.engine.ssh_choice import with_choice
from backends.errors import CouldNot, CutoverError
from backends.escape import plain
from backends.plan.models import Plan, Source
from backends.probes.fleet import GpuFleet
from backends.probes.hosts import dcgm_pages, ssh_hosts, ssh_settings, watched_paths
from backends.ssh.pool import SshPool
from backends.traffic.base import LongAnswer, Route
from backends.traffic.open import open_route
from backends.transfer.models import Direction, Progress, RoundResult
from backends.transfer.restore import choose, restore, restored_words, stamp_of
from backends.transfer.session import TransferSession
from backends.transfer.verify import Problem
from backends.validation.feed import Feed
from backends.validation.files import FileReader
from backends.validation.followed import Followed
from backends.validation.mlflow_feed import MlflowFeed
from backends.validation.prometheus_feed import PrometheusFeed
from backends.validation.web import Web
from backends.vocabulary import SIDES, SideName
from backends.workloads.base import WorkloadControl
from backends.workloads.open import open_workload

ROUNDS_TO_ZERO = 20
ORPHAN_LIMIT = 90.0


class Keeper(Protocol):
    """Who keeps the fold and the clock."""

    @property
    def migration(self) -> Migration: ...

    def observed_now(self) -> float: ...

    def stamp(self) -> float: ...


class LiveWorld:
    """Opened with `async with`; everything in it is closed at the end."""

    def __init__(self, plan: Plan, base: Path, state_dir: Path, keeper: Keeper) -> None:
        self.plan = plan
        self.base = base
        self._keeper = keeper
        self.on_round: Callable[[RoundResult, float], Awaitable[None]] | None = None  # and when it began
        self.leased: Leased = unleased
        self._state_dir = state_dir
        self._stack = AsyncExitStack()
        self._routes: dict[str, Route] = {}
        self._controls: dict[str, WorkloadControl] = {}
        self._busy: dict[str, asyncio.Lock] = {d.name: asyncio.Lock() for d in plan.datasets}
        hosts = ssh_hosts(plan)
        self.children = Children(state_dir / "children.json")
        self.ssh = SshPool(with_choice(ssh_settings(plan, base), state_dir), [host for _, host in hosts])
        self.fleet = GpuFleet(self.ssh, hosts, paths=watched_paths(plan), dcgm=dcgm_pages(plan), clock=keeper.stamp)
        self._reader = FileReader(self.ssh)
        self._web = Web()
        self.session = TransferSession(plan, base, state_dir, self.ssh, delete_barred=self._delete_barred)
        self._odd: dict[str, tuple[Problem, ...]] = {}  # what the last comparison of a dataset left unexplained
        self._retiring = Retiring(plan, base, self.children, self.ssh)
        self.proofs: dict[str, Proof] = {}  # kept by `backends.engine.preflight`
        self.backup_errors: dict[str, str] = {}  # dataset -> why it cannot be backed up now; kept by `backends.engine.backups`
        self.sides: dict[SideName, SideWatch] = {side: SideWatch(side, plan, self.ssh) for side in SIDES}

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.ssh)
        await self._stack.enter_async_context(self._web)
        await self._stack.enter_async_context(self.session)
        for spec in self.plan.routes:
            route = open_route(spec, base=self.base, children=self.children, pool=self.ssh)
            self._stack.push_async_callback(route.close)
            if self.migration.armed is not None:
                route.restore(self.migration.armed.pins.get(spec.name, {}))
            long = self.migration.long_answers.get(spec.name)
            if long is not None and (left := long.left(self.observed_now())) > 0:
                route.recall(LongAnswer(long.ttl, left, long.names_target))
            self._routes[spec.name] = route
        for side in self.sides.values():
            side.routes = tuple(self._routes.values())
        for workload in self.plan.workloads:
            control = open_workload(workload, self.ssh, base=self.base, children=self.children, store_of=self.session.side_of)
            if control is not None:
                self._stack.push_async_callback(control.close)
                self._controls[workload.name] = control
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    @property
    def migration(self) -> Migration:
        return self._keeper.migration

    def follow(self, source: Source, pinned: Iterable[float]) -> Followed:
        """One side's figures of a measure, followed from now on."""
        if source.prometheus is not None:
            return PrometheusFeed(source, self._web, base=self.base, pinned=pinned, clock=self._keeper.stamp, wall=time.time)
        if source.mlflow is not None:
            return MlflowFeed(source, self._web, base=self.base, pinned=pinned, clock=self._keeper.stamp, wall=time.time)
        return Feed(source, self._reader, pinned=pinned, clock=self._keeper.stamp, wall=time.time)

    @property
    def routes(self) -> Mapping[str, Route]:
        return self._routes

    @property
    def controls(self) -> Mapping[str, WorkloadControl]:
        return self._controls

    def observed_now(self) -> float:
        return self._keeper.observed_now()

    def wall_now(self) -> datetime:
        return utc_now()

    def side(self, side: SideName) -> SideHealth:
        return self.sides[side].health()

    async def look_at_side(self, side: SideName) -> SideHealth:
        return await self.sides[side].look_now()

    async def orphans_gone(self) -> None:
        """Wait until no child of an engine before us acts any more, for as long as a child may live."""
        for _ in range(int(ORPHAN_LIMIT / 0.1)):
            if not await self.children.still_running():
                return
            await asyncio.sleep(0.1)

    async def round(
        self,
        dataset: str,
        direction: Direction,
        progress: Progress | None = None,
        *,
        dry_run: bool = False,
        retry_failed: bool = False,
        accept_empty: bool = False,
        following: bool = False,
        settled: bool = False,
    ) -> RoundResult:
        """One round; rounds of one dataset never overlap. A round onto the side that holds the token is refused by who asks."""
        async with self._busy[dataset]:
            await self.leased("forward" if direction == "forward" else "back")
            began = self.observed_now()
            result = await self.session.round(
                dataset,
                direction,
                progress=progress,
                dry_run=dry_run,
                retry_failed=retry_failed,
                accept_empty=accept_empty,
                following=following,
                settled=settled,
            )
        if not dry_run and self.on_round is not None:
            await self.on_round(result, began)
        return result

    def _delete_barred(self, dataset: str) -> str:
        refusal = delete_refusal(self.migration, dataset)
        return refusal.reason if refusal is not None else ""

    async def round_to_zero(self, dataset: str, *, reverse: bool) -> RoundEnd:
        direction: Direction = "reverse" if reverse else "forward"
        detail = "no round came to its end"
        for _ in range(ROUNDS_TO_ZERO):
            result = await self.round(dataset, direction, settled=True)  # its writer has been stopped
            detail = f"{result.copied} copied, lag {result.lag_objects}, {result.failed} failed"
            if result.is_proven:
                return RoundEnd(True, True, f"{detail}, {result.objects_total} proven")
            await asyncio.sleep(0.2)
        return RoundEnd(False, False, detail)

    async def compare(self, dataset: str) -> RoundEnd:
        async with self._busy[dataset]:
            seen = await self.session.verify(dataset)
            # The writer is on legacy: what target lacks was written since, and so was what does not look as when it was proven.
            written = await self.session.written_since(dataset, seen.problems)
        if not self.migration.token(dataset).was_target:
            written |= {p.key for p in seen.problems if p.problem == "extra"}  # deletes wait for the commit
        odd = [p for p in seen.problems if p.problem != "missing" and p.key not in written]
        since = len(seen.problems) - len(odd)
        told = f", {since} written on legacy since" if since else ""
        self._odd[dataset] = tuple(odd)
        return RoundEnd(not odd, not odd, f"{seen.equal} of {seen.checked - since} equal, {len(odd)} problems{told}")

    async def restore(self, dataset: str) -> RoundEnd:
        held = usable(self.migration, dataset)
        spec = next((b for b in self.plan.backups if b.dataset == dataset), None)
        if held is None or spec is None:
            return RoundEnd(False, False, "not restored: there is no backup that was tried")
        if dataset not in self._odd:
            await self.compare(dataset)
        odd = self._odd.pop(dataset)
        async with self._busy[dataset], self.session.backup_places(spec, held.number) as places:
            done = await restore(places, await choose(places, "unwritten", odd), stamp_of(utc_now()), failpoint)
        return RoundEnd(not done.left, not done.left, restored_words(done))

    def alone(self, dataset: str) -> asyncio.Lock:
        """Held by whoever works on a dataset: rounds of it wait."""
        return self._busy[dataset]

    async def settle_gap(self, dataset: str) -> RoundEnd:
        """Keep what only the target has in a side prefix; a target that is gone leaves the gap unsettled."""
        epoch = self.migration.token(dataset).epoch
        try:
            async with self._busy[dataset]:
                kept = await self.session.keep_gap(dataset, epoch)
        except CutoverError as error:
            return RoundEnd(False, False, f"not settled: {error.message}")
        return RoundEnd(True, True, f"{kept.objects} objects only on target kept under {kept.where}")

    async def verify_archive(self, dataset: str) -> None:
        async with self._busy[dataset]:
            seen = await self.session.verify(dataset)
        if seen.problems or not seen.checked:
            first = f", first {plain(seen.problems[0].key, 100)}: {seen.problems[0].problem}" if seen.problems else ""
            text = f"archive {dataset}: {seen.equal} of {seen.checked} equal, {len(seen.problems)} problems{first}"
            raise CouldNot(text, where="archive", hint=f"cutover sync, then cutover verify --dataset {dataset}")

    async def lower_legacy(self, to: float) -> None:
        await self._retiring.lower(to)

    async def legacy_lowered(self, to: float) -> tuple[bool, str]:
        return await self._retiring.lowered(to)

    async def keep_index(self, dataset: str, epoch: int) -> None:
        await self.session.keep_handover_index(dataset, epoch)
