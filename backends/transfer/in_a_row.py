"""When it is the store that fails, and not its objects: a million of them need not be tried one by one to find that out.

A store that denies one object after another may have lost its keys (`KeysRefused`), or may be one whose objects have rights of their own:
files of another user in a tree, prefixes that a policy closes, keys of KMS. Where it has let us have others, many more are tried.
"""

from __future__ import annotations

from backends.ssh.errors import SshError
from backends.stores.errors import KeysRefused, ObjectDenied, StoreBusy, StoreDenied, StoreFull, StoreUnreachable

GIVE_UP_AFTER = 25  # objects in a row
DENIED_AT_MOST = 1000  # of a store that has let us have others
OF_THE_STORE = (StoreUnreachable, StoreDenied, StoreFull, StoreBusy, SshError, TimeoutError)


class InARow:
    """Counts failures that follow each other, of `workers` at once."""

    def __init__(self, workers: int) -> None:
        self._limit = max(GIVE_UP_AFTER, 2 * workers)
        self._count = 0
        self._has_worked = False

    def worked(self) -> None:
        self._count = 0
        self._has_worked = True

    def failed(self, error: Exception) -> bool:
        """Whether that is enough: the error is the store's."""
        if not isinstance(error, OF_THE_STORE) or isinstance(error, ObjectDenied):
            self._count = 0
            return False
        self._count += 1
        is_spared = self._has_worked and isinstance(error, StoreDenied) and not isinstance(error, KeysRefused)
        return self._count >= (DENIED_AT_MOST if is_spared else self._limit)
