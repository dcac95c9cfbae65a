"""One look at an endpoint, phase by phase: HTTP(S), gRPC health, TCP, DNS. Runs here in a thread, and on a host of either side.

`http(s)://…` GET, redirections not followed; `grpc(s)://HOST:PORT[/SERVICE]` grpc.health.v1.Health/Check (gRPC over HTTP/2, RFC 9113, with
literal headers of HPACK, RFC 7541, only); `tcp://HOST:PORT`; `dns://SERVER[:PORT]/NAME[?AAAA]` one UDP question (RFC 1035).
"""

import errno
import json
import os
import socket
import ssl
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import SplitResult, urlsplit

MOST = 1 << 16
SERVING = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
TYPES = {"A": 1, "AAAA": 28}
KINDS = ("wrong", "no_name", "silent", "dropped", "tls", "refused", "no_way")
NO_WAY = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EPERM, errno.EINVAL)  # routes and firewalls that say so
AT_ONCE = 16


class Wrong(Exception):
    """It answered, and not as it should."""


def ask(url: str, timeout: float) -> "dict[str, object]":
    """What was seen: `ok`, `error`, `kind` of it (of `KINDS`), `status`, `seconds` of each phase, `addresses`, `certificate_ends` (unix seconds)."""
    out = {"url": url, "ok": False, "error": None, "kind": None, "status": None, "addresses": [], "certificate_ends": None}  # type: dict[str, object]
    seconds = {}  # type: dict[str, float]
    out["seconds"] = seconds
    began = time.monotonic()
    try:
        parts = urlsplit(url)
        _ask(parts.scheme, parts, began + timeout, seconds, out)
        out["ok"] = True
    except Wrong as error:
        out["error"], out["kind"] = str(error), "wrong"
    except socket.gaierror:
        out["error"], out["kind"] = "no such name", "no_name"
    except (socket.timeout, TimeoutError):  # noqa: UP041 - two of them before Python 3.10
        out["error"], out["kind"] = "no answer within %g s" % timeout, "silent" if "connect" in seconds else "dropped"  # noqa: UP031
    except ssl.SSLError as error:
        out["error"], out["kind"] = "TLS failed: " + str(getattr(error, "verify_message", "") or error.reason or error), "tls"
    except ConnectionRefusedError:
        out["error"], out["kind"] = "refused", "refused"
    except (OSError, ValueError) as error:
        out["error"] = str(getattr(error, "strerror", None) or error or type(error).__name__)
        number = getattr(error, "errno", None)
        out["kind"] = "dropped" if number == errno.ETIMEDOUT else "no_way" if number in NO_WAY else None
    seconds["total"] = time.monotonic() - began
    return out


def _ask(scheme: str, parts: SplitResult, until: float, seconds: "dict[str, float]", out: "dict[str, object]") -> None:
    if scheme == "dns":
        _ask_dns(parts, until, seconds, out)
        return
    ports = {"http": 80, "https": 443, "grpc": 80, "grpcs": 443}
    if scheme not in ports and scheme != "tcp":
        raise Wrong("not an endpoint: http, https, grpc, grpcs, tcp or dns is wanted")
    port = parts.port or ports.get(scheme)
    if not parts.hostname or not port:
        raise Wrong("not an endpoint: host and port are wanted")
    sock = _connect(parts.hostname, port, until, seconds, out)
    try:
        if scheme in ("https", "grpcs"):
            sock = _secure(sock, parts.hostname, ["h2"] if scheme == "grpcs" else [], until, seconds, out)
        if scheme in ("http", "https"):
            _ask_http(sock, parts, until, seconds, out)
        elif scheme in ("grpc", "grpcs"):
            _ask_grpc(sock, parts, until, seconds, out)
    finally:
        sock.close()


def _left(until: float) -> float:
    left = until - time.monotonic()
    if left <= 0:
        raise socket.timeout("too late")  # noqa: UP041
    return left


def _connect(host: str, port: int, until: float, seconds: "dict[str, float]", out: "dict[str, object]") -> socket.socket:
    began = time.monotonic()
    found = socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
    seconds["resolve"] = time.monotonic() - began
    out["addresses"] = sorted({str(entry[4][0]) for entry in found})
    last = None  # type: OSError | None
    for family, kind, protocol, _, address in found:
        began = time.monotonic()
        sock = socket.socket(family, kind, protocol)
        sock.settimeout(_left(until))
        try:
            sock.connect(address)
        except OSError as error:
            sock.close()
            last = error
            continue
        seconds["connect"] = time.monotonic() - began
        return sock
    raise last or OSError("no address")


def _secure(
    sock: socket.socket, host: str, protocols: "list[str]", until: float, seconds: "dict[str, float]", out: "dict[str, object]"
) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    if protocols:
        context.set_alpn_protocols(protocols)
    began = time.monotonic()
    sock.settimeout(_left(until))
    secured = context.wrap_socket(sock, server_hostname=host)
    seconds["tls"] = time.monotonic() - began
    certificate = secured.getpeercert()
    if certificate and "notAfter" in certificate:
        out["certificate_ends"] = ssl.cert_time_to_seconds(str(certificate["notAfter"]))
    return secured


def _ask_http(
    sock: socket.socket, parts: SplitResult, until: float, seconds: "dict[str, float]", out: "dict[str, object]"
) -> None:
    path = (parts.path or "/") + ("?" + parts.query if parts.query else "")
    host = parts.netloc.rpartition("@")[2]
    began = time.monotonic()
    sock.settimeout(_left(until))
    head = ("GET " + path + " HTTP/1.1", "Host: " + host, "User-Agent: cutover", "Connection: close", "", "")
    sock.sendall("\r\n".join(head).encode("ascii"))
    data = b""
    while b"\r\n" not in data and len(data) < MOST:
        sock.settimeout(_left(until))
        piece = sock.recv(MOST)
        if not piece:
            raise Wrong("ends the connection without an answer")
        if not data:
            seconds["first_byte"] = time.monotonic() - began
        data += piece
    words = data.split(b"\r\n", 1)[0].split()
    if len(words) < 2 or not words[0].startswith(b"HTTP/") or not words[1].isdigit():
        raise Wrong("does not speak HTTP")
    out["status"] = int(words[1])
    if not 200 <= int(words[1]) < 400:
        raise Wrong("answers %d" % int(words[1]))  # noqa: UP031


def _ask_grpc(
    sock: socket.socket, parts: SplitResult, until: float, seconds: "dict[str, float]", out: "dict[str, object]"
) -> None:
    service = parts.path.strip("/").encode()
    message = b"\x0a" + bytes([len(service)]) + service if service else b""
    headers = b""
    for name, value in (
        (b":method", b"POST"),
        (b":scheme", b"https" if parts.scheme == "grpcs" else b"http"),
        (b":path", b"/grpc.health.v1.Health/Check"),
        (b":authority", parts.netloc.rpartition("@")[2].encode("ascii")),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
    ):
        headers += b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value
    body = b"\x00" + struct.pack(">I", len(message)) + message
    began = time.monotonic()
    sock.settimeout(_left(until))
    sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(4, 0, 0, b"") + _frame(1, 4, 1, headers) + _frame(0, 1, 1, body))
    data = b""
    while True:
        frame, data = _next_frame(sock, data, until)
        if "first_byte" not in seconds:
            seconds["first_byte"] = time.monotonic() - began
        kind, flags, stream, payload = frame
        if kind == 4 and not flags & 1:
            sock.sendall(_frame(4, 1, 0, b""))
        elif kind == 0 and stream == 1 and len(payload) >= 5:
            message = payload[5:]
            code = message[1] if len(message) > 1 and message[0] == 8 else 0
            out["status"] = SERVING.get(code, str(code))
            if code != 1:
                raise Wrong("is " + str(out["status"]))
            return
        elif (kind == 1 and stream == 1 and flags & 1) or kind in (3, 7):
            raise Wrong("has no health service, or does not know " + (service.decode() or "it"))


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _next_frame(sock: socket.socket, data: bytes, until: float) -> "tuple[tuple[int, int, int, bytes], bytes]":
    while True:
        if len(data) >= 9:
            length = int.from_bytes(data[:3], "big")
            if length > MOST or data.startswith(b"HTTP/"):
                raise Wrong("does not speak HTTP/2")
            if len(data) >= 9 + length:
                stream = struct.unpack(">I", data[5:9])[0] & 0x7FFFFFFF
                return (data[3], data[4], stream, data[9 : 9 + length]), data[9 + length :]
        sock.settimeout(_left(until))
        piece = sock.recv(MOST)
        if not piece:
            raise Wrong("ends the connection without an answer")
        data += piece


def _ask_dns(parts: SplitResult, until: float, seconds: "dict[str, float]", out: "dict[str, object]") -> None:
    name = parts.path.strip("/")
    kind = TYPES.get(parts.query.upper() or "A")
    if not parts.hostname or not name or kind is None:
        raise Wrong("not a question of DNS: dns://SERVER/NAME, with ?AAAA for that type")
    number = os.urandom(2)
    question = number + struct.pack(">HHHHH", 0x0100, 1, 0, 0, 0)
    for label in name.rstrip(".").encode("idna").split(b"."):
        question += bytes([len(label)]) + label
    question += b"\x00" + struct.pack(">HH", kind, 1)
    family = socket.getaddrinfo(parts.hostname, parts.port or 53, 0, socket.SOCK_DGRAM)[0]
    sock = socket.socket(family[0], family[1])
    try:
        began = time.monotonic()
        sock.connect(family[4])
        for _ in range(8):  # packets are lost
            sock.send(question)
            sock.settimeout(min(1.0, _left(until)))
            try:
                data = sock.recv(4096)
            except socket.timeout:  # noqa: UP041
                _left(until)
                continue
            if data[:2] == number:
                seconds["first_byte"] = time.monotonic() - began
                _read_dns(data, kind, out)
                return
        raise socket.timeout("no answer")  # noqa: UP041
    finally:
        sock.close()


def _read_dns(data: bytes, kind: int, out: "dict[str, object]") -> None:
    code = data[3] & 15
    out["status"] = {0: "NOERROR", 2: "SERVFAIL", 3: "NXDOMAIN", 5: "REFUSED"}.get(code, str(code))
    if code:
        raise Wrong("answers " + str(out["status"]))
    count = struct.unpack(">H", data[6:8])[0]
    at = _after_name(data, 12) + 4
    addresses = []  # type: list[str]
    ttl = None  # type: int | None
    for _ in range(min(count, 64)):
        at = _after_name(data, at)
        if at + 10 > len(data):
            raise Wrong("answers what is no answer")
        found, _, seconds_left, length = struct.unpack(">HHIH", data[at : at + 10])
        at += 10
        if found == kind:
            addresses.append(socket.inet_ntop(socket.AF_INET if kind == 1 else socket.AF_INET6, data[at : at + length]))
            ttl = seconds_left if ttl is None else min(ttl, seconds_left)
        at += length
    out["addresses"], out["ttl"] = addresses, ttl
    if not addresses:
        raise Wrong("has no address of that type")


def _after_name(data: bytes, at: int) -> int:
    while at < len(data) and data[at]:
        if data[at] & 0xC0:
            return at + 2
        at += data[at] + 1
    return at + 1


if __name__ == "__main__":
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for seen in threads.map(lambda url: ask(url, float(sys.argv[1])), json.loads(sys.argv[2])):
            sys.stdout.write(json.dumps(seen) + "\n")
            sys.stdout.flush()
