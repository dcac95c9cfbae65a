"""The stores and the index of one migration, kept open over its rounds. The engine and `cutover sync` both work with it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from backends.errors import NotYetSupported, UsageError
from backends.escape import plain
from backends.plan.models import Dataset, Plan
from backends.plan.models import Store as StoreSpec
from backends.statedir import make_state_dir
from backends.stores.base import Store
from backends.stores.open import open_store
from backends.transfer.gap import KeptGap, keep_gap, side_spec
from backends.transfer.index import Index
from backends.transfer.models import Direction, Progress, RoundOptions, RoundResult
from backends.transfer.round import sync_round
from backends.transfer.verify import VerifyResult, verify_dataset

if TYPE_CHECKING:
    from backends.ssh.pool import SshPool

StoreOpener = Callable[[str, StoreSpec], Store]


class TransferSession:
    """`async with TransferSession(plan, base, state, ssh) as session`. Stores open when they are first needed.

    `base` is the folder of the plan (relative paths, `${file:…}`), `state` that of the migration: the index is `state/index.db`.
    Rounds of different datasets may run at once; two of one dataset wait for each other.
    """

    def __init__(self, plan: Plan, base: Path, state: Path, ssh: SshPool | None, *, opener: StoreOpener | None = None) -> None:
        self.plan = plan
        self._state = state
        self._open_store = opener or partial(open_store, ssh=ssh, base=base)
        self._stores: dict[str, Store] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._prepared: set[str] = set()
        self._stack = AsyncExitStack()
        self._index: Index | None = None

    async def __aenter__(self) -> Self:
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
    ) -> RoundResult:
        """One round of sync, `from` -> `to`, or the other way with `reverse`. Raises `ListingFailed` and other `CouldNot`."""
        spec = self.dataset(dataset)
        async with self._turns.setdefault(dataset, asyncio.Lock()):
            legacy, target = self._sides(spec)
            source, sink = (legacy, target) if direction == "forward" else (target, legacy)
            if not dry_run:
                await self._prepare(sink)
            options = self._options(spec, direction, dry_run, retry_failed, accept_empty)
            return await sync_round(dataset, source, sink, self.index, options, progress or Progress())

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

    async def keep_handover_index(self, dataset: str, epoch: int) -> int:
        """Keep what is known of each object now as the index of this handover; returns how many objects."""
        return await self.index.keep_handover(dataset, epoch)

    async def keep_gap(self, dataset: str, epoch: int) -> KeptGap:
        """Keep what only the target has in a side prefix beside legacy's tree. Raises `StoreError` and other `CouldNot`."""
        spec = self.dataset(dataset)
        _, target = self._sides(spec)
        side = self._open_store(f"{spec.from_} (side)", side_spec(self.plan.stores[spec.from_], epoch))
        try:
            return await keep_gap(dataset, epoch, target, side, self.index, self._options(spec))
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
            parallel=transfer.parallel,
            bandwidth=transfer.bandwidth,
            exclude=spec.exclude,
            max_delete=transfer.max_delete,
            dry_run=dry_run,
            retry_failed=retry_failed,
            newest_first=spec.newest_first,
            folders=spec.unit == "folder",
            direction=direction,
            accept_empty=accept_empty,
        )

    def _sides(self, spec: Dataset) -> tuple[Store, Store]:
        if spec.hub is not None:
            raise NotYetSupported(f"dataset {spec.name}: a hub is not yet supported", where="hub")
        if self.plan.transfer.workers:
            raise NotYetSupported("transfer.workers is not yet supported", where="transfer.workers")
        return self._store(spec.from_), self._store(spec.to)

    def _store(self, name: str) -> Store:
        if name not in self._stores:
            if name not in self.plan.stores:
                raise UsageError(f"the plan has no store {plain(name)}", hint="name it under stores:")
            store = self._open_store(name, self.plan.stores[name])
            self._stack.push_async_callback(store.close)
            self._stores[name] = store
        return self._stores[name]

    async def _prepare(self, store: Store) -> None:
        if store.name not in self._prepared:
            await store.prepare()
            self._prepared.add(store.name)
