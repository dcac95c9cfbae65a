"""HTTP/1.1 (RFC 9112) as bytes: the head of a request, the head of an answer, bodies in chunks. No input or output is done here.

Header values are UTF-8; bytes of an answer that are not become surrogates, as in file names, and cannot be sent again: what was metadata
beyond UTF-8 is then refused by name and never lost. What RFC 9112 calls an error of the server (folded lines, two lengths that
differ, a space before the colon) is one here too: a client that guesses can be made to take one answer for another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from backends.stores.base import Body

END = b"\r\n\r\n"
_END_OF_LINE = "\r\n"
LONGEST_HEAD = 128 << 10
MOST = 1 << 30  # bytes of a body beyond what was asked for: an answer is held in memory


class HttpError(Exception):
    """A request that has no answer. `said` is safe to show."""

    def __init__(self, said: str) -> None:
        super().__init__(said)
        self.said = said


class NoConnection(HttpError):
    """Nobody answers at the address, or TLS could not agree."""


class NotTrusted(HttpError):
    """The server's certificate is not one of its name, or of an authority that we know."""


class NoAnswerInTime(HttpError):
    """The limit of the request, or of silence, is over."""


class BrokeOff(HttpError):
    """The connection ended in the middle of the answer."""


class HungUp(HttpError):
    """The connection ended before the first byte of an answer: it may have been closed when the request was sent."""


class BadAnswer(HttpError):
    """What came is no HTTP."""


class CannotBeSaid(HttpError):
    """A header of the request holds what none may."""


@dataclass(slots=True, eq=False)  # not frozen: that costs 2 us each
class Request:
    """`target` is the request line's, encoded; `headers` are sent as they are, with the length of `body`, where there is one. `limit` is
    of the whole exchange, in seconds; `idle` that of silence while reading. `expect` is how many bytes the answer may bring, None
    where that is not known. `take` may be given the body piece by piece, in a thread, where it is exactly the range that was asked for;
    the answer's own is empty then."""

    method: str
    target: str
    headers: Mapping[str, str] = field(repr=False)
    body: Body | None = field(repr=False)
    limit: float
    idle: float
    expect: int | None = 0
    take: Callable[[memoryview], None] | None = field(default=None, repr=False)

    @property
    def may_repeat(self) -> bool:
        """On another connection, where the first was found closed. POST begins and ends uploads: whoever asks decides."""
        return self.method != "POST"


class Answer(NamedTuple):
    """`headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: Body
    is_taken: bool = False  # the body went to the request's `take`


class Head(NamedTuple):
    """`length` is that of the body, None where it goes on until the connection ends, or in chunks."""

    status: int
    headers: dict[str, str]
    length: int | None
    is_chunked: bool
    keeps: bool  # the connection is good for another request


def request_head(request: Request) -> bytes:
    """Raises `CannotBeSaid`."""
    lines = list(map(": ".join, request.headers.items()))
    if request.body is not None:
        lines.append(f"content-length: {len(request.body)}")
    text = f"{request.method} {request.target} HTTP/1.1\r\n{_END_OF_LINE.join(lines)}\r\n\r\n"
    ends = len(lines) + 2
    if text.count("\n") != ends or text.count("\r") != ends or "\0" in text:
        raise CannotBeSaid("a header holds a line end")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise CannotBeSaid("a header is not text") from error


_STATUS = re.compile(r"HTTP/1\.([0-9]) ([1-9][0-9]{2})(?: [^\r\n]*)?(?=\r\n|\Z)")
_LINE = re.compile(r"\r\n([^\x00-\x20:]+):[ \t]*([^\r\n]*)")


def read_head(raw: bytes | bytearray, method: str) -> Head:
    """Of an answer to `method`; `raw` is without the empty line at its end. Raises `BadAnswer`."""
    text = raw.decode("utf-8", "surrogateescape")
    first = _STATUS.match(text)
    if first is None:
        raise BadAnswer("the answer is no HTTP/1.1")
    lines = _LINE.findall(text, first.end())
    if len(lines) != text.count("\n"):
        raise BadAnswer("a header line of the answer has no name")
    headers = {name.lower(): value.rstrip(" \t") for name, value in lines}
    if len(headers) != len(lines):
        headers = _joined(lines)
    return _framed(int(first[2]), headers, method, first[1] != "0")


def _joined(lines: list[tuple[str, str]]) -> dict[str, str]:
    """Of lines of one name the values, one after the other; a length that is said twice is said once."""
    headers: dict[str, str] = {}
    for name, value in ((name.lower(), value.rstrip(" \t")) for name, value in lines):
        if name not in headers:
            headers[name] = value
        elif name != "content-length" or headers[name] != value:
            headers[name] += f",{value}"
    return headers


def _framed(status: int, headers: dict[str, str], method: str, keeps: bool) -> Head:
    connection = headers.get("connection", "").lower()
    keeps = "close" not in connection and (keeps or "keep-alive" in connection)
    if method == "HEAD" or status in (204, 304) or status < 200:
        return Head(status, headers, 0, False, keeps)
    if coding := headers.get("transfer-encoding"):
        if coding.lower() != "chunked" or "content-length" in headers:
            raise BadAnswer("the length of the answer's body is not clear")
        return Head(status, headers, None, True, keeps)
    told = headers.get("content-length")
    if told is None:
        return Head(status, headers, None, False, False)
    if not (told.isascii() and told.isdecimal()):
        raise BadAnswer("the length of the answer's body is not clear")
    return Head(status, headers, int(told), False, keeps)


def check_length(length: int, request: Request) -> int:
    """Raises `BadAnswer` for what nobody asked for and would fill the memory."""
    if length > MOST + (request.expect or 0):
        raise BadAnswer(f"{length} bytes came where {request.expect or 0} were asked for")
    return length


class Chunks:
    """The body of `transfer-encoding: chunked`, piece by piece."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._raw = bytearray()
        self._body = bytearray()
        self._left = 0  # bytes of the chunk that is open, its line end included
        self._trailer = False
        self.is_done = False

    @property
    def body(self) -> bytes:
        return bytes(self._body)

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Raises `BadAnswer`, also for what comes after the end."""
        self._raw += data
        while not self.is_done and self._step():
            pass
        if self.is_done and self._raw:
            raise BadAnswer("something follows the answer")

    def _step(self) -> bool:
        if self._left:
            taken = self._raw[: self._left]
            del self._raw[: len(taken)]
            self._body += taken
            self._left -= len(taken)
            if self._left:
                return False
            if self._body[-2:] != b"\r\n":
                raise BadAnswer("a chunk of the answer does not end where it should")
            del self._body[-2:]
            return True
        line, end, rest = self._raw.partition(b"\r\n")
        if not end:
            if len(line) > LONGEST_HEAD:
                raise BadAnswer("a chunk of the answer has no length")
            return False
        self._raw = rest
        if self._trailer:
            self.is_done = not line
            return True
        size = line.partition(b";")[0].strip()
        if not size or size.strip(b"0123456789abcdefABCDEF"):
            raise BadAnswer("a chunk of the answer has no length")
        check_length(len(self._body) + int(size, 16), self._request)
        if int(size, 16):
            self._left = int(size, 16) + 2
        else:
            self._trailer = True
        return True
