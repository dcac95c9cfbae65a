"""The step of the newest checkpoint in a store: told by the folders' names, of those that are complete."""

from __future__ import annotations

import fnmatch
import re

from backends.stores.base import Store

_STEP = re.compile(r"([0-9]{1,15})(?=[^0-9]*$)")  # the last number of a name


async def newest_step(store: Store, marker: str) -> int | None:
    """The largest step of a folder that holds a file whose name `marker` fits: the last number in the folder's name, or, where the file lies
    below no folder, in its own. None where there is none. Raises the store's errors: a listing that broke off says nothing."""
    newest: int | None = None
    async for page in store.list_pages():
        for info in page:
            folder, _, name = info.key.rpartition("/")
            if not fnmatch.fnmatchcase(name, marker):
                continue
            number = _STEP.search(folder.rpartition("/")[2] or name)
            if number is not None and (newest is None or int(number[1]) > newest):
                newest = int(number[1])
    return newest
