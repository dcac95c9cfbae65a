"""After an emergency rollback: what the target alone has, kept in a side prefix beside legacy's tree, or in its bucket.

Three ways are compared: the target's object now, legacy's object now, and what the index says both were when they were last proven
equal. What the target has not changed since is no gap. Nothing on legacy is overwritten: an operator settles conflicts by hand.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backends.plan.models import Store as StoreSpec
from backends.stores.base import ObjectInfo, Store
from backends.stores.errors import StoreError
from backends.stores.ours import GAPS
from backends.transfer.index import Index
from backends.transfer.models import Progress, RoundOptions, RoundResult
from backends.transfer.round import sync_round

if TYPE_CHECKING:
    from backends.vocabulary import SideName

_TARGET: SideName = "target"


@dataclass(frozen=True, slots=True)
class KeptGap:
    """How much only the target had, and where it is now."""

    objects: int
    bytes: int
    where: str


class OnlyKeys:
    """A store that lists only some of its keys; everything else is the store's own."""

    def __init__(self, store: Store, keys: frozenset[str]) -> None:
        self._store = store
        self._keys = keys

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def list_pages(self, start_after: str = "") -> AsyncIterator[list[ObjectInfo]]:
        """The store's pages, without what is not among the keys."""
        async for page in self._store.list_pages(start_after):
            yield [o for o in page if o.key in self._keys]


def side_spec(spec: StoreSpec, what: str) -> StoreSpec:
    """The store beside a tree: `…/ckpt/` -> `…/ckpt.cutover-try/` for `try`. Raises `StoreError` where the tree has nothing beside it."""
    if spec.is_whole_bucket:
        raise StoreError(f"the whole bucket is the dataset: {spec.url} has no place beside it", where=spec.url)
    return spec.model_copy(update={"url": f"{spec.url.rstrip('/')}.cutover-{what}/"})


def gap_spec(spec: StoreSpec, epoch: int) -> StoreSpec:
    """Where the gap is kept: beside legacy's tree, or where that is a whole bucket below a prefix of it that no sync sees."""
    if spec.is_whole_bucket:
        return spec.model_copy(update={"url": f"{spec.url.rstrip('/')}/{GAPS}{epoch}/"})
    return side_spec(spec, f"gap-{epoch}")


async def gap_keys(dataset: str, target: Store, index: Index) -> frozenset[str]:
    """Keys of the target that are not what the index last proved equal."""
    keys: set[str] = set()
    async for page in target.list_pages():
        if not page:
            continue
        known = await index.rows_between(dataset, page[0].key, page[-1].key)
        keys |= {o.key for o in page if o.key not in known or known[o.key].identity(_TARGET) != o.identity}
    return frozenset(keys)


async def keep_gap(dataset: str, epoch: int, target: Store, side: Store, index: Index, options: RoundOptions) -> KeptGap:
    """Copy the gap to the side store, proven. Raises `StoreError` where an object of it could not be kept."""
    keys = await gap_keys(dataset, target, index)
    if not keys:
        return KeptGap(0, 0, side.url)
    await side.prepare()
    name = f"{dataset}#gap-{epoch}"
    result: RoundResult = await sync_round(name, OnlyKeys(target, keys), side, index, options, Progress())
    if result.failed:
        first = result.failures[0]
        raise StoreError(f"{result.failed} of {len(keys)} objects could not be kept: {first.reason}", where=side.url)
    return KeptGap(result.objects_total, result.bytes_total, side.url)
