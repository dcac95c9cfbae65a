"""Many hosts of eight GPUs in one process: an SSH server (asyncssh) whose every session that sends our agent is answered as the agent
on a busy host would, a line a second with all that moves. `python -m tests.peers.gpu_hosts PORT FOLDER [still]` is that process; with `still` little
changes: one host in 16 works, the values of the others stand.

What a host really costs is measured with the agent itself (`tests/backends/probes/test_agent.py`); this is for what many cost us.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncssh
import uvloop

from tests.peers.process import accepts, free_ports, running

GPUS = 8
SMALL = ("true", "date +%s.%N")  # what preflight asks of every host
USED, TOTAL = 40 << 30, 85_520_809_984
FACTS: dict[str, object] = {  # what `cutover check --live` asks beside
    "host": {"machine": "x86_64", "os": "Ubuntu 24.04", "glibc": "glibc 2.39", "cpus": 128, "runtimes": ["docker"], "toolkit": True},
    "memory": 1 << 41, "shm": 1 << 40, "limits": {"nofile": 1 << 20}, "packages": [["torch", "2.4.1", "12.4", "/opt/venv"]],
    "environment": {f"NAME_{i}": "0" * 16 for i in range(40)},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class GpuHosts:
    port: int
    pid: int


def moving(chance: random.Random) -> dict[str, object]:
    """What moves every second on a GPU that works."""
    return {
        "util": chance.randint(60, 100),
        "mutil": chance.randint(20, 60),
        "used": USED + chance.randint(0, 1 << 30),
        "mw": chance.randint(400_000, 690_000),
        "temp": chance.randint(55, 70),
        "sm": chance.randint(1600, 1980),
        "mtemp": chance.randint(60, 80),
        "nvtx": int(time.monotonic() * 1e6),
        "nvrx": int(time.monotonic() * 1e6),
    }


def standing(number: int, gpu: int) -> dict[str, object]:
    """What hardly moves."""
    values: dict[str, object] = {
        "uuid": f"GPU-{number:08x}-0000-0000-0000-{gpu:012x}", "name": "NVIDIA H100 80GB HBM3", "total": TOTAL, "cap": 700_000,
        "smmax": 1980, "mem": 2619, "why": 0, "enc": 0, "pstate": 0, "fan": None, "persist": 1, "mode": 0, "ecc": 1, "ecc1": 0,
        "ecc2": 0, "rows": [0, 0, 0, 0], "pages": 0, "gen": 5, "width": 16, "mig": 0, "migs": [], "lost": None,
    }  # fmt: skip
    values["procs"] = [
        {"pid": 4000 + gpu, "used": USED, "user": "train", "cmd": "python pretrain.py --config big.yaml", "job": "slurm 17"}
    ]
    return values


class _Host(asyncssh.SSHServerSession[bytes]):
    """One session: reads the program's line, then speaks as it would."""

    number = 0
    is_still = False

    def __init__(self) -> None:
        type(self).number += 1
        self._chance = random.Random(self.number)
        self._number = self.number
        self._got = bytearray()
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._chan = chan

    def exec_requested(self, command: str) -> bool:
        self._command = command
        return command.startswith("python3 -BISuc") or command in SMALL

    def session_started(self) -> None:
        if self._command in SMALL:
            self._chan.write(f"{time.time():.6f}\n".encode() if self._command != "true" else b"")
            self._chan.exit(0)

    def data_received(self, data: bytes, datatype: int | None) -> None:
        self._got += data
        *lines, rest = self._got.split(b"\n")
        self._got = bytearray(rest)
        for line in lines:
            if '"salt"' in self._command:
                self._say({"cutover": "facts"} | FACTS)
                self._chan.exit(0)
            elif self._task is None:
                self._task = asyncio.get_running_loop().create_task(self._speak())
            else:
                self._say({"ping": line.decode("ascii", "replace"), "t": time.time()})

    def eof_received(self) -> bool:
        if self._task is not None:
            self._task.cancel()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()

    def _say(self, value: dict[str, object]) -> None:
        with contextlib.suppress(BrokenPipeError, OSError):
            self._chan.write(json.dumps(value, separators=(",", ":")).encode() + b"\n")

    async def _speak(self) -> None:
        facts = {
            "hostname": f"h{self._number}",
            "kernel": "6.8",
            "os": "Ubuntu 24.04",
            "cpus": 128,
            "boot": 1_790_000_000,
            "python": "3.12",
        }
        self._say({"cutover": 1, "facts": facts, "error": None, "driver": "570.124.06", "cuda": "12.8"})
        tick = 0
        while True:
            is_still = self.is_still and self._number % 16 != 0
            if is_still:
                self._chance.seed(self._number)
            parts: dict[str, object] = {"h": {"cpu": round(self._chance.random(), 3), "rx": 10**9, "tx": 10**8}}
            for gpu in range(GPUS):
                values = moving(self._chance)
                if tick % 60 == 0:
                    values |= standing(self._number, gpu)
                elif tick % 5 == 0 and not is_still:  # another draw of chance would move what stands
                    values |= {"pcitx": self._chance.randint(0, 10**6), "pcirx": self._chance.randint(0, 10**6)}
                parts[f"g{gpu}"] = values
            line: dict[str, object] = {"t": round(time.time(), 3), "n": tick + 1, "p": parts}
            if tick % 60 == 0:
                line["whole"] = 1
            self._say(line)
            tick += 1
            await asyncio.sleep(1.0)


class _Server(asyncssh.SSHServer):
    def session_requested(self) -> _Host:
        return _Host()


async def _serve(port: int, folder: Path) -> None:
    await asyncssh.create_server(
        _Server, "127.0.0.1", port,
        server_host_keys=[str(folder / "host_key")],
        authorized_client_keys=str(folder / "authorized_keys"),
        encoding=None, login_timeout=120,
    )  # fmt: skip
    await asyncio.Event().wait()


@contextlib.asynccontextmanager
async def gpu_hosts(folder: Path, *, still: bool = False) -> AsyncIterator[GpuHosts]:
    """The process while it runs. `folder` holds `host_key` and `authorized_keys`."""
    [port] = free_ports(1)

    async def ready() -> bool:
        return await accepts(port)

    argv = [sys.executable, "-m", "tests.peers.gpu_hosts", str(port), str(folder), *(["still"] if still else [])]
    async with running(argv, log=folder / f"hosts-{port}.log", ready=ready, seconds=30) as process:
        yield GpuHosts(port, process.pid)


if __name__ == "__main__":
    _Host.is_still = "still" in sys.argv[3:]
    uvloop.run(_serve(int(sys.argv[1]), Path(sys.argv[2])))
