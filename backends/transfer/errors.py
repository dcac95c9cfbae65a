"""Errors of transfer.

CutoverError
├── StoreError
│   └── ListingFailed
│       ├── ListingEmptied   a listing is empty where the last round saw objects: nothing may be concluded from it
│       └── ListingUnsorted  keys out of order or twice: the two sides cannot be merged
└── CouldNot
    ├── Damaged              the bytes are not those that a checksum promised: copied again
    ├── KeysCollide          the target cannot hold two of the keys beside each other: nothing was copied
    ├── BackupBroken         a backup is not, or is no more, what was taken
    ├── KeepsChanging        the source object changed under each of several reads
    └── IndexUnusable        the index cannot be read or written
"""

from __future__ import annotations

from backends.errors import CouldNot
from backends.stores.errors import ListingFailed


class ListingEmptied(ListingFailed):
    code = "listing_emptied"


class ListingUnsorted(ListingFailed):
    code = "listing_unsorted"


class Damaged(CouldNot):
    code = "damaged"


class KeysCollide(CouldNot):
    code = "keys_collide"


class BackupBroken(CouldNot):
    code = "backup_broken"


class KeepsChanging(CouldNot):
    code = "keeps_changing"


class IndexUnusable(CouldNot):
    code = "index_unusable"
