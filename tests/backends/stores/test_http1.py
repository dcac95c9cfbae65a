"""HTTP/1.1 as bytes: what is read is what was said, however it was cut; what is not clear is refused."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.stores.http1 import (
    MOST,
    BadAnswer,
    CannotBeSaid,
    Chunks,
    Request,
    check_length,
    read_head,
    request_head,
)


def asked(method: str = "GET", body: bytes | None = None, **headers: str) -> Request:
    return Request(method, "/bucket/k%20e?x=1", {"host": "h", **headers}, body, 5.0, 5.0)


def chunked(pieces: list[bytes], extension: bytes = b"", trailer: bytes = b"") -> bytes:
    said = b"".join(b"%x%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces if piece)
    return said + b"0\r\n" + trailer + b"\r\n"


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = [0, *sorted({place % (len(data) + 1) for place in at}), len(data)]
    return [data[a:b] for a, b in pairwise(places)]


def test_a_request_is_said_as_it_was_given_with_the_length_of_its_body() -> None:
    assert request_head(asked(x="a b")) == b"GET /bucket/k%20e?x=1 HTTP/1.1\r\nhost: h\r\nx: a b\r\n\r\n"
    assert request_head(asked("PUT", b"")).endswith(b"\r\ncontent-length: 0\r\n\r\n")


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\rb", "a\0b", "\udc80"])
def test_a_header_that_would_begin_another_is_refused(value: str) -> None:
    with pytest.raises(CannotBeSaid):
        request_head(asked(x=value))


def test_a_head_is_read_with_lower_case_names_and_values_as_they_are() -> None:
    head = read_head(
        'HTTP/1.1 200 OK\r\nETag: "x: y"\r\nX-Amz-Meta-N:  caf\u00e9 \t\r\nEmpty:\r\nContent-Length: 3'.encode(), "GET"
    )
    assert head.status == 200
    assert head.headers == {"etag": '"x: y"', "x-amz-meta-n": "caf\u00e9", "empty": "", "content-length": "3"}
    assert (head.length, head.is_chunked, head.keeps) == (3, False, True)


def test_bytes_that_are_no_utf8_are_kept_and_cannot_be_sent_again() -> None:
    value = read_head(b"HTTP/1.1 200 OK\r\nx-amz-meta-n: caf\xe9", "HEAD").headers["x-amz-meta-n"]
    assert value == "caf\udce9"
    with pytest.raises(CannotBeSaid):
        request_head(asked(x=value))


@pytest.mark.parametrize(
    ("said", "method", "length", "keeps"),
    [
        (b"HTTP/1.1 200 OK\r\ncontent-length: 9", "HEAD", 0, True),
        (b"HTTP/1.1 204 No Content", "DELETE", 0, True),
        (b"HTTP/1.1 304", "GET", 0, True),
        (b"HTTP/1.1 200 OK", "GET", None, False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 1", "GET", 1, False),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\nconnection: keep-alive", "GET", 1, True),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\nConnection: Close", "GET", 1, False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\ncontent-length: 7", "GET", 7, True),
    ],
)
def test_how_long_a_body_is_and_whether_the_connection_lasts(said: bytes, method: str, length: int | None, keeps: bool) -> None:
    head = read_head(said, method)
    assert (head.length, head.keeps) == (length, keeps)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2",
        b"HTTP/2 200",
        b"HTTP/1.1 2000 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/1.1 200 OK\r\nno colon",
        b"HTTP/1.1 200 OK\r\n: no name",
        b"HTTP/1.1 200 OK\r\na : b",
        b"HTTP/1.1 200 OK\r\na: b\r\n folded",
        b"HTTP/1.1 200 OK\r\na: b\nc: d",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1_0",
        "HTTP/1.1 200 OK\r\ncontent-length: \u0661".encode(),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 1",
    ],
)
def test_a_head_that_is_not_clear_is_refused(said: bytes) -> None:
    with pytest.raises(BadAnswer):
        read_head(said, "GET")


@given(st.binary(max_size=80))
def test_no_bytes_make_the_reader_of_heads_fail_otherwise(said: bytes) -> None:
    for raw in (said, b"HTTP/1.1 200 OK\r\n" + said):
        try:
            read_head(raw, "GET")
        except BadAnswer:
            continue


@given(st.lists(st.binary(max_size=40), max_size=6), st.lists(st.integers(0, 400), max_size=8), st.booleans())
def test_chunks_come_out_whole_however_they_arrive(pieces: list[bytes], at: list[int], extra: bool) -> None:
    said = chunked(pieces, b";name=value" if extra else b"", b"x-sum: 1\r\n" if extra else b"")
    chunks = Chunks(asked())
    for part in cut(said, at):
        assert not chunks.is_done or not part
        chunks.feed(part)
    assert chunks.is_done
    assert chunks.body == b"".join(pieces)


@pytest.mark.parametrize("said", [b"x\r\n", b"\r\n", b"-1\r\n", b"2\r\nabc\r\n", b"0\r\n\r\nmore", b"1" * 17 + b"\r\n"])
def test_chunks_that_are_none_are_refused(said: bytes) -> None:
    with pytest.raises(BadAnswer):
        Chunks(asked()).feed(said)


def test_a_length_that_nobody_asked_for_is_refused_before_it_fills_the_memory() -> None:
    assert check_length(MOST, asked()) == MOST
    with pytest.raises(BadAnswer, match="were asked for"):
        check_length(MOST + 1, asked())
