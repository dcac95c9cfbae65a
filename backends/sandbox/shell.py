"""The commands that a simulated host knows. There is no shell: the line is split and looked up, nothing is ever run."""

from __future__ import annotations

import asyncio
import os
import shlex
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from backends.sandbox import nvidia_smi
from backends.sandbox.gpus import GpuBox
from backends.sandbox.training import Training

_Process = asyncssh.SSHServerProcess[bytes]
_FILE_LIMIT = 64 << 20


@dataclass(slots=True)
class Shell:
    """What `ssh HOST COMMAND…` answers on one host. `training` is None where none runs."""

    host: str
    root: Path
    gpus: GpuBox
    training: Training | None

    async def run(self, process: _Process) -> int:
        """Run the command of `process`; returns its exit status."""
        try:
            argv = shlex.split(process.command or "")
        except ValueError as error:
            process.stderr.write(f"sandbox: {error}\n".encode())
            return 2
        if not argv:
            process.stderr.write(b"sandbox: there is no interactive shell here; give a command\n")
            return 1
        name = os.path.basename(argv[0])
        command = self.commands().get(name)
        if command is None:
            process.stderr.write(f"sandbox: {argv[0]}: command not found\n".encode())
            return 127
        return await command(argv[1:], process)

    def commands(self) -> dict[str, Callable[[list[str], _Process], Awaitable[int]]]:
        """Every command by its name; it gets its arguments and returns the exit status."""
        return {
            "nvidia-smi": self._nvidia_smi,
            "trainctl": self._trainctl,
            "cat": self._cat,
            "df": self._df,
            "true": self._true,
            "hostname": self._hostname,
            "uname": self._uname,
            "date": self._date,
            "echo": self._echo,
            "nproc": self._nproc,
        }

    async def _nvidia_smi(self, argv: list[str], process: _Process) -> int:
        try:
            query = nvidia_smi.parse_query(argv)
        except nvidia_smi.BadQuery as error:
            process.stdout.write(f"{error}\n".encode())
            return error.status
        if query.fields and query.header:
            process.stdout.write(nvidia_smi.csv_header(query).encode())
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            process.stdout.write(self._answer(query).encode())
            await process.stdout.drain()
            if query.every is None:
                return 0
            due = max(due + query.every, loop.time())
            await asyncio.sleep(due - loop.time())

    def _answer(self, query: nvidia_smi.Query) -> str:
        gpus = nvidia_smi.chosen(query, self.gpus.gpus)
        if query.listing:
            return nvidia_smi.listing(gpus)
        return nvidia_smi.csv_rows(query, gpus) if query.fields else nvidia_smi.table(gpus)

    async def _trainctl(self, argv: list[str], process: _Process) -> int:
        if self.training is None:
            process.stderr.write(f"trainctl: no training job on {self.host}\n".encode())
            return 4
        if argv == ["stop"]:
            text = await self.training.quiesce()
        elif argv == ["start"]:
            text = await self.training.resume()
        elif argv == ["status"]:
            text = self.training.status
        elif argv == ["step"]:
            text = str(await self.training.step())
        else:
            process.stderr.write(b"usage: trainctl start|stop|status|step\n")
            return 2
        process.stdout.write(f"{text}\n".encode())
        return 3 if argv == ["status"] and not self.training.is_writing else 0

    async def _cat(self, argv: list[str], process: _Process) -> int:
        status = 0
        for name in argv:
            data = await asyncio.to_thread(self._read, name)
            if data is None:
                process.stderr.write(f"cat: {name}: No such file or directory\n".encode())
                status = 1
            else:
                process.stdout.write(data)
                await process.stdout.drain()
        return status

    def _read(self, name: str) -> bytes | None:
        root = os.path.realpath(self.root)
        path = os.path.realpath(os.path.join(root, os.path.normpath("/" + name).lstrip("/")))
        if not path.startswith(root + "/") or not os.path.isfile(path) or os.path.getsize(path) > _FILE_LIMIT:
            return None
        return Path(path).read_bytes()

    async def _df(self, argv: list[str], process: _Process) -> int:
        size = 14_000_000_000_000 // 1024
        used = size // 3
        process.stdout.write(
            b"Filesystem     1024-blocks       Used   Available Capacity Mounted on\n"
            + f"/dev/nvme0n1   {size:>11} {used:>10} {size - used:>11}      33% /\n".encode()
        )
        return 0

    async def _true(self, argv: list[str], process: _Process) -> int:
        return 0

    async def _hostname(self, argv: list[str], process: _Process) -> int:
        process.stdout.write(f"{self.host}\n".encode())
        return 0

    async def _uname(self, argv: list[str], process: _Process) -> int:
        full = f"Linux {self.host} 5.15.0-118-generic #128-Ubuntu SMP x86_64 GNU/Linux"
        process.stdout.write(f"{full if argv == ['-a'] else 'Linux'}\n".encode())
        return 0

    async def _date(self, argv: list[str], process: _Process) -> int:
        forms = {"+%s": f"{time.time():.0f}", "+%s.%N": f"{time.time():.9f}"}
        now = forms[argv[0]] if argv and argv[0] in forms else time.strftime("%a %b %d %H:%M:%S UTC %Y", time.gmtime())
        process.stdout.write(f"{now}\n".encode())
        return 0

    async def _echo(self, argv: list[str], process: _Process) -> int:
        process.stdout.write((" ".join(argv) + "\n").encode())
        return 0

    async def _nproc(self, argv: list[str], process: _Process) -> int:
        process.stdout.write(b"96\n")
        return 0
