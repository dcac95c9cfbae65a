"""A side's data plane asked over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from backends.probes.endpoint import probe_url
from tests.peers.process import free_ports

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(answer: bytes | None) -> AsyncIterator[str]:
    """A server that says just this; with None it says nothing and holds the line."""
    done = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await done.wait()
        else:
            writer.write(answer)
        writer.close()

    async with await asyncio.start_server(handle, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/healthz"
        done.set()


def answer(status: str, extra: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: 2\r\nConnection: close\r\n{extra}\r\nok".encode()


@pytest.mark.parametrize("status", ["200 OK", "204 No Content", "302 Found"])
async def test_a_success_is_ok(status: str) -> None:
    body = answer(status, "Location: /elsewhere\r\n") if not status.startswith("204") else b"HTTP/1.1 204 No\r\n\r\n"
    async with serving(body) as url:
        result = await probe_url(url, 20)
    assert (result.ok, result.kind, result.answered, result.status) == (True, "ok", True, int(status[:3]))
    assert result.error is None
    assert result.seconds > 0


@pytest.mark.parametrize("status", [404, 500, 503])
async def test_an_error_is_a_wrong_answer_but_an_answer(status: int) -> None:
    async with serving(answer(f"{status} Oh")) as url:
        result = await probe_url(url, 20)
    assert (result.ok, result.kind, result.answered, result.status) == (False, "wrong", True, status)
    assert str(status) in (result.error or "")


@pytest.mark.parametrize("said", [b"", b"\x1b[2Jnonsense\r\n\r\n", b"SSH-2.0-x\r\n"])
async def test_what_is_not_http_is_a_wrong_answer(said: bytes) -> None:
    async with serving(said) as url:
        result = await probe_url(url, 20)
    assert (result.kind, result.answered, result.status) == ("wrong", True, None)
    assert "\x1b" not in (result.error or "")


async def test_nobody_listening_is_a_refusal() -> None:
    result = await probe_url(f"http://127.0.0.1:{free_ports(1)[0]}/", 20)
    assert (result.ok, result.kind, result.answered) == (False, "refused", False)


async def test_silence_is_a_timeout() -> None:
    async with serving(None) as url:
        result = await probe_url(url, 0.2)
    assert (result.kind, result.answered) == ("timeout", False)
    assert "within 0.2 s" in (result.error or "")


@pytest.mark.parametrize("url", ["http://no-such-name.invalid/", "nonsense", "http://[::1", "ftp://127.0.0.1/"])
async def test_what_cannot_be_asked_is_our_trouble(url: str) -> None:
    result = await probe_url(url, 20)
    assert (result.ok, result.kind, result.answered) == (False, "unreachable", False)
    assert result.error
