"""Folders of a local tree by descriptor, kept open for a moment: 5,000 files lie in a few folders, not in 5,000.

Each thread keeps its own, so none is closed, and its number used again for another file, while a second thread works with it.
All are let go when the oldest is a second old: a folder that was moved away meanwhile is written to no longer than that.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from backends.escape import plain
from backends.stores.descriptors import FOLDER
from backends.stores.errors import RootMissing

T = TypeVar("T")

_KEPT_SECONDS = 1.0
_MOST = 64  # a thread; with eight threads well below the 1,024 files of a process


class _Kept:
    """What one thread holds open: names from the root -> descriptor."""

    def __init__(self) -> None:
        self.open: dict[tuple[str, ...], int] = {}
        self.since = 0.0

    def close(self) -> None:
        held, self.open = self.open, {}
        for descriptor in held.values():
            os.close(descriptor)


class LocalFolders:
    """The folders below `root`, never through a link. A descriptor given out is good until this thread's next `begin`."""

    def __init__(self, store: str, root: Path) -> None:
        self._store = store
        self._root = root
        self._mine = threading.local()
        self._all: list[_Kept] = []
        self._lock = threading.Lock()

    def begin(self, *, anew: bool = False) -> None:
        """At the start of each piece of work, with no descriptor in use. `anew`: a folder was found not to be there any more."""
        kept = self._kept()
        now = time.monotonic()
        if anew or now - kept.since > _KEPT_SECONDS or len(kept.open) > _MOST:
            kept.close()
            kept.since = now

    def within(self, call: Callable[[], T]) -> T:
        """`call` between a `begin` and whatever comes next; once more, with all folders opened anew, where it found something gone."""
        self.begin()
        try:
            return call()
        except FileNotFoundError:
            self.begin(anew=True)
            return call()

    def get(self, names: tuple[str, ...], *, make: bool = False) -> int:
        """The descriptor of a folder. Raises `RootMissing`, or `OSError` where a link or nothing stands on the way."""
        held = self._kept().open
        found = held.get(names)
        if found is not None:
            return found
        if not names:
            found = self._open_root()
        else:
            parent = self.get(names[:-1], make=make)
            if make:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(names[-1], 0o755, dir_fd=parent)
            found = os.open(names[-1], FOLDER | os.O_NOFOLLOW, dir_fd=parent)
        held[names] = found
        return found

    def close(self) -> None:
        """When no thread works any more."""
        with self._lock:
            for kept in self._all:
                kept.close()

    def _kept(self) -> _Kept:
        kept: _Kept | None = getattr(self._mine, "kept", None)
        if kept is None:
            kept = self._mine.kept = _Kept()
            with self._lock:
                self._all.append(kept)
        return kept

    def _open_root(self) -> int:
        try:
            return os.open(self._root, FOLDER)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            hint = "a missing folder is not an empty one: make it, or mount it" if error.errno == errno.ENOENT else ""
            raise RootMissing(f"{self._store}: {plain(str(self._root))}: {reason}", hint=hint) from error
