"""Plain HTTP/1.1 on blocking sockets in threads, for large bodies. Over TLS `reqwest` is better at it.

The system moves a body of 8 MiB in one call that lets the interpreter's lock go (`MSG_WAITALL`), so two cores work at once and the loop
stays free: 1.6 GB from store to store took 0.9 s of CPU so, 1.4 on the event loop, 1.2 through pyreqwest.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

from backends.stores.base import Body
from backends.stores.http1 import (
    END,
    LONGEST_HEAD,
    Answer,
    BadAnswer,
    BrokeOff,
    Chunks,
    Head,
    HungUp,
    NoAnswerInTime,
    NoConnection,
    Request,
    check_length,
    read_head,
    request_head,
)
from backends.stores.http_limits import CONNECT_SECONDS, KEPT_SECONDS
from backends.stores.wire import prepare, reason_of

THREADS = 32
FROM = 1 << 20  # bytes of a body
_HEAD = 8192
_PIECE = 1 << 20  # measured: 128 KiB 1.7 s, 1 MiB 1.2 s, 4 MiB 1.4 s for 1.6 GB to a tmpfs


class _Stopped(Exception):
    """Whoever asked has gone."""


class Bulk:
    """Requests to one host."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._threads: ThreadPoolExecutor | None = None
        self._idle: list[tuple[float, socket.socket]] = []
        self._lock = threading.Lock()
        self._under_way = 0

    @property
    def has_room(self) -> bool:
        return self._under_way < THREADS

    async def ask(self, request: Request) -> Answer:
        """Raises `HttpError`."""
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="bulk")
        job = _Job(request)
        self._under_way += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._carry_out, job)
        finally:
            self._under_way -= 1
            job.stop()

    async def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for _, sock in idle:
            sock.close()
        if self._threads is not None:
            await asyncio.to_thread(self._threads.shutdown)

    # in a thread

    def _carry_out(self, job: _Job) -> Answer:
        while True:
            reused = self._take()
            sock = reused or self._connect(job)
            keeps = False
            try:
                job.holds(sock)
                answer, keeps = _exchange(sock, job)
                return answer
            except HungUp:
                if reused is None or not job.request.may_repeat:
                    raise
            except _Stopped as error:
                raise NoAnswerInTime("it was given up") from error
            finally:
                if job.lets_go() and keeps:
                    with self._lock:
                        self._idle.append((time.monotonic(), sock))
                else:
                    sock.close()

    def _take(self) -> socket.socket | None:
        while True:
            with self._lock:
                if not self._idle:
                    return None
                since, sock = self._idle.pop()
            if time.monotonic() - since < KEPT_SECONDS and _is_quiet(sock):
                return sock
            sock.close()

    def _connect(self, job: _Job) -> socket.socket:
        try:
            sock = socket.create_connection((self._host, self._port), timeout=job.seconds(CONNECT_SECONDS))
        except TimeoutError as error:
            raise NoConnection(f"not within {CONNECT_SECONDS:.0f} s") from error
        except (OSError, UnicodeError) as error:
            raise NoConnection(reason_of(error)) from error
        prepare(sock)
        sock.settimeout(None)
        return sock


class _Job:
    """A request under way in a thread, and the way to stop it from outside."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.until = time.monotonic() + request.limit
        self._socket: socket.socket | None = None
        self._is_stopped = False
        self._lock = threading.Lock()

    def holds(self, sock: socket.socket) -> None:
        with self._lock:
            if self._is_stopped:
                raise _Stopped
            self._socket = sock

    def lets_go(self) -> bool:
        """False where it was stopped: the socket is of no use any more."""
        with self._lock:
            self._socket = None
            return not self._is_stopped

    def stop(self) -> None:
        """From the loop: whatever the thread waits for ends."""
        with self._lock:
            self._is_stopped = True
            if self._socket is not None:
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)

    def seconds(self, most: float) -> float:
        """Left of the limit. Raises `NoAnswerInTime` where it is over."""
        left = min(most, self.until - time.monotonic())
        if left <= 0 or self._is_stopped:
            raise NoAnswerInTime("no answer in time")
        return left


def _is_quiet(sock: socket.socket) -> bool:
    """Neither closed by the peer nor with something to say."""
    try:
        sock.setblocking(False)
        try:
            sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        finally:
            sock.setblocking(True)
    except (OSError, ValueError):
        return False
    return False


@contextlib.contextmanager
def _waiting(sock: socket.socket, job: _Job, option: int, most: float) -> Iterator[None]:
    """A call that waits longer is ended by the system, which does not undo `MSG_WAITALL` as Python's own limit would. Raises
    `NoAnswerInTime` then."""
    seconds = job.seconds(most)
    sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(seconds), int(seconds % 1 * 1e6) or 1))
    try:
        yield
    except BlockingIOError as error:
        raise NoAnswerInTime("no answer in time") from error


def _exchange(sock: socket.socket, job: _Job) -> tuple[Answer, bool]:
    """The answer, and whether the socket is good for another request."""
    request = job.request
    sent = _send(sock, job, request_head(request)) and (request.body is None or _send(sock, job, request.body))
    idle = request.idle if request.body is None else request.limit
    with _waiting(sock, job, socket.SO_RCVTIMEO, idle):
        head, rest = _receive_head(sock, request)
        if request.take is not None and head.status == 206 and head.length == request.expect:
            _pour(sock, job, request.expect or 0, rest, request.take)
            return Answer(head.status, head.headers, b"", is_taken=True), head.keeps and sent
        body = _receive_body(sock, job, head, rest)
    return Answer(head.status, head.headers, body), head.keeps and sent


def _send(sock: socket.socket, job: _Job, data: Body) -> bool:
    """False where the peer took no more of it: it may have answered already."""
    view = memoryview(data)
    try:
        while view:
            with _waiting(sock, job, socket.SO_SNDTIMEO, job.request.limit):
                view = view[sock.send(view) :]
    except OSError:
        job.seconds(1.0)  # stopped from outside
        return False
    return True


def _receive(sock: socket.socket, size: int, *, begun: bool = True, may_end: bool = False, flags: int = 0) -> bytes:
    """Up to so many bytes, at least one unless it `may_end`."""
    try:
        data = sock.recv(size, flags)
    except BlockingIOError:
        raise
    except OSError as error:
        raise (BrokeOff if begun else HungUp)(reason_of(error)) from error
    if not data and not may_end:
        raise (BrokeOff if begun else HungUp)("the connection was closed")
    return data


def _receive_head(sock: socket.socket, request: Request) -> tuple[Head, bytes]:
    """And what came of the body with it: nothing as a rule, so that the body comes whole into a place of its own."""
    data = b""
    while True:
        if not data:
            seen = _receive(sock, _HEAD, begun=False, flags=socket.MSG_PEEK)
            end = seen.find(END)
            data += _receive(sock, end + len(END) if end >= 0 else len(seen))
        else:
            data += _receive(sock, _HEAD, begun=bool(data))
        while (end := data.find(END)) >= 0:
            head = read_head(data[:end], request.method)
            data = data[end + len(END) :]
            if head.status >= 200:
                return head, data
        if len(data) > LONGEST_HEAD:
            raise BadAnswer("the head of the answer has no end")


def _receive_body(sock: socket.socket, job: _Job, head: Head, rest: bytes) -> Body:
    request = job.request
    if head.is_chunked:
        chunks = Chunks(request)
        chunks.feed(rest)
        while not chunks.is_done:
            job.seconds(1.0)
            chunks.feed(_receive(sock, 1 << 16))
        return chunks.body
    if head.length is None:
        gathered = bytearray(rest)
        while data := _receive(sock, 1 << 16, may_end=True):
            job.seconds(1.0)
            gathered += data
            check_length(len(gathered), request)
        return bytes(gathered)
    size = check_length(head.length, request)
    if len(rest) > size:
        raise BadAnswer("something follows the answer")
    if not rest and size:
        rest = _receive(sock, size, flags=socket.MSG_WAITALL)
    return rest if len(rest) == size else _receive_rest(sock, job, size, rest)


def _pour(sock: socket.socket, job: _Job, size: int, came: bytes, take: Callable[[memoryview], None]) -> None:
    """The body in pieces that the processor's cache holds until they have been summed and written."""
    if len(came) > size:
        raise BadAnswer("something follows the answer")
    if came:
        take(memoryview(came))
    piece = memoryview(bytearray(min(_PIECE, size - len(came))))
    left = size - len(came)
    while left:
        job.seconds(1.0)
        count = _receive_into(sock, piece[:left])
        take(piece[:count])
        left -= count


def _receive_into(sock: socket.socket, buffer: memoryview) -> int:
    try:
        count = sock.recv_into(buffer, 0, socket.MSG_WAITALL)
    except BlockingIOError:
        raise
    except OSError as error:
        raise BrokeOff(reason_of(error)) from error
    if not count:
        raise BrokeOff("the connection was closed")
    return count


def _receive_rest(sock: socket.socket, job: _Job, size: int, came: bytes) -> memoryview:
    """The body of which the beginning has come, in one piece."""
    body = memoryview(bytearray(size))
    body[: len(came)] = came
    filled = len(came)
    while filled < size:
        job.seconds(1.0)
        count = _receive_into(sock, body[filled:])
        filled += count
    return body
