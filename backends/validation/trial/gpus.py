"""The GPUs of a host while a validation run lasts, by what its own nvidia-smi says once a second: the peak of their memory, and what may make
a run slow (clocks that are held down, GPUs that wait while the processors are full).

Frameworks keep what they have taken, so that a look a second misses little. What others hold on the card counts as well: it is gone all the same.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from backends.escape import plain
from backends.ssh.errors import SshError
from backends.ssh.pool import SshPool
from backends.validation.causes import Cause
from backends.validation.memory import Use

_QUERY = ("nvidia-smi", "--query-gpu=index,memory.used,memory.total", "--format=csv,noheader,nounits")
# Apart from the first: a driver that does not know a field answers nothing at all.
_STATE = (
    "sh",
    "-c",
    "nvidia-smi --query-gpu=index,utilization.gpu,clocks_throttle_reasons.active --format=csv,noheader,nounits; head -n 1 /proc/stat",
)
# NVML's bits for clocks that are held down; the power cap is no fault of a GPU that works hard.
_SLOWED = {0x08: "hardware slowdown", 0x20: "thermal (software)", 0x40: "thermal (hardware)", 0x80: "power brake"}
_PAUSE, _SECONDS = 1.0, 10.0
_MIB = 2.0**20
_WAITING_GPU, _BUSY_CPU, _OFTEN = 0.6, 0.9, 0.2  # of the looks


class Watched:
    """What was seen so far of one host; `use` of the fullest card, None where none was seen."""

    def __init__(self, host: str) -> None:
        self.host = host
        self.use: Use | None = None
        self._looks = 0
        self._slowed: dict[str, int] = {}  # `GPU 3: thermal (hardware)` -> looks
        self._busy: list[float] = []  # of all GPUs, a look each
        self._ticks: list[tuple[float, float]] = []  # of the processors, at work and in all: at the first look and at the last

    def take(self, text: str) -> None:
        """Memory; rows that are none are passed over (`[N/A]` of a card that is cut into instances)."""
        for line in text.splitlines():
            cells = [cell.strip() for cell in line.split(",")]
            if len(cells) < 3 or not all(c.isascii() and c.isdigit() for c in cells[:3]) or not int(cells[2]):
                continue
            seen = Use(int(cells[1]) * _MIB, int(cells[2]) * _MIB)
            if self.use is None or seen.free < self.use.free:
                self.use = seen

    def take_state(self, text: str) -> None:
        """How busy the GPUs are, what holds their clocks down, and the processors' ticks."""
        used: list[float] = []
        for line in text.splitlines():
            if line.startswith("cpu "):
                self._take_ticks(line)
                continue
            cells = [cell.strip() for cell in line.split(",")]
            if len(cells) < 3 or not cells[0].isdigit() or not cells[2].startswith("0x"):
                continue
            if cells[1].isascii() and cells[1].isdigit() and int(cells[1]) <= 100:
                used.append(int(cells[1]) / 100)
            for bit, reason in _SLOWED.items():
                if _bits(cells[2]) & bit:
                    words = f"GPU {int(cells[0][:4])}: {reason}"
                    self._slowed[words] = self._slowed.get(words, 0) + 1
        if used:
            self._looks += 1
            self._busy.append(math.fsum(used) / len(used))

    def _take_ticks(self, line: str) -> None:
        ticks = [float(t) for t in line.split()[1:9] if t.isascii() and t.isdigit()]
        if len(ticks) >= 5:
            self._ticks[1:] = [(math.fsum(ticks) - ticks[3] - ticks[4], math.fsum(ticks))]  # idle, and waiting for disks

    @property
    def busy_processors(self) -> float | None:
        """The share of the processors that was at work between the first and the last look."""
        if len(self._ticks) < 2 or self._ticks[1][1] <= self._ticks[0][1]:
            return None
        (first, began), (last, ended) = self._ticks
        return (last - first) / (ended - began)

    @property
    def causes(self) -> tuple[Cause, ...]:
        """What of it may have made this host slow, with what was seen."""
        out = []
        often = sorted(words for words, count in self._slowed.items() if count > _OFTEN * self._looks)
        if often:
            out.append(Cause("throttled GPUs on target", f"{plain(self.host, 60)}: {', '.join(often[:8])}"))
        processors = self.busy_processors
        if self._busy and processors is not None:
            gpus = math.fsum(self._busy) / len(self._busy)
            if gpus < _WAITING_GPU and processors > _BUSY_CPU:
                evidence = f"{plain(self.host, 60)}: GPUs at {gpus:.0%}, processors at {processors:.0%}"
                out.append(Cause("the target is bound by its input", evidence))
        return tuple(out)


def _bits(text: str) -> int:
    try:
        return int(text[:20], 16)
    except ValueError:
        return 0


@asynccontextmanager
async def watched_gpus(pool: SshPool, host: str) -> AsyncIterator[Watched]:
    """Look while the block runs; a host without nvidia-smi is asked once."""
    watched = Watched(host)
    task = asyncio.create_task(_watch(pool, host, watched), name=f"GPUs of {host}")
    try:
        yield watched
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _watch(pool: SshPool, host: str, watched: Watched) -> None:
    while True:
        said = await _ask(pool, host, _QUERY)
        if said is not None:
            if said[0] == 127:
                return
            watched.take(said[1])
            state = await _ask(pool, host, _STATE)
            watched.take_state(state[1] if state is not None else "")
        await asyncio.sleep(_PAUSE)


async def _ask(pool: SshPool, host: str, argv: Sequence[str]) -> tuple[int, str] | None:
    """(exit status, output); None where the host is out of reach, of which the run itself tells."""
    try:
        said = await pool.run(host, argv, timeout=_SECONDS, limit=1 << 16)
    except SshError:
        return None
    return said.exit_status, said.stdout.decode("ascii", "replace")
