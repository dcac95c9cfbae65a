"""That a route asks whether it may when all has been read, just before its change is sent."""

from __future__ import annotations

import pytest

from backends.errors import CutoverError, RefusedByRule
from backends.sending import asking
from backends.traffic.base import Route


async def refused_before_the_change(route: Route, weight: int) -> None:
    """From where it stands to `weight` and back, and once more with a no to the last question before the change: nothing is changed then,
    though all questions before, those of the reading, were answered."""
    before = (await route.read()).weight
    seen: list[int | None] = []

    async def look() -> None:
        try:
            seen.append((await route.read()).weight)
        except CutoverError:
            seen.append(None)  # half of it is done

    with asking(look):
        await route.set(weight, before)
    await route.set(before, weight)
    last = max(number for number, found in enumerate(seen) if found == before)
    asked = 0

    async def refuse() -> None:
        nonlocal asked
        asked += 1
        if asked > last:
            raise RefusedByRule("LEASE", "somebody else has it")

    with asking(refuse), pytest.raises(CutoverError, match="somebody else has it"):
        await route.set(weight, before)
    assert (await route.read()).weight == before
