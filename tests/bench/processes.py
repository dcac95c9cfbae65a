"""Run a program to its end and say what it and all its descendants cost: wall, CPU and memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LIMIT = 1800.0  # seconds that one program may take
_POLL = 0.02


@dataclass(frozen=True, slots=True)
class Command:
    """What is run. `env` is all that the program sees beside PATH and PYTHONPATH (which lets another checkout be measured); no
    argument holds a secret."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds and bytes of a whole process tree.

    `cpu` is user and system time as the kernel counts it for the program and every descendant that was waited for. `rss` is
    the largest sum of resident memory over the tree that was seen (looked at every 20 ms), at least the high-water mark of its
    largest process; pages that processes share count once for each.
    """

    wall: float
    cpu: float
    rss: int
    code: int
    out: bytes
    err: bytes


class ProgramFailed(Exception):
    """It ended with another code than 0; the message ends with what it said."""


def run_to_end(command: Command, *, limit: float = LIMIT, watch: Callable[[subprocess.Popen[bytes]], None] | None = None) -> Cost:
    """Blocks until the program has ended, which it does by SIGKILL after `limit` seconds. Raises `ProgramFailed`.

    `watch` is called once with the started process, in the thread that then waits for it.
    """
    cost = measure(command, limit=limit, watch=watch)
    if cost.code != 0:
        said = (cost.out[-500:] + cost.err[-500:]).decode("utf-8", "replace")
        raise ProgramFailed(f"{Path(command.argv[0]).name} ended with {cost.code}: {said}")
    return cost


async def cost_of(command: Command) -> Cost:
    """`run_to_end` in a thread; the program is killed when this is cancelled."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        return await asyncio.to_thread(run_to_end, command, watch=started.append)
    finally:
        for process in started:
            if process.returncode is None:
                _kill_session(process.pid)


def measure(command: Command, *, limit: float = LIMIT, watch: Callable[[subprocess.Popen[bytes]], None] | None = None) -> Cost:
    """As `run_to_end`, whatever the exit code (negative: the signal that ended it)."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    env = {"PATH": os.defpath, **kept, **command.env}
    # Files and not pipes: nobody has to empty them while the program is measured.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        began = time.perf_counter()
        process = subprocess.Popen(
            list(command.argv), env=env, cwd=command.cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
        memory = _Memory(process.pid)
        memory.start()
        late = threading.Timer(limit, _kill_session, [process.pid])
        late.start()
        try:
            if watch is not None:
                watch(process)
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - began
        except BaseException:
            _kill_session(process.pid)
            process.wait()
            raise
        finally:
            late.cancel()
            memory.stop()
        process.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        return Cost(wall, usage.ru_utime + usage.ru_stime, memory.most, process.returncode, out.read(), err.read())


def _kill_session(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


class _Memory(threading.Thread):
    """Looks at the tree's resident memory until told to stop. `most` is in bytes."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.most = 0
        self._pid = pid
        self._ended = threading.Event()

    def run(self) -> None:
        while True:
            resident, largest = 0, 0
            for pid in _tree(self._pid):
                now, peak = _memory_of(pid)
                resident += now
                largest = max(largest, peak)
            self.most = max(self.most, resident, largest)
            if self._ended.wait(_POLL):
                return

    def stop(self) -> None:
        self._ended.set()
        self.join()


def _tree(root: int) -> list[int]:
    """This process and its descendants, as far as they are still there."""
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        with contextlib.suppress(OSError):
            for task in os.listdir(f"/proc/{pid}/task"):
                with contextlib.suppress(OSError):
                    todo += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    return found


def _memory_of(pid: int) -> tuple[int, int]:
    """(resident now, its high-water mark) in bytes; zeros for one that has gone."""
    now = peak = 0
    with contextlib.suppress(OSError, ValueError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                peak = int(line.split()[1]) << 10
            elif line.startswith("VmRSS:"):
                now = int(line.split()[1]) << 10
    return now, peak
