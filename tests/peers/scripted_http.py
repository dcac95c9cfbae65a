"""A tiny HTTP server that says exactly what a test gives it, byte by byte: for answers that no real server gives on demand."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it arrived. `target` is the request line's, untouched."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass
class ScriptedHttp:
    endpoint: str = ""
    asked: list[Asked] = field(default_factory=list)


def answer(status: int, body: bytes | str = b"", **headers: str) -> bytes:
    """A whole answer; `content_length="9"` and the like override or add headers."""
    data = body.encode() if isinstance(body, str) else body
    lines = {"content-length": str(len(data)), "connection": "close", **{k.replace("_", "-"): v for k, v in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Said\r\n{head}\r\n".encode() + data


@contextlib.asynccontextmanager
async def scripted_http(
    script: Callable[[Asked], bytes | None], tls: ssl.SSLContext | None = None
) -> AsyncIterator[ScriptedHttp]:
    """`script` gives the answer to each request; None leaves the client waiting. Every answer closes its connection."""
    server_state = ScriptedHttp()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            request = await _read(reader)
            server_state.asked.append(request)
            said = script(request)
            if said is None:
                await asyncio.Event().wait()
            else:
                writer.write(said)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    server_state.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield server_state
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, target, headers, body)
