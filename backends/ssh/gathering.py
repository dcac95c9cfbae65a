"""Many connections that each say a little now and then, read together.

Hundreds of hosts that tell their figures once a second wake a process hundreds of times a second, each time for work that takes longer cold than warm.
What came is left in its connection's buffer and read 20 times a second for all of them, one after the other.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

EVERY = 0.05  # seconds
MANY = 32  # connections from which it pays


class Held(Protocol):
    """A connection with something unread."""

    def read_held(self) -> None: ...


class Gathering:
    """The connections of one pool that are in no hurry."""

    def __init__(self) -> None:
        self.members = 0
        self._waiting: list[Held] = []

    @property
    def is_on(self) -> bool:
        """Are there so many that they are read together?"""
        return self.members >= MANY

    def soon(self, connection: Held) -> None:
        """Something came on it that nobody waits for."""
        if not self._waiting:
            asyncio.get_running_loop().call_later(EVERY, self._read_all)
        self._waiting.append(connection)

    def _read_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        for connection in waiting:
            connection.read_held()
