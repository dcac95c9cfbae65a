"""The proxy carries every byte in order both ways, counts them, and adds what it was told to add.

Times are only held to be at least what was asked for: that no load of the machine can break.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.delay_proxy import delay_proxy


@contextlib.asynccontextmanager
async def echo() -> AsyncIterator[tuple[str, int]]:
    """A server that sends back what it gets and closes when the client has ended."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        host, port = server.sockets[0].getsockname()[:2]
        yield str(host), int(port)


async def there_and_back(port: int, body: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def send() -> None:
        for start in range(0, len(body), 1 << 16):
            writer.write(body[start : start + (1 << 16)])
            await writer.drain()

    async with asyncio.TaskGroup() as group:
        group.create_task(send())
        got = await reader.readexactly(len(body))
    writer.close()
    await writer.wait_closed()
    return got


SHARED = {"bytes_per_second": 80e6, "of_process": True}


@pytest.mark.parametrize("options", [{}, {"rtt": 0.01}, {"bytes_per_second": 40e6}, SHARED])
async def test_every_byte_comes_through_in_order_and_is_counted(tmp_path: Path, options: dict[str, Any]) -> None:
    bodies = [random.Random(i).randbytes(3 << 20) for i in range(3)]
    async with echo() as server, delay_proxy(server, tmp_path, **options) as proxy:
        got = await asyncio.gather(*(there_and_back(proxy.port, body) for body in bodies))
        assert [hashlib.sha256(g).digest() for g in got] == [hashlib.sha256(b).digest() for b in bodies]
        assert await proxy.settled() == (9 << 20, 9 << 20)


async def test_an_answer_takes_at_least_the_round_trips_it_was_told(tmp_path: Path) -> None:
    async with echo() as server, delay_proxy(server, tmp_path, rtt=0.1) as proxy:
        began = time.monotonic()
        await there_and_back(proxy.port, b"x")
        assert time.monotonic() - began >= 0.2  # one to open, one to ask


async def test_a_limited_connection_is_never_faster_than_its_rate(tmp_path: Path) -> None:
    async with echo() as server, delay_proxy(server, tmp_path, bytes_per_second=2_000_000) as proxy:
        began = time.monotonic()
        await there_and_back(proxy.port, bytes(1_000_000))
        assert time.monotonic() - began >= 0.45


async def test_connections_of_one_process_share_its_rate(tmp_path: Path) -> None:
    async with echo() as server, delay_proxy(server, tmp_path, bytes_per_second=2_000_000, of_process=True) as proxy:
        began = time.monotonic()
        await asyncio.gather(*(there_and_back(proxy.port, bytes(500_000)) for _ in range(2)))
        assert time.monotonic() - began >= 0.45


async def test_a_server_that_is_not_there_is_a_closed_connection(tmp_path: Path) -> None:
    async with echo() as server:
        pass
    async with delay_proxy(server, tmp_path) as proxy:
        reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        with contextlib.suppress(ConnectionResetError):
            await writer.wait_closed()
