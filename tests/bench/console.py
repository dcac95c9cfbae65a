"""The console over 256 live hosts, on a pseudo-terminal: what it sends there, what it costs, how long a key takes.

The bars (issue 6): key to frame p99 under 50 ms with both cores busy, over a link of 1 Mbit/s; under 10 kB/s to the terminal, under 1 kB/s when
little changes (one host in 16 works, the others' values stand), 3 % of a core. The frame of a key is seen by the cursor, which alone is drawn so.
The link is reckoned: what is written reaches the far end after all that was written before it, at its rate. The far end is another machine:
where it may, it waits for no core of this one, and those who keep the cores busy are another session's, as another user's would be.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import random
import re
import struct
import sys
import tempfile
import termios
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import psutil

from tests.bench.live_fleet import HOSTS, live_fleet
from tests.bench.outcome import Outcome, Verdict

SIZES = ((200, 60), (80, 24))
WATCHED = 30.0
KEYS = 150
CURSOR = re.compile(rb"\xe2\x96\xb8|\x1b\[(?:\d+;)*7(?:;|m)")  # the sign before a name, or reverse
SETTLES = 8.0
LINK = 1e6 / 8  # bytes a second
BARS = {"bytes": 10.0, "still": 1.0, "cpu": 3.0, "key": 50.0}  # kB/s, kB/s, % of a core, ms


@dataclass
class Screen:
    """The far end of the console's terminal."""

    pid: int
    fd: int
    seen: bytearray = field(default_factory=bytearray)
    total: int = 0
    free_at: float = 0.0  # when the link has carried all that was read
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def read(self) -> None:
        with contextlib.suppress(OSError):
            data = os.read(self.fd, 1 << 16)
            self.total += len(data)
            self.free_at = max(self.free_at, time.perf_counter()) + len(data) / LINK
            self.seen += data
            del self.seen[: -(1 << 18)]
            self._news.set()

    async def until(self, pattern: re.Pattern[bytes], seconds: float) -> float:
        """Wait for it; when the link has carried it to the far end."""
        async with asyncio.timeout(seconds):
            while (found := pattern.search(self.seen)) is None:
                self._news.clear()
                await self._news.wait()
        return self.free_at - (len(self.seen) - found.end()) / LINK

    def press(self, key: bytes) -> None:
        self.seen.clear()
        os.write(self.fd, key)


async def bench_console() -> Outcome:
    """256 hosts live: bytes to the terminal, key to frame, CPU of the console, at 200x60 and 80x24."""
    found = Outcome("console", f"console over {HOSTS} live hosts, a link of 1 Mbit/s", "a pseudo-terminal")
    for still in (False, True):
        with tempfile.TemporaryDirectory(prefix="cutover-console-") as folder:
            async with live_fleet(Path(folder), still=still) as fleet:
                async with asyncio.timeout(180):
                    async for snapshot in fleet.client.events():
                        if sum(host.health == "live" for host in snapshot.hosts) == HOSTS:
                            break
                for size in SIZES:
                    async with _console(fleet.state, size) as screen:
                        await _measure(screen, size, still, found)
    return found


async def _measure(screen: Screen, size: tuple[int, int], still: bool, found: Outcome) -> None:
    await screen.until(re.compile(rb"ROLLBACK"), 60)
    await asyncio.sleep(2)
    screen.press(b"3")
    await asyncio.sleep(SETTLES)
    process = psutil.Process(screen.pid)
    before, sent, began = process.cpu_times(), screen.total, time.monotonic()
    await asyncio.sleep(WATCHED)
    spent, after = time.monotonic() - began, process.cpu_times()
    cpu = (after.user + after.system - before.user - before.system) / spent
    words = f"{size[0]}x{size[1]}, {'little changes' if still else 'all moves'}"
    rate = (screen.total - sent) / spent / 1000
    _tell(found, Verdict(f"{words}: to the terminal", rate, BARS["still" if still else "bytes"], unit="kB/s"))
    _tell(found, Verdict(f"{words}: CPU", 100 * cpu, BARS["cpu"], unit="% of a core"))
    found.notes.append(f"{words}: {process.memory_info().rss / 1e6:.0f} MB; load average {os.getloadavg()[0]:.1f}")
    if still:
        return
    for busy in (False, True):
        with _burning(os.cpu_count() or 2) if busy else contextlib.nullcontext(), _far_end():
            times = sorted([await _key(screen, key) for key in [b"j", b"k"] * (KEYS // 2)])
        p99, how = times[int(len(times) * 0.99)], "both cores busy" if busy else "nothing else of the bench runs"
        _tell(found, Verdict(f"{size[0]}x{size[1]}: key to frame, p99, {how}", p99 * 1000, BARS["key"], unit="ms"))
        rest = f"median {median(times) * 1000:.0f} ms, longest {times[-1] * 1000:.0f} ms; load average {os.getloadavg()[0]:.1f}"
        found.notes.append(f"{size[0]}x{size[1]}: key to frame, {how}: {rest}")


def _tell(found: Outcome, verdict: Verdict) -> None:
    print(verdict.line(), flush=True)
    found.verdicts.append(verdict)


async def _key(screen: Screen, key: bytes) -> float:
    await asyncio.sleep(random.uniform(0.05, 0.35))
    began = time.perf_counter()
    screen.press(key)
    return await screen.until(CURSOR, 10) - began


@contextlib.contextmanager
def _far_end() -> Iterator[None]:
    """Before all others on a core, where we may: what the far end waits for is no part of what it sees."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    try:
        yield
    finally:
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


@contextlib.contextmanager
def _burning(cores: int) -> Iterator[None]:
    """As many processes as there are cores that do nothing but work."""
    pids = []
    for _ in range(cores):
        pid = os.posix_spawn(sys.executable, [sys.executable, "-c", "while True: pass"], os.environ, setsid=True)
        pids.append(pid)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, 9)
            os.waitpid(pid, 0)


@contextlib.asynccontextmanager
async def _console(state: Path, size: tuple[int, int]) -> AsyncIterator[Screen]:
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
    env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LANG": "C.UTF-8"}
    program = "from console.main import main; main()"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, "attach", "--state", str(state), stdin=slave, stdout=slave, stderr=slave, env=env,
        start_new_session=True,
    )  # fmt: skip
    os.close(slave)
    os.set_blocking(master, False)
    screen = Screen(process.pid, master)
    loop = asyncio.get_running_loop()
    loop.add_reader(master, screen.read)
    try:
        yield screen
    finally:
        if process.returncode is None:
            process.terminate()
            await process.wait()
        loop.remove_reader(master)
        os.close(master)
