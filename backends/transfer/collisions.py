"""Keys that a target cannot hold beside each other, found before anything moves.

On a tree no key can be a file and the folder of others (`a`, `a/b`). On one that takes upper and lower case, or the Unicode forms of one
text, for the same name, keys and folders that differ only so would overwrite each other. Folded names are spooled to disk where a
target is blind; memory stays flat.
"""

from __future__ import annotations

import itertools
import unicodedata
from typing import TYPE_CHECKING

from backends.escape import plain
from backends.stores.tree import can_hold
from backends.transfer.errors import KeysCollide
from backends.transfer.index import key_of
from backends.transfer.merge import order_of

if TYPE_CHECKING:
    import sqlite3

    from backends.stores.base import Store
    from backends.transfer.merge import Pair

_NAMED = 5
_numbers = itertools.count(1)
_SCHEMA = "CREATE TEMP TABLE IF NOT EXISTS names (round INTEGER, folded BLOB, name BLOB, folder INTEGER, key BLOB, ours INTEGER)"
# Two names that fold alike, or one that is both a file and a folder; what the target alone has is no quarrel among its own.
_FOUND = """
    SELECT min(key), max(key) FROM temp.names WHERE round=? GROUP BY folded
    HAVING max(ours) = 1 AND (count(DISTINCT name) > 1 OR count(DISTINCT folder) > 1) ORDER BY folded LIMIT ?
"""


class Clashes:
    """Keys of a sorted listing that are both an object and the folder of a later one. Pure; what is held is the way to the last key."""

    def __init__(self) -> None:
        self._open: list[str] = []  # keys that the next may lie below: each begins the one after it

    def take(self, key: str) -> str | None:
        """The earlier key that this one lies below, as if it were a folder."""
        while self._open and not key.startswith(self._open[-1]):
            self._open.pop()
        found = next((earlier for earlier in self._open if key[len(earlier)] == "/"), None)
        self._open.append(key)
        return found


class Collisions:
    """Takes the merged listings of a round whose target cannot hold every key."""

    def __init__(self, target: Store, database_call: _Call) -> None:
        can = target.capabilities
        self._target = target
        self._call = database_call
        self._case, self._form = can.case_blind, can.form_blind
        self._clashes = Clashes() if can.folders else None
        self._round = next(_numbers)
        self._found: list[tuple[str, str]] = []
        self._last_folder: bytes | None = None

    @property
    def _is_blind(self) -> bool:
        return self._case or self._form

    @property
    def is_needed(self) -> bool:
        return self._is_blind or self._clashes is not None

    async def open(self) -> None:
        if self._is_blind:
            await self._call(lambda db: db.execute(_SCHEMA))

    async def close(self) -> None:
        if self._is_blind:
            await self._call(lambda db: db.execute("DELETE FROM temp.names WHERE round=?", (self._round,)))

    async def take(self, pairs: list[Pair]) -> None:
        if self._clashes is not None and len(self._found) < _NAMED:
            for source, _ in pairs:
                # What a tree can never hold (`a//b`) is refused alone when it is its turn.
                if source is not None and (earlier := self._clashes.take(source.key)) is not None and can_hold(source.key):
                    self._found.append((earlier, source.key))
        if self._is_blind:
            rows = [row for source, target in pairs for row in self._rows((source or target).key, source is not None)]  # type: ignore[union-attr]
            await self._call(lambda db: db.executemany("INSERT INTO temp.names VALUES (?,?,?,?,?,?)", rows))

    def _rows(self, key: str, ours: bool) -> list[tuple[int, bytes, bytes, int, bytes, int]]:
        out = [(self._round, order_of(self.fold(key)), order_of(key), 0, order_of(key), int(ours))]
        folder = key.rpartition("/")[0]
        while folder and order_of(folder) != self._last_folder:
            out.append((self._round, order_of(self.fold(folder)), order_of(folder), 1, order_of(key), int(ours)))
            folder = folder.rpartition("/")[0]
        self._last_folder = order_of(key.rpartition("/")[0]) if ours else None
        return out

    def fold(self, key: str) -> str:
        """What the target takes all names of one kind for."""
        if self._form:
            key = unicodedata.normalize("NFC", key)
        if self._case:
            key = key.casefold()
            key = unicodedata.normalize("NFC", key) if self._form else key
        return key

    async def check(self) -> None:
        """Raises `KeysCollide` where the target cannot hold what it would be given."""
        found = list(self._found[:_NAMED])
        if self._is_blind:
            rows = await self._call(lambda db: db.execute(_FOUND, (self._round, _NAMED)).fetchall())
            found += [(key_of(a), key_of(b)) for a, b in rows]
        if not found:
            return
        told = "; ".join(f"{_shown(a)} and {_shown(b)}" for a, b in found[:_NAMED])
        raise KeysCollide(
            f"{self._target.name} cannot hold both: {told}",
            where=self._target.url,
            hint="nothing was copied; rename or exclude one of each, or choose a target that tells them apart",
        )


def _shown(key: str) -> str:
    """Keys that look alike are told apart by their escapes."""
    return f"`{plain(key, 200)}`" if key.isascii() else f"`{plain(key, 200)}` ({ascii(key)[1:-1][:200]})"


if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class _Call(Protocol):
        async def __call__(self, operation: Callable[[sqlite3.Connection], Any]) -> Any: ...
