"""Errors of stores.

StoreError
├── ListingFailed    a listing was denied, broke off or cannot be trusted: nothing may be concluded from it
│   └── RootMissing  the tree's root folder is not there: a missing folder is not an empty one
├── StoreDenied      the credentials may not do this
│   ├── KeysRefused  these credentials may do nothing here: they have ended, or are none
│   └── ObjectDenied the rights of this one object forbid it
├── StoreBusy        asks for less: repeat after `retry_after` seconds
├── StoreUnreachable network, or a server that answers nonsense: repeat a few times
├── ObjectMissing    gone since it was listed
├── UploadGone       an upload in parts is not there any more, or lacks a part: begin it anew
├── SourceChanged    changed under the read: begin again with a new HEAD
├── TargetChanged    what stands at the target is not what the write was to replace: nothing was overwritten
├── ShortBody        fewer bytes than promised: repeat
├── ChecksumRefused  the store found other bytes than the checksum says: repeat
├── StoreFull        no space left
└── KeyRefused       this store cannot hold this key safely (`..`, control characters, too long)
"""

from __future__ import annotations

from backends.errors import CouldNot


class StoreError(CouldNot):
    code = "store_error"


class ListingFailed(StoreError):
    code = "listing_failed"


class RootMissing(ListingFailed):
    code = "root_missing"


class StoreDenied(StoreError):
    code = "store_denied"


class KeysRefused(StoreDenied):
    pass


class ObjectDenied(StoreDenied):
    pass


class StoreBusy(StoreError):
    code = "store_busy"

    def __init__(self, store: str, retry_after: float = 1.0) -> None:
        super().__init__(f"{store} asks to slow down", hint="lower transfer.parallel if it stays")
        self.retry_after = retry_after


class StoreUnreachable(StoreError):
    code = "store_unreachable"


class ObjectMissing(StoreError):
    code = "object_missing"


class UploadGone(StoreError):
    code = "upload_gone"


class SourceChanged(StoreError):
    code = "source_changed"


class TargetChanged(StoreError):
    code = "target_changed"


class ShortBody(StoreError):
    code = "short_body"


class ChecksumRefused(StoreError):
    code = "checksum_refused"


class StoreFull(StoreError):
    code = "store_full"


class KeyRefused(StoreError):
    code = "key_refused"


def of_the_object(error: StoreError) -> StoreError:
    """The same, where what a tree denied is one of its files: it let us list them all."""
    if type(error) is not StoreDenied:
        return error
    return ObjectDenied(error.message, hint="look at the owner and rights of the file")
