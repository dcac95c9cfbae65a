"""What it costs to look at one host of eight GPUs once a second, on that host: our agent, nvitop, all-smi. NVML is the scripted one."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib.util
import os
import pty
import shutil
import struct
import sys
import termios
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from backends.probes.agent_link import agent_argv, program
from tests.peers.fake_nvml import fake_nvml

WATCHED, SETTLES = 20.0, 4.0
GPUS = 8


@dataclass(frozen=True, slots=True)
class HostCost:
    """`cpu` as a share of a core, `rss` in bytes; `why` it does not run here, where it does not."""

    name: str
    cpu: float | None = None
    rss: int | None = None
    why: str = ""

    def words(self) -> str:
        if self.cpu is None or self.rss is None:
            return f"{self.name} does not run here: {self.why}"
        return f"{self.name} on one host of {GPUS} GPUs: {self.cpu:.2%} of a core, {self.rss / 1e6:.0f} MB"


async def one_host(folder: Path) -> list[HostCost]:
    """Ours first; all of those that run, at the same time."""
    nvml = fake_nvml(folder / "nvml", gpus=GPUS)
    env = {**os.environ, **nvml.env, "LD_LIBRARY_PATH": str(nvml.library.parent), "TERM": "xterm-256color", "LANG": "C.UTF-8"}
    peers = {
        "nvitop": [sys.executable, "-m", "nvitop", "--monitor", "full", "--interval", "1"],
        "all-smi": ["all-smi", "local"],
    }
    absent = {
        "nvitop": "" if importlib.util.find_spec("nvitop") else "it is not installed (.ci/bench-tools)",
        "all-smi": "" if shutil.which("all-smi") else "it is not in the PATH (no package of PyPI; cargo install all-smi)",
    }
    async with contextlib.AsyncExitStack() as stack:
        pids = {"our agent": await stack.enter_async_context(_agent(env))}
        for name, argv in peers.items():
            if not absent[name]:
                pids[name] = await stack.enter_async_context(_on_a_terminal(argv, env))
        await asyncio.sleep(SETTLES)
        began, before = time.monotonic(), {name: _ran(pid) for name, pid in pids.items()}
        await asyncio.sleep(WATCHED)
        spent = time.monotonic() - began
        costs = {name: _cost(name, pid, before[name], spent) for name, pid in pids.items()}
    return [costs["our agent"], *(costs.get(name) or HostCost(name, why=absent[name]) for name in peers)]


def _cost(name: str, pid: int, before: float, spent: float) -> HostCost:
    try:
        return HostCost(name, (_ran(pid) - before) / spent, _rss(pid))
    except OSError:
        return HostCost(name, why="it ended by itself")


def _ran(pid: int) -> float:
    """Seconds of all its threads on a core: the scheduler's own count, in nanoseconds."""
    tasks = Path(f"/proc/{pid}/task")
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks.iterdir()) / 1e9 if tasks.is_dir() else 0.0


def _rss(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@contextlib.asynccontextmanager
async def _agent(env: dict[str, str]) -> AsyncIterator[int]:
    child = await asyncio.create_subprocess_exec(
        *agent_argv(1.0, ["/"]), stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, env=env
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(program())
    reading = asyncio.create_task(_drain(child.stdout))
    try:
        yield child.pid
    finally:
        child.stdin.close()
        await child.wait()
        await reading


async def _drain(lines: asyncio.StreamReader) -> None:
    while await lines.read(1 << 16):
        pass


@contextlib.asynccontextmanager
async def _on_a_terminal(argv: list[str], env: dict[str, str]) -> AsyncIterator[int]:
    """It draws on a terminal of 200x60, which is read."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 200, 0, 0))
    child = await asyncio.create_subprocess_exec(*argv, stdin=slave, stdout=slave, stderr=slave, env=env, start_new_session=True)
    os.close(slave)
    os.set_blocking(master, False)
    loop = asyncio.get_running_loop()

    def read() -> None:
        with contextlib.suppress(OSError):
            os.read(master, 1 << 16)

    loop.add_reader(master, read)
    try:
        yield child.pid
    finally:
        if child.returncode is None:
            child.terminate()
            await child.wait()
        loop.remove_reader(master)
        os.close(master)
