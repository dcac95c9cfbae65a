"""What the console costs a slow line: bytes to an 80x24 terminal while the demo plays, and the time from a key to its frame."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import tempfile
import termios
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

CUTOVER = Path(sys.executable).parent / "cutover"
COLUMNS, LINES = 80, 24
LIMIT = 120.0  # seconds for the demo to draw its first frame, and for any key
PLAYED = 60  # seconds of the demo that are counted
ROUNDS = 5  # of all keys
SCREENS = {"2": b"dataset", "5": b"legacy / target", "6": b"health", "7": b"plan and gates", "8": b" events ", "1": b" triggers "}
"""Keys, and what only their screen has written since the key."""
PREVIEW = ("R", b"and Enter")
BACK = b"\x1b"


@dataclass(frozen=True, slots=True)
class ScreenCost:
    """Bytes in each second of the demo; seconds from a key to the end of the read that held its screen."""

    per_second: list[int]
    keys: list[float]
    previews: list[float]


class Pty:
    """The far end of a console's terminal."""

    def __init__(self, pid: int, fd: int) -> None:
        self.pid, self.fd = pid, fd

    def read(self, seconds: float) -> bytes:
        """What is there within so many seconds."""
        ready, _, _ = select.select([self.fd], [], [], max(0.0, seconds))
        return os.read(self.fd, 1 << 16) if ready else b""

    def until(self, marker: bytes) -> float:
        """Seconds until this was written."""
        began, seen = time.monotonic(), b""
        while marker not in seen:
            if time.monotonic() - began > LIMIT:
                raise TimeoutError(f"the console did not draw {marker.decode()}")
            seen += self.read(0.5)
        return time.monotonic() - began

    def rest(self, seconds: float = 0.4) -> None:
        """Read on for so long, so that what was drawn before counts for no key."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.read(left)

    def key(self, key: str, marker: bytes) -> float:
        """Press it; seconds to its frame."""
        os.write(self.fd, key.encode())
        return self.until(marker)


@contextmanager
def demo(state: Path) -> Iterator[Pty]:
    """`cutover demo` on a pseudo-terminal; left by `q`, ended by its own process id where it does not go."""
    pid, fd = pty.fork()
    if pid == 0:
        environ = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
        os.execve(CUTOVER, [str(CUTOVER), "demo", "--state", str(state)], environ)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    try:
        yield Pty(pid, fd)
    finally:
        _leave(pid, fd)


def _leave(pid: int, fd: int) -> None:
    end = time.monotonic() + 20
    with contextlib.suppress(OSError):  # it is gone already
        os.write(fd, b"q")
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if time.monotonic() > end:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            break
        with contextlib.suppress(OSError):
            if select.select([fd], [], [], 0.1)[0]:
                os.read(fd, 1 << 16)
    os.close(fd)


def screen_cost(state: Path, played: int = PLAYED, rounds: int = ROUNDS) -> ScreenCost:
    """Play the demo on the main screen for so long, then press every key so many times."""
    with demo(state) as terminal:
        terminal.until(b"ROLLBACK")
        counted: Counter[int] = Counter()
        began = time.monotonic()
        while (past := time.monotonic() - began) < played:
            counted[int(past)] += len(terminal.read(min(0.5, played - past)))
        keys: list[float] = []
        previews: list[float] = []
        for _ in range(rounds):
            for key, marker in SCREENS.items():
                terminal.rest()
                keys.append(terminal.key(key, marker))
            terminal.rest()
            previews.append(terminal.key(*PREVIEW))
            os.write(terminal.fd, BACK)
    return ScreenCost([counted[second] for second in range(played)], keys, previews)


async def bench_screen() -> None:
    """The console at 80x24 on the demo: bytes a second to the terminal, and from a key to its frame."""
    with tempfile.TemporaryDirectory(prefix="cutover-bench-") as folder:
        cost = await asyncio.to_thread(screen_cost, Path(folder) / "state")
    seconds = sorted(cost.per_second)
    print(
        f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores: above about as many as there are, keys wait for others' work"
    )
    print(
        f"bytes to the terminal: mean {mean(seconds):,.0f} a second over {len(seconds)} s of the demo, "
        f"median second {median(seconds):,.0f}, busiest {seconds[-1]:,}"
    )
    for what, found in (("key to its screen", cost.keys), ("R to its preview", cost.previews)):
        ms = sorted(1000 * value for value in found)
        print(f"{what + ':':<22} median {median(ms):.0f} ms of {len(ms)}, slowest {ms[-1]:.0f} ms")
