"""A round by way of a hub."""

from __future__ import annotations

from dataclasses import replace

from backends.stores.base import Store
from backends.transfer.hub.copier import Hub, HubOptions
from backends.transfer.index import Index
from backends.transfer.models import Progress, RoundOptions, RoundResult
from backends.transfer.round import sync_round

_LEARNT = "compressed on the way to the hub: "


async def sync_round_by_hub(
    hub: Store, way: HubOptions, source: Store, target: Store, index: Index, options: RoundOptions, progress: Progress
) -> RoundResult:
    """`sync_round`, with each object brought to the hub, proven there, and copied from there to the target. What is compared, and not
    copied, does not touch the hub. Raises as `sync_round` does."""
    if options.dry_run:
        return await sync_round(way.dataset, source, target, index, options, progress)
    async with Hub(hub, way, index) as through:
        note = await through.open(source)
        if note and note not in progress.notes:
            progress.notes.append(note)
        result = await sync_round(
            way.dataset, source, target, index, options, progress, copier=through.copier, at_once=through.at_once
        )
        if learnt := through.learnt():
            progress.notes[:] = [told for told in progress.notes if not told.startswith(_LEARNT)] + [_LEARNT + learnt]
        if options.retry_failed or result.lag_objects > result.failed:
            return result  # it did not look at all that an earlier round may have left on the hub
        ended = await through.tidy(frozenset(failure.key for failure in result.failures))
        return replace(result, aborted_uploads=result.aborted_uploads + ended)
