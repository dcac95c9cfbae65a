"""What Cutover itself keeps in a store, below the store's prefix, and never lists as data: probes of what a server can do, the lease
of the engine that holds a migration, what is left of the trial copy of an estimate that was killed, the gap of an emergency rollback
where the whole bucket is the dataset.
"""

from __future__ import annotations

from backends.stores.base import ObjectInfo, key_order

ESTIMATES = ".cutover-estimate/"
GAPS = ".cutover-gap-"  # and the epoch
LEASES = ".cutover-lease/"
PROBES = ".cutover-probe/"
_FIRST, _BEHIND = key_order(ESTIMATES), key_order(".cutover-probe0")


def without_ours(page: list[ObjectInfo]) -> list[ObjectInfo]:
    """A page in byte order, without our own objects. Only the pages where they belong are looked through."""
    if page and key_order(page[0].key) < _BEHIND and key_order(page[-1].key) > _FIRST:
        return [found for found in page if not found.key.startswith((ESTIMATES, GAPS, LEASES, PROBES))]
    return page
