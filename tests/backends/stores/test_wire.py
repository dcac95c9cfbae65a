"""Both ways of HTTP to a store, over the event loop and in threads, against a server that says exactly what it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from backends.stores.bulk import Bulk
from backends.stores.http1 import (
    Answer,
    BadAnswer,
    BrokeOff,
    HungUp,
    NoAnswerInTime,
    NoConnection,
    NotTrusted,
    Request,
)
from backends.stores.s3_client import bucket_address
from backends.stores.tls import client_context
from backends.stores.wire import Wire
from tests.peers.certificate import Certificate, make_certificate
from tests.peers.process import free_ports

Way = Wire | Bulk
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LARGE = random.Random(5).randbytes(3 << 20)


class Server:
    """`talks[n]` is what the n-th connection does, the last of them what all further ones do."""

    def __init__(self, talks: tuple[Talk, ...]) -> None:
        self.talks = talks
        self.connections = 0
        self.port = 0
        self.came = asyncio.Event()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = self.talks[min(self.connections, len(self.talks) - 1)]
        self.connections += 1
        self.came.set()
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                await talk(reader, writer)
        finally:
            writer.close()


@contextlib.asynccontextmanager
async def served(*talks: Talk, tls: ssl.SSLContext | None = None) -> AsyncIterator[Server]:
    server = Server(talks)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        with contextlib.suppress(asyncio.CancelledError):
            await server.serve(reader, writer)
        tasks.discard(task)

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for task in tuple(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await listening.wait_closed()


@pytest.fixture(params=["wire", "bulk"])
def make(request: pytest.FixtureRequest) -> Callable[[int], Way]:
    return (lambda port: Wire("127.0.0.1", port, None)) if request.param == "wire" else (lambda port: Bulk("127.0.0.1", port))


@contextlib.asynccontextmanager
async def way_to(make: Callable[[int], Way], port: int) -> AsyncIterator[Way]:
    way = make(port)
    try:
        yield way
    finally:
        async with asyncio.timeout(5):
            await way.close()


def get(limit: float = 10.0, idle: float = 10.0, expect: int | None = 0, method: str = "GET") -> Request:
    return Request(method, "/k", {"host": "h"}, None, limit, idle, expect)


def put(body: bytes, limit: float = 10.0, method: str = "PUT") -> Request:
    return Request(method, "/k", {"host": "h"}, body, limit, limit)


async def head_of(reader: asyncio.StreamReader) -> dict[str, str]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    return dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)


def says(*parts: bytes, times: int = 1_000_000) -> Talk:
    """The same answer to every request, in these pieces."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(times):
            headers = await head_of(reader)
            await reader.readexactly(int(headers.get("content-length", "0")))
            for part in parts:
                writer.write(part)
                await writer.drain()
                await asyncio.sleep(0)

    return talk


def whole(body: bytes, *lines: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"Content-Length: {len(body)}", *lines))
    return f"HTTP/1.1 200 OK\r\n{head}\r\n".encode() + body


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(1 << 24)
    await asyncio.Event().wait()


@pytest.mark.parametrize("body", [b"", b"small", LARGE], ids=["empty", "small", "large"])
async def test_requests_share_one_connection_and_bodies_arrive_whole(make: Callable[[int], Way], body: bytes) -> None:
    async with served(says(whole(body, "ETag: e"))) as server, way_to(make, server.port) as way:
        for _ in range(3):
            answer = await way.ask(get(expect=len(body)))
            assert (answer.status, answer.headers["etag"], bytes(answer.body)) == (200, "e", body)
        assert server.connections == 1


@pytest.mark.parametrize("body", [b"", b"small", LARGE], ids=["empty", "small", "large"])
async def test_bodies_are_sent_whole(make: Callable[[int], Way], body: bytes) -> None:
    came: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            headers = await head_of(reader)
            came.append(await reader.readexactly(int(headers["content-length"])))
            writer.write(whole(b""))

    async with served(talk) as server, way_to(make, server.port) as way:
        for _ in range(2):
            await way.ask(put(body))
        assert came == [body, body]
        assert server.connections == 1


async def test_an_answer_is_the_same_wherever_the_network_cuts_it(make: Callable[[int], Way]) -> None:
    said = b"HTTP/1.1 100 Continue\r\n\r\n" + whole(b"0123456789", "Server: x")
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;a=b\r\n01234\r\n5\r\n56789\r\n0\r\nx: y\r\n\r\n"
    for text in (said, chunked):
        for at in range(1, len(text), 7):
            async with served(says(text[:at], text[at : at + 3], text[at + 3 :])) as server, way_to(make, server.port) as way:
                for _ in range(2):
                    assert bytes((await way.ask(get())).body) == b"0123456789"
                assert server.connections == 1


async def test_a_body_without_a_length_goes_on_to_the_end_of_the_connection(make: Callable[[int], Way]) -> None:
    async with served(says(b"HTTP/1.1 200 OK\r\n\r\nso", b"me", times=1)) as server, way_to(make, server.port) as way:
        assert bytes((await way.ask(get())).body) == b"some"
        assert bytes((await way.ask(get())).body) == b"some"
        assert server.connections == 2


@pytest.mark.parametrize("method", ["GET", "PUT"])
async def test_a_connection_that_was_closed_meanwhile_is_replaced(make: Callable[[int], Way], method: str) -> None:
    """Servers close idle connections whenever they like, also in the moment in which the next request is sent."""

    async def once_and_then_deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await says(whole(b"1"), times=1)(reader, writer)
        await reader.readuntil(b"\r\n\r\n")  # hung up on, not answered

    async with served(once_and_then_deaf, says(whole(b"2"))) as server, way_to(make, server.port) as way:
        assert bytes((await way.ask(get())).body) == b"1"
        assert bytes((await way.ask(get() if method == "GET" else put(b"x"))).body) == b"2"
        assert server.connections == 2


async def test_what_may_have_begun_something_is_not_sent_twice(make: Callable[[int], Way]) -> None:
    async def once_and_then_deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await says(whole(b"1"), times=1)(reader, writer)
        await reader.readuntil(b"\r\n\r\n")

    async with served(once_and_then_deaf, says(whole(b"2"))) as server, way_to(make, server.port) as way:
        await way.ask(get())
        with pytest.raises(HungUp):
            await way.ask(put(b"", method="POST"))
        assert server.connections == 1


@pytest.mark.parametrize("size", [100, 4 << 20])
async def test_an_answer_before_the_body_was_taken_counts_and_the_connection_ends(make: Callable[[int], Way], size: int) -> None:
    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Busy\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        await reader.read(-1)

    async with served(refuses) as server, way_to(make, server.port) as way:
        assert (await way.ask(put(random.Random(1).randbytes(size)))).status == 503
        await way.ask(put(b"x"))
        assert server.connections == 2


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", HungUp),
        (b"HTTP/1.1 200 OK\r\ncontent-le", BrokeOff),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nsome", BrokeOff),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nsome", BrokeOff),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", BadAnswer),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n", BadAnswer),
        (b"HTTP/1.1 200 OK\r\nx: " + b"y" * 300_000, BadAnswer),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", BadAnswer),
    ],
    ids=["nothing", "head", "body", "chunk", "no-http", "endless", "long-head", "no-chunk"],
)
async def test_an_answer_that_is_none_is_told_and_nothing_goes_on_there(
    make: Callable[[int], Way], said: bytes, error: type[Exception]
) -> None:
    async with served(says(said, times=1), says(whole(b"ok"))) as server, way_to(make, server.port) as way:
        with pytest.raises(error):
            await way.ask(get())
        assert bytes((await way.ask(get())).body) == b"ok"
        assert server.connections == 2


async def test_what_follows_an_answer_is_never_taken_for_the_next_one(make: Callable[[int], Way]) -> None:
    """A server, or somebody between, that says more than was asked for: the next request has another connection."""
    async with (
        served(says(whole(b"1"), whole(b"forged"), times=1), says(whole(b"2"))) as server,
        way_to(make, server.port) as way,
    ):
        with contextlib.suppress(BadAnswer):
            assert bytes((await way.ask(get())).body) == b"1"
        await asyncio.sleep(0.05)
        assert bytes((await way.ask(get())).body) == b"2"


@pytest.mark.parametrize(
    "request_", [get(limit=0.4), get(limit=30, idle=0.4), put(b"x" * 100, limit=0.4)], ids=["limit", "idle", "put"]
)
async def test_silence_ends(make: Callable[[int], Way], request_: Request) -> None:
    async with served(silent) as server, way_to(make, server.port) as way:
        async with asyncio.timeout(5):
            with pytest.raises(NoAnswerInTime):
                await way.ask(request_)


async def test_a_body_that_stops_in_the_middle_ends(make: Callable[[int], Way]) -> None:
    async def stops(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 3145728\r\n\r\n" + LARGE[:100_000])
        await asyncio.Event().wait()

    async with served(stops) as server, way_to(make, server.port) as way:
        async with asyncio.timeout(5):
            with pytest.raises(NoAnswerInTime):
                await way.ask(get(idle=0.4, limit=1.5, expect=len(LARGE)))


async def test_a_server_that_takes_no_more_of_a_body_ends(make: Callable[[int], Way]) -> None:
    async def deaf(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with served(deaf) as server, way_to(make, server.port) as way:
        async with asyncio.timeout(8):
            with pytest.raises(NoAnswerInTime):
                await way.ask(put(b"x" * (64 << 20), limit=0.7))


async def test_nobody_at_the_port_is_no_connection(make: Callable[[int], Way]) -> None:
    (port,) = free_ports(1)
    async with way_to(make, port) as way:
        with pytest.raises(NoConnection, match="refused"):
            await way.ask(get())


async def test_who_is_cancelled_ends_at_once_and_takes_nobody_along(make: Callable[[int], Way]) -> None:
    """At any moment: the next one never gets the answer that another had asked for."""
    chance = random.Random(7)

    async def numbered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            first = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
            await asyncio.sleep(chance.random() * 0.002)
            writer.write(whole(first))

    async with served(numbered) as server, way_to(make, server.port) as way:
        for number in range(150):
            request = Request("GET", f"/{number}", {"host": "h"}, None, 10, 10)
            task = asyncio.create_task(way.ask(request))
            await asyncio.sleep(chance.random() * 0.004)
            task.cancel()
            await asyncio.wait({task}, timeout=2)
            assert task.done()
            if not task.cancelled():
                assert bytes(task.result().body) == f"/{number}".encode()


async def test_many_at_once_get_each_its_own(make: Callable[[int], Way]) -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            first = (await reader.readuntil(b"\r\n\r\n")).split(b" ")[1]
            writer.write(whole(first * 999))

    async def one(way: Way, number: int) -> Answer:
        return await way.ask(Request("GET", f"/{number}", {"host": "h"}, None, 10, 10))

    async with served(echo) as server, way_to(make, server.port) as way:
        for turn in range(3):
            numbers = range(turn * 100, turn * 100 + 40)
            answers = await asyncio.gather(*(one(way, number) for number in numbers))
            assert [bytes(a.body) for a in answers] == [f"/{n}".encode() * 999 for n in numbers]


async def test_closing_ends_who_still_waits(make: Callable[[int], Way]) -> None:
    async with served(silent) as server:
        way = make(server.port)
        task = asyncio.create_task(way.ask(get()))
        await server.came.wait()
        if isinstance(way, Bulk):
            task.cancel()
        async with asyncio.timeout(5):
            await way.close()
            await asyncio.wait({task})
        assert task.cancelled() or task.exception() is not None


# -- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("tls"))


async def test_over_tls_a_known_authority_is_trusted_and_others_are_not(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(says(whole(LARGE)), tls=certificate.context()) as server:
        monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
        stranger = Wire("127.0.0.1", server.port, client_context())
        with pytest.raises(NotTrusted):
            await stranger.ask(get())
        await stranger.close()
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate.authority))
        known = Wire("127.0.0.1", server.port, client_context())
        for _ in range(2):
            assert bytes((await known.ask(get(expect=len(LARGE)))).body) == LARGE
        await known.close()


async def test_a_certificate_of_another_name_is_not_trusted(certificate: Certificate, monkeypatch: pytest.MonkeyPatch) -> None:
    async with served(says(whole(b"x")), tls=certificate.context()) as server:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate.authority))
        way = Wire("localhost", server.port, client_context())
        with pytest.raises(NotTrusted):
            await way.ask(get())
        await way.close()


async def test_plain_http_at_a_port_of_tls_is_an_error_and_not_an_answer(certificate: Certificate) -> None:
    async with served(says(whole(b"x")), tls=certificate.context()) as server:
        way = Wire("127.0.0.1", server.port, None)
        with pytest.raises((HungUp, BrokeOff, BadAnswer)):
            await way.ask(get())
        await way.close()


def test_addresses_keep_their_scheme_and_port() -> None:
    address = bucket_address("b", endpoint="https://store.example:9443/root", region="eu", path_style=None)
    assert (address.origin, address.base) == ("https://store.example:9443", "/root/b/")


# -- bodies in pieces


def ranged(take: Callable[[memoryview], None], expect: int) -> Request:
    return Request("GET", "/k", {"host": "h", "range": "bytes=0-"}, None, 10, 10, expect, take)


async def test_a_range_is_taken_in_pieces_in_order_and_the_connection_stays_good() -> None:
    said = f"HTTP/1.1 206 Partial\r\ncontent-length: {len(LARGE)}\r\n\r\n".encode() + LARGE
    async with (
        served(says(said[:20], said[20:5000], said[5000:])) as server,
        way_to(lambda p: Bulk("127.0.0.1", p), server.port) as way,
    ):
        for _ in range(2):
            pieces: list[bytes] = []
            answer = await way.ask(ranged(lambda piece, pieces=pieces: pieces.append(bytes(piece)), len(LARGE)))  # type: ignore[misc]
            assert (answer.is_taken, bytes(answer.body)) == (True, b"")
            assert b"".join(pieces) == LARGE
            assert len(pieces) > 1
        assert server.connections == 1


@pytest.mark.parametrize(
    "said",
    [whole(LARGE), b"HTTP/1.1 206 Part\r\ncontent-length: 3\r\n\r\nfew", b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nslow"],
)
async def test_what_is_not_the_range_that_was_asked_for_is_never_taken(said: bytes) -> None:
    taken: list[bytes] = []
    async with served(says(said)) as server, way_to(lambda p: Bulk("127.0.0.1", p), server.port) as way:
        answer = await way.ask(ranged(lambda piece: taken.append(bytes(piece)), len(LARGE)))
        assert (answer.is_taken, taken) == (False, [])
        assert said.endswith(bytes(answer.body))


async def test_who_cannot_take_more_says_why_and_the_connection_ends() -> None:
    def full(piece: memoryview) -> None:
        raise OSError(28, "No space left on device")

    said = f"HTTP/1.1 206 Partial\r\ncontent-length: {len(LARGE)}\r\n\r\n".encode() + LARGE
    async with served(says(said)) as server, way_to(lambda p: Bulk("127.0.0.1", p), server.port) as way:
        with pytest.raises(OSError, match="No space"):
            await way.ask(ranged(full, len(LARGE)))
        assert bytes((await way.ask(get(expect=len(LARGE)))).body) == LARGE
        assert server.connections == 2
