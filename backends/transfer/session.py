"""The stores and the index of one migration, kept open over its rounds. The engine and `cutover sync` both work with it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from backends import allocator
from backends.errors import UsageError
from backends.escape import plain
from backends.plan.models import Dataset, Plan
from backends.plan.models import Store as StoreSpec
from backends.statedir import make_state_dir
from backends.stores.base import Store
from backends.stores.open import open_store
from backends.transfer.index import Index
from backends.transfer.looking import index_to_look_at
from backends.transfer.merge import first_error
from backends.transfer.models import MARKERS, Direction, Progress, RoundOptions, RoundResult
from backends.transfer.pace import MOST, Pace, Patience
from backends.transfer.round import sync_round
from backends.vocabulary import SideName

if TYPE_CHECKING:
    from backends.plan.backups import Backup
    from backends.ssh.pool import SshPool
    from backends.transfer.backup import Places
    from backends.transfer.gap import KeptGap
    from backends.transfer.hub.copier import HubOptions
    from backends.transfer.verify import Problem, VerifyResult
    from backends.transfer.workers.fleet import Fleet

FOLLOW_SECONDS = 60.0  # where the plan's dataset has no `follow`
MOST_OVER_HUB = 32  # objects under way on each leg, where the plan says nothing: each may hold a part in memory
_MANY_BYTES = 64 << 20  # of a round: what they took of memory is worth giving back before the next
_COPY_TO_LISTING = 4  # a round that ends for the next copies at least that much longer than it listed
StoreOpener = Callable[[str, StoreSpec], Store]


class TransferSession:
    """`async with TransferSession(plan, base, state, ssh) as session`. Stores open when they are first needed.

    `base` is the folder of the plan (relative paths, `${file:…}`), `state` that of the migration: the index is `state/index.db`.
    Rounds of different datasets may run at once; two of one dataset wait for each other. `look_only`: for dry runs, the index is a copy
    and nothing is written. `delete_barred` says why nothing of a dataset may be deleted now, "" where it may (SR4).
    """

    def __init__(
        self,
        plan: Plan,
        base: Path,
        state: Path,
        ssh: SshPool | None,
        *,
        opener: StoreOpener | None = None,
        look_only: bool = False,
        delete_barred: Callable[[str], str] = lambda dataset: "the migration is not committed",
    ) -> None:
        self.plan = plan
        self._state = state
        self._aside = state.absolute() / "aside"  # side places of stores that have nothing beside them
        self._ssh = ssh
        self._base = base
        self._pace = Pace(plan.transfer.parallel, plan.transfer.bandwidth, 1 + len(plan.transfer.workers))
        self._open_store = opener or partial(open_store, ssh=ssh, base=base)
        self._stores: dict[str, Store] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._prepared: set[str] = set()
        self._probed: set[str] = set()
        self._stack = AsyncExitStack()
        self._index: Index | None = None
        self._look_only = look_only
        self.delete_barred = delete_barred
        self._listing_seconds: dict[str, float] = {}

    async def __aenter__(self) -> Self:
        if self._look_only:
            self._index = await self._stack.enter_async_context(index_to_look_at(self._state / "index.db", is_open=False))
            return self
        folder = await asyncio.to_thread(make_state_dir, self._state)
        self._index = await self._stack.enter_async_context(Index(folder / "index.db"))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._stack.aclose()

    @property
    def index(self) -> Index:
        if self._index is None:
            raise RuntimeError("the session is not open")
        return self._index

    def dataset(self, name: str) -> Dataset:
        """The plan's dataset of this name. Raises `UsageError`."""
        for dataset in self.plan.datasets:
            if dataset.name == name:
                return dataset
        known = ", ".join(d.name for d in self.plan.datasets) or "none"
        raise UsageError(f"the plan has no dataset {plain(name)}", hint=f"its datasets: {known}")

    async def round(
        self,
        dataset: str,
        direction: Direction = "forward",
        *,
        progress: Progress | None = None,
        dry_run: bool = False,
        retry_failed: bool = False,
        accept_empty: bool = False,
        following: bool = False,
        settled: bool = False,
    ) -> RoundResult:
        """One round of sync, `from` -> `to`, or the other way with `reverse`. Raises `ListingFailed` and other `CouldNot`.

        `following`: another round comes after it; where the newest goes first this one ends in time for that. `settled`: nobody writes,
        so that no folder has to have been quiet for a while.
        """
        spec = self.dataset(dataset)
        async with self._turns.setdefault(dataset, asyncio.Lock()), AsyncExitStack() as stack:
            legacy, target = self._sides(spec)
            source, sink = (legacy, target) if direction == "forward" else (target, legacy)
            index = self.index
            await self._look_at(source, None if dry_run else sink)
            if dry_run and not self._look_only:
                index = await stack.enter_async_context(index_to_look_at(index.database.path, is_open=True))
            if dry_run and not await index.expected(dataset, "target" if direction == "forward" else "legacy"):
                from backends.transfer.views import NotMadeYet

                sink = NotMadeYet(sink)
            options = self._options(spec, direction, dry_run, retry_failed, accept_empty)
            if settled:
                options = replace(options, settle=0.0)
            if following and spec.newest_first:
                listing = self._listing_seconds.get(dataset, 0.0)
                options = replace(options, copy_seconds=max(spec.follow or FOLLOW_SECONDS, _COPY_TO_LISTING * listing))
            shown = progress or Progress()
            if self.plan.transfer.workers and not dry_run and spec.hub is None:
                options = replace(options, fleet=self._fleet(spec, direction))
            if spec.hub is not None and direction == "forward":
                from backends.transfer.hub.round import sync_round_by_hub  # with zstd: only where there is a hub

                hub = self._store(spec.hub)
                if not dry_run:
                    await self._prepare(hub)
                result = await sync_round_by_hub(hub, self._by_hub(spec), source, sink, index, options, shown)
            else:
                result = await sync_round(dataset, source, sink, index, options, shown)
            self._listing_seconds[dataset] = result.listing_seconds
            if following and result.bytes >= _MANY_BYTES:
                await asyncio.to_thread(allocator.give_back)
            return result

    async def verify(
        self,
        dataset: str,
        *,
        re_read: bool = False,
        report: Path | None = None,
        append: bool = False,
        progress: Progress | None = None,
    ) -> VerifyResult:
        """Prove both sides equal, object by object. Raises `ListingFailed` and other `CouldNot`."""
        from backends.transfer.verify import verify_dataset  # what a round does not need is imported for who asks

        spec = self.dataset(dataset)
        legacy, target = self._sides(spec)
        return await verify_dataset(
            dataset,
            legacy,
            target,
            self.index,
            re_read=re_read,
            report=report,
            append=append,
            options=self._options(spec),
            progress=progress,
        )

    async def written_since(self, dataset: str, problems: Iterable[Problem]) -> set[str]:
        """Keys that do not look on legacy as they did when they were last proven equal: somebody has written them there since."""
        legacy, _ = self._sides(self.dataset(dataset))
        out = set()
        for problem in problems:
            known = await self.index.row(dataset, problem.key) if problem.problem in ("differs", "unreadable") else None
            info = await legacy.head(problem.key) if known is not None and known.legacy_id else None
            if info is not None and known is not None and info.identity != known.legacy_id:
                out.add(problem.key)
        return out

    async def keep_handover_index(self, dataset: str, epoch: int) -> int:
        """Keep what is known of each object now as the index of this handover; returns how many objects."""
        return await self.index.keep_handover(dataset, epoch)

    async def keep_gap(self, dataset: str, epoch: int) -> KeptGap:
        """Keep what only the target has in a side prefix beside legacy's tree, or in its bucket. Raises `StoreError` and other `CouldNot`."""
        from backends.transfer.gap import gap_spec, keep_gap

        spec = self.dataset(dataset)
        _, target = self._sides(spec)
        side = self._open_store(f"{spec.from_} (side)", gap_spec(self.plan.stores[spec.from_], epoch))
        try:
            return await keep_gap(
                dataset, epoch, target, side, self.index, replace(self._options(spec), delete=False, folders=False)
            )
        finally:
            await side.close()

    @asynccontextmanager
    async def backup_places(self, backup: Backup, number: int) -> AsyncIterator[Places]:
        """Where this backup of a dataset is, opened. Raises `StoreError` where there is no place for it."""
        from backends.transfer.backup import Places
        from backends.transfer.gap import side_spec

        spec = self.dataset(backup.dataset)
        legacy, target = self._sides(spec)
        kept = self.plan.stores[spec.from_]

        def beside(what: str) -> Store:
            if backup.to is not None:
                to = self.plan.stores[backup.to]
                below = to.model_copy(update={"url": f"{to.url.rstrip('/')}/{spec.name}-{what}/"})
                return self._open_store(f"{backup.to} ({what})", below)
            return self._open_store(f"{spec.from_} ({what})", side_spec(kept, what))

        def side(what: str) -> Store:
            if backup.to is None and kept.is_whole_bucket:
                return self._open_store(f"{spec.from_} ({what})", StoreSpec(url=f"file://{self._aside}/{spec.name}-{what}/"))
            return beside(what)

        await asyncio.to_thread(self._aside.mkdir, mode=0o700, parents=True, exist_ok=True)
        of_versions = backup.kind == "versioned" and kept.url.startswith("s3://")
        place = None if of_versions else beside(f"backup-{number}")
        try:
            yield Places(spec.name, backup, number, legacy, target, place, side, self.index, self._options(spec))
        finally:
            if place is not None:
                await place.close()

    async def try_reverse(self, dataset: str) -> str:
        """Try the way from target to legacy without changing either: what was done, in words. Raises `CutoverError`."""
        from backends.transfer.gap import side_spec
        from backends.transfer.trial import try_parts, try_way

        spec = self.dataset(dataset)
        legacy, target = self._sides(spec)
        kept = self.plan.stores[spec.from_]
        if kept.is_whole_bucket:
            return await try_parts(target, legacy)  # the whole bucket is the dataset: there is no place beside it
        side = self._open_store(f"{spec.from_} (side)", side_spec(kept, "try"))
        try:
            return await try_way(target, side)
        finally:
            await side.close()

    def _options(
        self,
        spec: Dataset,
        direction: Direction = "forward",
        dry_run: bool = False,
        retry_failed: bool = False,
        accept_empty: bool = False,
    ) -> RoundOptions:
        transfer = self.plan.transfer
        return RoundOptions(
            parallel=transfer.parallel or MOST,
            pace=self._pace,
            bandwidth=transfer.bandwidth,
            exclude=spec.exclude,
            delete=spec.delete == "after-commit",
            delete_barred=self.delete_barred(spec.name) if spec.delete == "after-commit" else "the plan says never",
            max_delete=transfer.max_delete,
            dry_run=dry_run,
            retry_failed=retry_failed,
            newest_first=spec.newest_first,
            folders=spec.unit == "folder",
            markers=MARKERS if spec.markers is None else spec.markers,
            settle=spec.settle,
            direction=direction,
            accept_empty=accept_empty,
        )

    def _fleet(self, spec: Dataset, direction: Direction) -> Fleet | None:
        """The plan's workers, where they can reach both stores: a tree of this machine, or one behind its SSH, they cannot."""
        from backends.transfer.workers.orders import fleet_of

        ends = (spec.from_, spec.to) if direction == "forward" else (spec.to, spec.from_)
        return fleet_of(self.plan, self._ssh, self._base, *ends)

    def _by_hub(self, spec: Dataset) -> HubOptions:
        from backends.transfer.hub.copier import HubOptions

        transfer = self.plan.transfer
        return HubOptions(
            plan=self.plan.name,
            dataset=spec.name,
            parallel=min(transfer.parallel or MOST, MOST_OVER_HUB),
            compress=spec.compress,
            days=spec.hub_days,
            bandwidth=transfer.bandwidth,
        )

    def _sides(self, spec: Dataset) -> tuple[Store, Store]:
        return self._store(spec.from_), self._store(spec.to)

    def side_of(self, dataset: str, side: SideName) -> Store:
        """The store that holds a dataset on a side, to look into."""
        spec = next(d for d in self.plan.datasets if d.name == dataset)
        return self._store(spec.from_ if side == "legacy" else spec.to)

    def _store(self, name: str) -> Store:
        if name not in self._stores:
            if name not in self.plan.stores:
                raise UsageError(f"the plan has no store {plain(name)}", hint="name it under stores:")
            store = self._open_store(name, self.plan.stores[name])
            self._stack.push_async_callback(store.close)
            self._stores[name] = store
        return self._stores[name]

    async def _look_at(self, source: Store, sink: Store | None) -> None:
        """Find out what both can, before the first round between them: at once, since far stores answer late."""
        try:
            async with asyncio.TaskGroup() as group:
                if source.name not in self._prepared | self._probed:
                    group.create_task(source.probe())
                    self._probed.add(source.name)
                if sink is not None:
                    await self._prepare(sink)
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors

    async def _prepare(self, store: Store) -> None:
        if store.name not in self._prepared:
            await Patience(self._pace.streams.lane("")).call(store.prepare)
            self._prepared.add(store.name)
