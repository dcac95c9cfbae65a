"""Which objects belong together: the folder that is copied whole (`unit: folder`), and what of it is written last.

The unit of an object is the shallowest folder on its way, below the dataset's root, that itself holds an object which is no
marker: `step-1000/` of `step-1000/model.bin` and `step-1000/optimizer/shard0`; `runs/a/step-1000/` where `runs/` and `runs/a/` hold
folders only, or markers such as `latest`. What lies in the root itself belongs to no unit.

A marker says that its folder, with all below, is complete. One inside a unit is written after the unit's other objects, the deepest
first. One above units (`runs/a/latest`) is written at the end of the round, when nothing below its folder is still missing.

The folders are known only when the listing has ended, and from all of it, not only from what is to be copied: else a unit would be
another one in each round. They are spooled beside the work list.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, NamedTuple

from backends.transfer.exclude import matcher
from backends.transfer.merge import order_of

if TYPE_CHECKING:
    import sqlite3

    from backends.transfer.database import Database
    from backends.transfer.merge import Pair

_numbers = itertools.count(1)
_SCHEMA = "CREATE TEMP TABLE IF NOT EXISTS holders (round INTEGER, folder BLOB, PRIMARY KEY (round, folder)) WITHOUT ROWID"
_CACHED = 50_000
_AT_ONCE = 500


class Place(NamedTuple):
    """Where an object stands. `unit` is its folder's key without the last slash; of a marker above units the folder it speaks of; None
    where it belongs to none. `last`: 0 an ordinary object, 1 a marker of its unit, 2 one above units."""

    unit: bytes | None
    last: int


def ancestors(key: bytes) -> list[bytes]:
    """The folders on the way to a key, the shallowest first, without the root: `a/b/c` -> `a`, `a/b`."""
    out, at = [], key.find(b"/")
    while at >= 0:
        out.append(key[:at])
        at = key.find(b"/", at + 1)
    return out


def place_of(key: bytes, *, is_marker: bool, holders: Callable[[bytes], bool]) -> Place:
    """Where an object stands. `holders` says of a folder whether it itself holds an object that is no marker."""
    for folder in ancestors(key):
        if holders(folder):
            return Place(folder, int(is_marker))
    return Place(key.rpartition(b"/")[0], 2) if is_marker else Place(None, 0)


def is_below(key: bytes, folder: bytes) -> bool:
    """Does a key, or a folder, lie in this folder? All lies in the root."""
    return not folder or key == folder or key.startswith(folder + b"/")


class Units:
    """Takes the source's listing, then places objects by it."""

    def __init__(self, database: Database, markers: Iterable[str]) -> None:
        self._db = database
        self._round = next(_numbers)
        self._is_marker = matcher(markers)
        self._last: bytes | None = None
        self._known: dict[bytes, bool] = {}

    async def open(self) -> None:
        await self._db.call(lambda db: db.execute(_SCHEMA))

    async def close(self) -> None:
        await self._db.call(lambda db: db.execute("DELETE FROM temp.holders WHERE round=?", (self._round,)))

    async def take(self, pairs: list[Pair]) -> None:
        """Note the folders of a stretch of the merged listings."""
        found = set()
        for source, _ in pairs:
            if source is None:
                continue
            folder = order_of(source.key).rpartition(b"/")[0]
            if folder and folder != self._last and not self._is_marker(source.key):
                found.add(folder)
                self._last = folder
        if found:
            rows = [(self._round, folder) for folder in found]
            await self._db.call(lambda db: db.executemany("INSERT OR IGNORE INTO temp.holders VALUES (?,?)", rows))

    async def places(self, keys: list[str]) -> list[Place]:
        """Where each of these objects stands."""
        orders = [order_of(key) for key in keys]
        await self._look_up({folder for order in orders for folder in ancestors(order)})
        return [
            place_of(order, is_marker=self._is_marker(key), holders=self._known.__getitem__)
            for key, order in zip(keys, orders, strict=True)
        ]

    async def _look_up(self, folders: set[bytes]) -> None:
        if len(self._known) > _CACHED:
            self._known.clear()
        wanted = [folder for folder in folders if folder not in self._known]

        def work(db: sqlite3.Connection) -> set[bytes]:
            out: set[bytes] = set()
            for start in range(0, len(wanted), _AT_ONCE):
                some = wanted[start : start + _AT_ONCE]
                query = f"SELECT folder FROM temp.holders WHERE round=? AND folder IN ({','.join('?' * len(some))})"
                out |= {row[0] for row in db.execute(query, (self._round, *some))}
            return out

        if wanted:
            found = await self._db.call(work)
            self._known |= {folder: folder in found for folder in wanted}
