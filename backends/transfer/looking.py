"""An index to look at: a copy in a temporary folder, so that a dry run leaves every byte of the migration's folder as it is.

A database that nobody has open is copied with its write-ahead log, which opening it in place would fold in. One that is open here is
copied by SQLite itself.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from backends.transfer.errors import IndexUnusable
from backends.transfer.index import Index


@asynccontextmanager
async def index_to_look_at(path: Path, *, is_open: bool) -> AsyncIterator[Index]:
    """A copy of the index at `path`, an empty one where there is none; it goes at the end. Raises `IndexUnusable`."""
    folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="cutover-look-"))
    try:
        try:
            await asyncio.to_thread(_backup if is_open else _copy, path, folder / "index.db")
        except (OSError, sqlite3.Error) as error:
            raise IndexUnusable(f"the index {path} cannot be read: {error}", where=str(path)) from error
        async with Index(folder / "index.db") as index:
            yield index
    finally:
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _copy(path: Path, to: Path) -> None:
    for suffix in ("", "-wal"):
        source = Path(f"{path}{suffix}")
        if source.exists():
            shutil.copyfile(source, f"{to}{suffix}")


def _backup(path: Path, to: Path) -> None:
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(to)) as copy:
        source.backup(copy)
