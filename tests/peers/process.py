"""Start a real server as a child of the test, wait until it is ready, end it by its own process id, show its log on failure."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path


class NotReady(Exception):
    """The server did not become ready in time; the message ends with its log."""


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that are free now, all distinct."""
    sockets: list[socket.socket] = []
    try:
        while len(sockets) < count:
            sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            sock.bind(("127.0.0.1", 0))
            sockets.append(sock)
        return [int(s.getsockname()[1]) for s in sockets]
    finally:
        for sock in sockets:
            sock.close()


async def accepts(port: int, address: str = "127.0.0.1") -> bool:
    """Whether something listens on this port of the loopback, or of another address of this machine."""
    try:
        _, writer = await asyncio.wait_for(asyncio.open_connection(address, port), 2)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


async def first_line(port: int, path: str) -> bytes:
    """The status line of an HTTP GET on the loopback; empty where nobody answers."""
    try:
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
                await writer.drain()
                return await reader.readline()
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return b""


@contextlib.asynccontextmanager
async def running(
    argv: Sequence[str],
    *,
    log: Path,
    ready: Callable[[], Awaitable[bool]],
    seconds: float = 60,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> AsyncIterator[asyncio.subprocess.Process]:
    """The server while it runs, from the moment `ready` says so. Ended with SIGTERM, after 5 s with SIGKILL."""
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=dict(env) if env is not None else None,
            cwd=cwd,
            start_new_session=True,
        )
    try:
        await _wait_ready(process, ready, log, seconds)
        yield process
    finally:
        await _end(process)


async def _wait_ready(
    process: asyncio.subprocess.Process, ready: Callable[[], Awaitable[bool]], log: Path, seconds: float
) -> None:
    deadline = time.monotonic() + seconds
    while not await ready():
        if process.returncode is not None:
            raise NotReady(f"ended with {process.returncode} before it was ready\n{_tail(log)}")
        if time.monotonic() > deadline:
            raise NotReady(f"not ready within {seconds:g} s\n{_tail(log)}")
        await asyncio.sleep(0.05)  # between two questions, not instead of one


async def _end(process: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), 5)


def _tail(log: Path, size: int = 4000) -> str:
    return log.read_bytes()[-size:].decode("utf-8", "replace")
