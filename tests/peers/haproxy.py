"""A real HAProxy on the loopback in front of two sides, with an admin socket and a state file, that can be reloaded and killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.peers.delay_server import delay_server
from tests.peers.process import accepts, free_ports

CONFIG = """
global
    stats socket {folder}/admin.sock mode 600 level {level} expose-fd listeners
    server-state-file {folder}/state
    hard-stop-after 10s
defaults
    mode http
    timeout connect 2s
    timeout client 20s
    timeout server 20s
    retries 3
    option redispatch
    option idle-close-on-response
    load-server-state-from-file global
frontend front
    bind 127.0.0.1:{port}
    default_backend chat
backend chat
    balance {balance}
    option httpchk GET /now
    {cookie}
    default-server inter 200ms fastinter 100ms fall 2 rise 1
"""


@dataclass
class Haproxy:
    """`legacy` and `target` are the ports of each server of a side; their names in the backend are l0, l1, …, t0, t1, …"""

    folder: Path
    port: int
    legacy: list[int]
    target: list[int]
    cookie: bool = False
    level: str = "admin"
    balance: str = "roundrobin"
    backup: tuple[str, ...] = ()  # servers that serve only while no other can
    master: bool = False  # master-worker (-W): a signal to the master reloads it
    process: asyncio.subprocess.Process | None = None
    ended: list[asyncio.subprocess.Process] = field(default_factory=list)

    @property
    def socket(self) -> Path:
        return self.folder / "admin.sock"

    @property
    def state_file(self) -> Path:
        return self.folder / "state"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/now"

    @property
    def names(self) -> tuple[list[str], list[str]]:
        return [f"l{n}" for n in range(len(self.legacy))], [f"t{n}" for n in range(len(self.target))]

    async def tell(self, line: str) -> str:
        """A line to the admin socket, as somebody else would; the answer."""
        reader, writer = await asyncio.open_unix_connection(str(self.socket))
        try:
            writer.write(line.encode() + b"\n")
            await writer.drain()
            return (await reader.read()).decode()
        finally:
            writer.close()

    async def start(self, *more: str) -> None:
        """A process of it, ready to serve."""
        program = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
        if program is None:
            pytest.skip("server missing: haproxy")
        config = self.folder / "haproxy.cfg"
        config.write_text(self._config())
        with (self.folder / "haproxy.log").open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                program,
                *(["-W"] if self.master else []),
                "-db",
                "-f",
                str(config),
                *more,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        await self._until_ready("")

    async def _until_ready(self, before: str) -> None:
        assert self.process is not None
        async with asyncio.timeout(20):
            while not await self._is_ready(before):
                assert self.process.returncode is None, (self.folder / "haproxy.log").read_text()
                await asyncio.sleep(0.02)

    async def _is_ready(self, before: str) -> bool:
        if not await accepts(self.port):
            return False
        with contextlib.suppress(OSError):
            said = await self.worker()
            return said not in ("", before) and (self.master or (self.process is not None and said == str(self.process.pid)))
        return False

    async def worker(self) -> str:
        """The process id of who answers."""
        lines = (await self.tell("show info")).splitlines()
        return next((line.partition(": ")[2] for line in lines if line.startswith("Pid: ")), "")

    async def reload(self) -> None:
        """Another process takes the listeners over; the one before ends when its clients have left."""
        assert self.process is not None
        if self.master:
            worker = await self.worker()
            self.process.send_signal(signal.SIGUSR2)
            return await self._until_ready(worker)
        before, self.process = self.process, None
        self.ended.append(before)
        await self.start("-x", str(self.socket), "-sf", str(before.pid))

    async def kill(self) -> None:
        """As a crash does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    async def stop(self) -> None:
        for process in [*self.ended, *([self.process] if self.process is not None else [])]:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    def _config(self) -> str:
        text = CONFIG.format(
            folder=self.folder,
            port=self.port,
            level=self.level,
            balance=self.balance,
            cookie="cookie SRV insert indirect nocache" if self.cookie else "",
        )
        for names, ports, weight in zip(self.names, (self.legacy, self.target), (100, 0), strict=True):
            for name, port in zip(names, ports, strict=True):
                mark = f" cookie {name}" if self.cookie else ""
                mark += " backup" if name in self.backup else ""
                text += f"    server {name} 127.0.0.1:{port} check weight {weight}{mark}\n"
        return text


@contextlib.asynccontextmanager
async def haproxy(
    folder: Path,
    *,
    legacy: int = 1,
    target: int = 1,
    cookie: bool = False,
    level: str = "admin",
    balance: str = "roundrobin",
    backup: tuple[str, ...] = (),
    master: bool = False,
) -> AsyncIterator[Haproxy]:
    """HAProxy and the servers of both sides while they run; each answers `/now` with JSON that names its side."""
    folder.mkdir(parents=True, exist_ok=True)
    async with contextlib.AsyncExitStack() as stack:
        ports: dict[str, list[int]] = {"legacy": [], "target": []}
        for side, count in (("legacy", legacy), ("target", target)):
            for n in range(count):
                server = await stack.enter_async_context(delay_server(folder, name=side, seed=n))
                ports[side].append(server.port)
        made = Haproxy(folder, free_ports(1)[0], ports["legacy"], ports["target"], cookie, level, balance, backup, master)
        try:
            await made.start()
            yield made
        finally:
            await made.stop()
