"""Sizes and measured paces of a plan's datasets, for an estimate."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from backends.catalog.estimate import Measured, Range, Size
from backends.plan.models import Dataset, Plan
from backends.stores.open import open_store
from backends.transfer.compress.choice import PACKED, sample_of, suffix_of
from backends.transfer.models import RoundOptions
from backends.transfer.pace import MOST
from backends.transfer.sizing import Listed, Pass, Stratum, list_all, place_beside, try_copies
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
    transfer = plan.transfer
    options = RoundOptions(parallel=transfer.parallel or MOST, bandwidth=transfer.bandwidth)
    copies: list[_Copies] = []
    try:
        for stratum, by_bytes in ((listed.whole, False), (listed.parts, True)):
            if sample := chosen_of(stratum):
                passes = await try_copies(source, side, sample, options, parallel=transfer.parallel)
                copies.append(_Copies(sample, *passes, *(_scales(stratum, one, by_bytes) for one in passes)))
        sample = [info for one in copies for info in one.sample]
        saved = await _saved(source, sample) if dataset.hub is not None and dataset.compress != "never" else None
    finally:
        await side.close()
        if side_spec.url.startswith("file://"):
            with contextlib.suppress(OSError):  # not empty: something was not removed, and its name says whose it is
                Path(side_spec.url.removeprefix("file://")).rmdir()
    line = listed.bytes * 8 / transfer.bandwidth if transfer.bandwidth else 0.0
    # Small and large objects are copied side by side: at best they do not slow each other down, at worst they share all there is.
    low = max(one.many.seconds * one.many_scales.low for one in copies)
    high = sum(one.many.seconds * one.many_scales.high for one in copies)
    expected = Range(max(line, low * _SPREAD[0]), max(line, high * _SPREAD[1]))
    single = sum(one.alone.seconds * (one.alone_scales.low + one.alone_scales.high) / 2 for one in copies)
    many = [one.many for one in copies]
    return Measured(
        expected, single, sum(m.bytes for m in many), sum(m.objects for m in many), sum(m.seconds for m in many), saved
    )


@dataclass(frozen=True, slots=True)
class _Copies:
    """Of one stratum: its sample, copied with one stream and with many, and how often each goes into the whole stratum."""

    sample: list[ObjectInfo]
    alone: Pass
    many: Pass
    alone_scales: Range
    many_scales: Range


def _scales(stratum: Stratum, copied: Pass, by_bytes: bool) -> Range:
    """How often what was copied goes into the whole: by bytes, and where round trips count too, by objects."""
    counts = [stratum.bytes / copied.bytes] if copied.bytes else []
    if not by_bytes or not counts:
        counts.append(stratum.objects / copied.objects)
    return Range(min(counts), max(counts))


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
