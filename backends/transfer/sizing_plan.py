"""Sizes and measured paces of a plan's datasets, for an estimate."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from backends.catalog.estimate import Measured, Range, Size
from backends.plan.models import Dataset, Plan
from backends.stores.open import open_store
from backends.transfer.compress.choice import PACKED, sample_of, suffix_of
from backends.transfer.models import RoundOptions
from backends.transfer.pace import MOST
from backends.transfer.sizing import Listed, Pass, list_all, place_beside, try_copies
from backends.transfer.sizing import sample_of as chosen_of

if TYPE_CHECKING:
    from backends.ssh.pool import SshPool
    from backends.stores.base import ObjectInfo, Store

LISTING_LIMIT = 3600.0  # seconds
MEASURE_LIMIT = 900.0
_SPREAD = (
    0.5,
    1.5,
)  # a short copy against a long one: its beginning counts for more, and what links and stores do over hours is not in it
_HEADS = 24  # objects whose head is compressed
_HEAD = 1 << 20


async def sizes_of(
    plan: Plan,
    base: Path,
    ssh: SshPool | None,
    *,
    listing: bool,
    measure: bool,
    told: Callable[[str], None] = lambda text: None,
) -> tuple[dict[str, Size], dict[str, Measured], dict[str, str]]:
    """Sizes, measured paces and what could not be done, by dataset. What the plan gives is taken where it is not measured or listed anyway."""
    sizes, measured, failed = {}, {}, {}
    opened = partial(open_store, ssh=ssh, base=base)
    for dataset in plan.datasets:
        given = dataset.size is not None and dataset.objects is not None
        if given and dataset.size is not None and dataset.objects is not None:
            sizes[dataset.name] = Size(dataset.size, dataset.objects, "plan")
        if not listing or (given and not measure):
            continue
        source = opened(dataset.from_, plan.stores[dataset.from_])
        try:
            told(f"{dataset.name}: listing")
            async with asyncio.timeout(LISTING_LIMIT):
                await source.probe()
                listed = await list_all(source, dataset.exclude, lambda n, name=dataset.name: told(f"{name}: {n:,} listed"))  # type: ignore[misc]
            sizes[dataset.name] = Size(listed.bytes, listed.objects, "listed")
            if measure and listed.objects:
                told(f"{dataset.name}: a trial copy")
                async with asyncio.timeout(MEASURE_LIMIT):
                    measured[dataset.name] = await _measure(plan, dataset, source, opened, listed)
        except TimeoutError:
            failed[dataset.name] = "not done in time"
        finally:
            await source.close()
    return sizes, measured, failed


async def _measure(plan: Plan, dataset: Dataset, source: Store, opened: Callable[..., Store], listed: Listed) -> Measured:
    """Over the first leg alone where there is a hub: both run side by side, and the hub's stores are the plan's own."""
    through = dataset.hub or dataset.to
    side_spec = place_beside(plan.stores[through])
    side = opened(f"{through} (estimate)", side_spec)
    sample = chosen_of(listed)
    transfer = plan.transfer
    options = RoundOptions(parallel=transfer.parallel or MOST, bandwidth=transfer.bandwidth)
    try:
        alone, many = await try_copies(source, side, sample, options, parallel=transfer.parallel)
        saved = await _saved(source, sample) if dataset.hub is not None and dataset.compress != "never" else None
    finally:
        await side.close()
        if side_spec.url.startswith("file://"):
            with contextlib.suppress(OSError):  # not empty: something was not removed, and its name says whose it is
                Path(side_spec.url.removeprefix("file://")).rmdir()
    line = listed.bytes * 8 / transfer.bandwidth if transfer.bandwidth else 0.0
    scales = _scales(listed, many)
    expected = Range(max(line, many.seconds * min(scales) * _SPREAD[0]), max(line, many.seconds * max(scales) * _SPREAD[1]))
    single = alone.seconds * sum(_scales(listed, alone)) / 2
    return Measured(expected, single, many.bytes, many.objects, many.seconds, saved)


def _scales(listed: Listed, copied: Pass) -> tuple[float, float]:
    """How often the sample goes into the whole, by objects and by bytes."""
    by_objects = listed.objects / copied.objects
    return by_objects, listed.bytes / copied.bytes if copied.bytes else by_objects


async def _saved(source: Store, sample: list[ObjectInfo]) -> Range:
    """Share of the bytes that zstd takes off, from the heads of some objects, weighted by size; what is packed by its name saves nothing."""
    import zstandard

    total = plain = shrunk = 0.0
    for info in sample[:_HEADS]:
        total += info.size
        if suffix_of(info.key) in PACKED or not info.size:
            plain += info.size
            continue
        head = sample_of(await source.read(info.key, length=min(_HEAD, info.size), if_match=info.identity), _HEAD)
        packed = await asyncio.to_thread(lambda body=bytes(head): len(zstandard.ZstdCompressor(level=3).compress(body)))  # type: ignore[misc]
        shrunk += info.size * (1 - min(1.0, packed / max(1, len(head))))
    share = shrunk / total if total else 0.0
    return Range(max(0.0, share - 0.05), min(1.0, share + 0.05))
