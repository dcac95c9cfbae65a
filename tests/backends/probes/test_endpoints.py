"""Endpoints, phase by phase: real servers on the loopback, asked from here and from a host over a real sshd."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from hypothesis import given
from hypothesis import strategies as st

from backends.probes.agent.ask import _read_dns, ask
from backends.probes.endpoints import EndpointSeen, look, look_from
from backends.ssh.pool import SshPool
from tests.peers.certificate import make_certificate
from tests.peers.delay_server import delay_server
from tests.peers.openssh import OpenSsh
from tests.peers.process import free_ports

PROGRAM = [sys.executable, "-c", "from console.main import main; main()", "probe"]


@contextlib.contextmanager
def grpc_server() -> Iterator[int]:
    """gRPC's own server and health service: `good` serves, `bad` does not."""
    server = grpc.server(ThreadPoolExecutor(2))
    servicer = health.HealthServicer()
    servicer.set("", health_pb2.HealthCheckResponse.SERVING)
    servicer.set("good", health_pb2.HealthCheckResponse.SERVING)
    servicer.set("bad", health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield port
    finally:
        server.stop(0).wait(5)


async def one(url: str, timeout: float = 5.0) -> EndpointSeen:
    [seen] = await look([url], timeout)
    return seen


async def test_http_is_told_phase_by_phase(tmp_path: Path) -> None:
    async with delay_server(tmp_path, median=0.05) as server:
        seen = await one(server.url + "/")
        assert (seen.ok, seen.status, seen.addresses) == (True, "200", ("127.0.0.1",))
        assert seen.seconds["first_byte"] >= 0.02
        assert set(seen.seconds) == {"resolve", "connect", "first_byte", "total"}
        wrong = await one(server.url + "/status/503")
        assert (wrong.ok, wrong.status, wrong.error) == (False, "503", "answers 503")
        hangs = await one(server.url + "/hang", timeout=0.3)
        assert hangs.error == "no answer within 0.3 s"


async def test_grpc_health_is_asked_as_grpc_does() -> None:
    with grpc_server() as port:
        for path, status, error in (
            ("", "SERVING", None),
            ("/good", "SERVING", None),
            ("/bad", "NOT_SERVING", "is NOT_SERVING"),
            ("/nobody", "UNKNOWN", "is UNKNOWN"),  # with NOT_FOUND behind it
        ):
            seen = await one(f"grpc://127.0.0.1:{port}{path}")
            assert (seen.ok, seen.status, seen.error) == (error is None, status, error)


async def test_what_is_no_grpc_is_told(tmp_path: Path) -> None:
    async with delay_server(tmp_path) as server:
        seen = await one(f"grpc://127.0.0.1:{server.port}", timeout=1)
    assert not seen.ok
    assert seen.error


async def test_a_certificate_that_is_not_trusted_is_an_error_and_one_that_is_has_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = make_certificate(tmp_path)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=made.context())
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    try:
        seen = await one(url)
        assert (seen.error or "").startswith("TLS failed")
        monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
        seen = await one(url)
        assert seen.ok
        assert seen.seconds["tls"] > 0
        assert seen.certificate_ends is not None
        assert seen.certificate_ends > time.time()
        assert seen.warning(seen.certificate_ends - 86400 * 3) == "its certificate ends in 3 days"
        assert seen.warning(seen.certificate_ends - 86400 * 30) is None
        assert seen.warning(seen.certificate_ends + 1) == "its certificate has ended"
    finally:
        server.close()
        await server.wait_closed()


class _Dns(asyncio.DatagramProtocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.DatagramTransport = transport  # type: ignore[assignment]

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        name = data[12:]
        code = 3 if b"nobody" in name else 0
        answer = b"" if code else b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 77, 4) + socket.inet_aton("192.0.2.7")
        head = data[:2] + struct.pack(">HHHHH", 0x8180 | code, 1, 0 if code else 1, 0, 0)
        self._transport.sendto(head + data[12:] + answer, addr)


async def test_dns_is_asked_at_the_server_that_is_named() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(_Dns, ("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    try:
        seen = await one(f"dns://127.0.0.1:{port}/chat.example.net")
        assert (seen.ok, seen.status, seen.addresses) == (True, "NOERROR", ("192.0.2.7",))
        seen = await one(f"dns://127.0.0.1:{port}/nobody.example.net")
        assert (seen.ok, seen.error) == (False, "answers NXDOMAIN")
    finally:
        transport.close()


@pytest.mark.parametrize(
    "url", ["", "x", "http://", "ftp://h/", "tcp://h", "dns://h", "http://127.0.0.1:99999/", "grpc:///x", "http://[::1"]
)
def test_what_is_no_endpoint_is_told_and_never_raises(url: str) -> None:
    seen = ask(url, 0.2)
    assert not seen["ok"]
    assert seen["error"]


@given(st.binary(min_size=12, max_size=120))
def test_rubbish_in_place_of_dns_never_goes_on_for_ever(data: bytes) -> None:
    with contextlib.suppress(Exception):
        _read_dns(data, 1, {})


async def test_a_host_asks_with_its_own_eyes(tmp_path: Path, pool: SshPool, sshd: OpenSsh) -> None:
    async with delay_server(tmp_path) as server:
        closed = f"tcp://127.0.0.1:{free_ports(1)[0]}"
        good, bad = await look_from(pool, "box", [server.url + "/now", closed], 5)
    assert (good.ok, good.seen_from, good.status) == (True, "box", "200")
    assert (bad.ok, bad.error) == (False, "refused")
    sshd.kill_sessions()


async def test_the_command_tells_endpoints_from_here_and_there(tmp_path: Path, sshd: OpenSsh) -> None:
    async with delay_server(tmp_path) as server:
        argv = [*PROGRAM, f"{sshd.user}@127.0.0.1:{sshd.port}", "--endpoint", server.url + "/now", "--json"]
        argv += ["-F", str(sshd.config), "--known-hosts", str(sshd.known_hosts)]
        process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
    found = json.loads(out)["endpoints"]
    assert process.returncode == 0
    assert [(e["from"] is None, e["ok"], e["status"]) for e in found] == [(True, True, "200"), (False, True, "200")]
