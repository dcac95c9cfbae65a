"""An HTTP proxy on the loopback that goes wrong on demand, in front of a real server. It hears whole messages and passes them on
byte for byte (paths, signatures and host names untouched) until a rule says otherwise.

A rule takes the requests that its `when` fits, passes over the first `after` of them, and strikes as often as `times` says.
What went through is noted in `seen`, in the order of the requests' arrival.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import parse_qs, urlsplit

Act = Literal[
    "refuse",  # hang up before anything is passed on
    "cut_up",  # pass on half of the request's body, then hang up on both
    "cut_down",  # pass on half of the answer's body, then hang up
    "lose",  # let the server do it, and hang up instead of answering
    "short_up",  # pass on the request's body without its last byte, with a right content-length
    "short_down",  # the answer's body without its last byte, with a right content-length
    "flip_up",  # one bit of the request's body is another
    "flip_down",  # one bit of the answer's body is another
    "answer",  # say `said` instead of asking the server
    "call",  # do `then`, and pass the request on
    "call_after",  # let the server do it, do `then`, and pass the answer on
]
_IDLE_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived. `target` is the request line's, untouched; `headers` have lower-case names."""

    method: str
    target: str
    headers: dict[str, str]
    head: bytes
    body: bytes

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query, keep_blank_values=True).items()}

    @property
    def is_listing(self) -> bool:
        return self.query.get("list-type") == "2"

    @property
    def access_key(self) -> str:
        """Who signed it; empty where nobody did."""
        return self.headers.get("authorization", "").partition("Credential=")[2].partition("/")[0]


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes


@dataclass
class Rule:
    """What goes wrong, and for which requests. `struck` counts how often it did."""

    act: Act
    when: Callable[[Request], bool] = lambda request: True
    times: int | None = 1  # None: always
    after: int = 0
    said: bytes = b""
    then: Callable[[Request], Awaitable[None] | None] = lambda request: None
    struck: int = 0
    passed: int = 0

    def strikes(self, request: Request) -> bool:
        if (self.times is not None and self.struck >= self.times) or not self.when(request):
            return False
        if self.passed < self.after:
            self.passed += 1
            return False
        self.struck += 1
        return True


@dataclass
class Seen:
    """A request and the status that its client was told; None where it was told nothing."""

    request: Request
    status: int | None = None


def xml_error(status: int, code: str, **headers: str) -> bytes:
    """A whole answer as S3 refuses; `retry_after="2"` and the like add headers."""
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>said by the proxy</Message></Error>"
    lines = {"content-type": "application/xml", "content-length": str(len(body)), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in lines.items())
    return f"HTTP/1.1 {status} Said\r\n{head}\r\n{body}".encode()


@dataclass
class FaultProxy:
    """`upstream` is (host, port) and may be set anew while it runs; `delay` in seconds stands before each request."""

    upstream: tuple[str, int]
    endpoint: str = ""
    rules: list[Rule] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    delay: float = 0.0

    def add(self, act: Act, when: Callable[[Request], bool] = lambda request: True, **more: object) -> Rule:
        """A rule more; the first that fits strikes."""
        rule = Rule(act, when, **more)  # type: ignore[arg-type]
        self.rules.append(rule)
        return rule

    def sent(self, method: str = "PUT") -> list[Seen]:
        """What was asked with this method."""
        return [seen for seen in self.seen if seen.request.method == method]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        try:
            while (request := await _read_request(reader)) is not None:
                seen = Seen(request)
                self.seen.append(seen)
                if self.delay:
                    await asyncio.sleep(self.delay)
                rule = next((rule for rule in self.rules if rule.strikes(request)), None)
                if rule is not None and rule.act == "answer":
                    seen.status = int(rule.said.split(b" ", 2)[1])
                    writer.write(rule.said if request.method != "HEAD" else rule.said.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
                    await writer.drain()
                    continue
                if rule is not None and rule.act == "refuse":
                    break
                if rule is not None and rule.act == "call":
                    await _do(rule, request)
                if server is None:
                    server = await asyncio.open_connection(*self.upstream, limit=1 << 20)
                if not await self._pass_on(seen, rule, server, writer):
                    break
        except (OSError, EOFError, asyncio.IncompleteReadError, TimeoutError):
            pass
        finally:
            for one in (writer, server[1] if server else None):
                if one is not None:
                    one.transport.abort()

    async def _pass_on(
        self,
        seen: Seen,
        rule: Rule | None,
        server: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Ask the server and answer the client; False when this connection is to end."""
        request, act = seen.request, rule.act if rule else None
        head, body = request.head, request.body
        if act == "short_up" and body:
            head, body = _with_length(head, len(body) - 1), body[:-1]
        elif act == "flip_up":
            body = _flipped(body)
        server[1].write(head + (body[: len(body) // 2] if act == "cut_up" else body))
        await server[1].drain()
        if act == "cut_up":
            return False
        answer = await _read_answer(server[0], request.method)
        if rule is not None and act == "call_after":
            await _do(rule, request)
        if act == "lose":
            return False
        told = answer.body
        if act == "flip_down":
            told = _flipped(told)
        elif act == "short_down":
            told = told[:-1]
        length = len(told) if request.method != "HEAD" else None
        data = _answer_head(answer, length) + told
        if act == "cut_down":
            writer.write(data[: len(data) - len(told) // 2 - 1])
            await writer.drain()
            return False
        seen.status = answer.status
        writer.write(data)
        await writer.drain()
        return not any(name.lower() == "connection" and value.lower() == "close" for name, value in answer.headers)


@contextlib.asynccontextmanager
async def fault_proxy(endpoint: str) -> AsyncIterator[FaultProxy]:
    """A proxy in front of the server at `endpoint` (http://HOST:PORT), at a port of its own."""
    address = urlsplit(endpoint)
    proxy = FaultProxy((address.hostname or "127.0.0.1", address.port or 80))
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await proxy._serve(reader, writer)
        except asyncio.CancelledError:
            pass  # the proxy ends; nobody waits for this task but below
        finally:
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, limit=1 << 20)
    proxy.endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield proxy
    finally:
        server.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()


async def _do(rule: Rule, request: Request) -> None:
    done = rule.then(request)
    if done is not None:
        await done


async def _read_request(reader: asyncio.StreamReader) -> Request | None:
    """None where the client hung up between two requests."""
    try:
        async with asyncio.timeout(_IDLE_SECONDS):
            head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, headers = _parsed(head)
    method, target, _ = first.split(" ", 2)
    named = {name.lower(): value for name, value in headers}
    if "chunked" in named.get("transfer-encoding", ""):
        raise EOFError("a client of ours never sends chunks")
    return Request(method, target, named, head, await reader.readexactly(int(named.get("content-length", "0"))))


async def _read_answer(reader: asyncio.StreamReader, method: str) -> Answer:
    async with asyncio.timeout(_IDLE_SECONDS):
        while True:
            first, headers = _parsed(await reader.readuntil(b"\r\n\r\n"))
            status = int(first.split(" ", 2)[1])
            if status >= 200:
                break
        named = {name.lower(): value for name, value in headers}
        if method == "HEAD" or status in (204, 304):
            return Answer(status, headers, b"")
        if "chunked" in named.get("transfer-encoding", ""):
            return Answer(status, headers, await _read_chunks(reader))
        return Answer(status, headers, await reader.readexactly(int(named.get("content-length", "0"))))


async def _read_chunks(reader: asyncio.StreamReader) -> bytes:
    body = bytearray()
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    while (await reader.readline()).strip():
        pass  # trailers
    return bytes(body)


def _parsed(head: bytes) -> tuple[str, list[tuple[str, str]]]:
    first, *lines = head.decode("latin-1").split("\r\n")
    pairs = (line.partition(":") for line in lines if line)
    return first, [(name.strip(), value.strip()) for name, _, value in pairs]


def _answer_head(answer: Answer, length: int | None) -> bytes:
    """The answer's head; `length` replaces what told how long its body is."""
    left_out = () if length is None else ("content-length", "transfer-encoding", "trailer")
    lines = [(name, value) for name, value in answer.headers if name.lower() not in left_out]
    if length is not None and answer.status not in (204, 304):
        lines.append(("Content-Length", str(length)))
    return "".join([f"HTTP/1.1 {answer.status} Passed\r\n", *(f"{n}: {v}\r\n" for n, v in lines), "\r\n"]).encode("latin-1")


def _with_length(head: bytes, length: int) -> bytes:
    first, *lines = head.split(b"\r\n")
    kept = [line for line in lines if line and not line.lower().startswith(b"content-length:")]
    return b"\r\n".join([first, *kept, f"content-length: {length}".encode(), b"", b""])


def _flipped(body: bytes) -> bytes:
    if not body:
        return body
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
