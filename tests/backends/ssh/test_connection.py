"""What the short way of data keeps: nothing forged gets through, keys change, asyncssh is as it was found."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import asyncssh
import pytest
from asyncssh.constants import MSG_IGNORE

from backends.ssh.connection import Connection
from backends.ssh.pool import CIPHERS, SshPool
from backends.ssh.sftp_session import read_range, write_range
from tests.peers.openssh import OpenSsh, openssh

MIB = 1 << 20


@asynccontextmanager
async def relay(port: int, *, flip_down_at: int | None = None, flip_up_at: int | None = None) -> AsyncIterator[int]:
    """Another port of the server, where one bit of what passes is another."""

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flip_at: int | None) -> None:
        seen = 0
        try:
            while data := bytearray(await reader.read(1 << 16)):
                if flip_at is not None and seen <= flip_at < seen + len(data):
                    data[flip_at - seen] ^= 4
                seen += len(data)
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        above, to_server = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pipe(reader, to_server, flip_up_at), pipe(above, writer, flip_down_at))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
async def sshd(tmp_path: Path) -> AsyncIterator[OpenSsh]:
    async with openssh(tmp_path / "sshd") as server:
        yield server


@pytest.mark.parametrize("way", ["down", "up"])
async def test_one_bit_that_is_another_ends_the_connection_and_is_never_data(sshd: OpenSsh, tmp_path: Path, way: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(body := os.urandom(4 * MIB))
    new = os.urandom(4 * MIB)
    flips = {f"flip_{way}_at": 2 * MIB}
    async with relay(sshd.port, **flips) as port:  # type: ignore[arg-type]
        sshd.known_hosts.write_text(sshd.known_hosts.read_text().replace(f":{sshd.port} ", f":{port} "))
        async with SshPool(sshd.settings, [replace(sshd.host(), port=port)]) as pool:
            client = await pool.sftp("box")
            file = await client.open(str(path), asyncssh.FXF_READ | asyncssh.FXF_WRITE, encoding=None)
            under_way = read_range(file, 0, 4 * MIB) if way == "down" else write_range(file, 0, new)
            with pytest.raises((asyncssh.Error, OSError)):
                await under_way
            assert client._handler._requests == {}
    got = path.read_bytes()
    taken = next((n for n, (a, b) in enumerate(zip(got, new, strict=True)) if a != b), len(new))
    assert got[taken:] == body[taken:]
    assert taken < 2 * MIB


async def test_both_ends_change_keys_in_the_midst_of_data(tmp_path: Path) -> None:
    async with openssh(tmp_path / "sshd", options="RekeyLimit 1M\n") as sshd, SshPool(sshd.settings, [sshd.host()]) as pool:
        connection, client = await pool.connect("box"), await pool.sftp("box")
        first = connection._send_encryption, connection._recv_encryption
        body = os.urandom(6 * MIB)
        async with client.open(str(tmp_path / "file"), "w+b", encoding=None) as file:
            await write_range(file, 0, body)
            assert await read_range(file, 0, len(body)) == body
        now = connection._send_encryption, connection._recv_encryption
        assert all(a is not b for a, b in zip(first, now, strict=True))


async def test_no_empty_packets_and_no_cipher_that_needs_them(sshd: OpenSsh) -> None:
    assert not [name for name in CIPHERS if "cbc" in name]
    async with SshPool(sshd.settings, [sshd.host()]) as pool:
        connection = await pool.connect("box")
        before = connection._send_seq
        connection.send_packet(MSG_IGNORE, b"\0\0\0\0")
        assert connection._send_seq == before
        connection._enc_alg_cs = b"aes128-cbc"
        connection.send_packet(MSG_IGNORE, b"\0\0\0\0")
        assert connection._send_seq == before + 1


class _Sockets:
    """A transport whose socket remembers what was set."""

    def __init__(self) -> None:
        self.options: list[tuple[int, int, int]] = []

    def get_extra_info(self, name: str) -> _Sockets:
        assert name == "socket"
        return self

    def setsockopt(self, *option: int) -> None:
        self.options.append(option)  # type: ignore[arg-type]


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="not Linux")
async def test_what_is_short_is_acknowledged_at_once_and_a_body_as_it_comes(
    sshd: OpenSsh, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    quick = _Sockets()
    plain = Connection._acknowledge

    def watched(self: Connection) -> None:
        seen.append(len(quick.options))
        with monkeypatch.context() as patch:
            patch.setattr(self, "_transport", quick)
            plain(self)
        plain(self)  # on the real socket too: it takes the option

    monkeypatch.setattr(Connection, "_acknowledge", watched)
    async with SshPool(sshd.settings, [sshd.host()]) as pool:
        assert (await pool.run("box", ["echo", "said"])).stdout == b"said\n"
        answers = len(seen)
        assert answers >= 4, "login and a command are several answers"
        assert set(quick.options) == {(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)}
        await pool.run("box", ["head", "-c", str(4 * MIB), "/dev/zero"], limit=8 * MIB)
        assert len(seen) - answers < 4 * MIB // 4096 // 4
