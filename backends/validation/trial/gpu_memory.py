"""The peak of a host's GPU memory while a validation run lasts, by what its own nvidia-smi says once a second.

Frameworks keep what they have taken, so that a look a second misses little. What others hold on the card counts as well: it is gone all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from backends.ssh.errors import SshError
from backends.ssh.pool import SshPool
from backends.validation.memory import Use

_QUERY = ("nvidia-smi", "--query-gpu=index,memory.used,memory.total", "--format=csv,noheader,nounits")
_PAUSE, _SECONDS = 1.0, 10.0
_MIB = 2.0**20


class Peak:
    """The fullest card so far; `use` None where none was seen."""

    def __init__(self) -> None:
        self.use: Use | None = None

    def take(self, text: str) -> None:
        """One answer; rows that are none are passed over (`[N/A]` of a card that is cut into instances)."""
        for line in text.splitlines():
            cells = [cell.strip() for cell in line.split(",")]
            if len(cells) < 3 or not all(c.isascii() and c.isdigit() for c in cells[:3]) or not int(cells[2]):
                continue
            seen = Use(int(cells[1]) * _MIB, int(cells[2]) * _MIB)
            if self.use is None or seen.free < self.use.free:
                self.use = seen


@asynccontextmanager
async def watched_memory(pool: SshPool, host: str) -> AsyncIterator[Peak]:
    """Look while the block runs; a host without nvidia-smi is asked once."""
    peak = Peak()
    task = asyncio.create_task(_watch(pool, host, peak), name=f"GPU memory of {host}")
    try:
        yield peak
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _watch(pool: SshPool, host: str, peak: Peak) -> None:
    while True:
        try:
            said = await pool.run(host, _QUERY, timeout=_SECONDS, limit=1 << 16)
        except SshError:
            said = None  # the run itself tells of a host that is out of reach
        if said is not None:
            if said.exit_status == 127:
                return
            peak.take(said.stdout.decode("ascii", "replace"))
        await asyncio.sleep(_PAUSE)
