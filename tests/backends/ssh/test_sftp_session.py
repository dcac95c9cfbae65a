"""Ranges of files over SFTP against a real sshd, and answers cut anywhere."""

from __future__ import annotations

import asyncio
import os
import random
import struct
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import asyncssh
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.ssh import sftp_session
from backends.ssh.pool import CIPHERS, SshPool
from backends.ssh.sftp_session import SftpHandler, read_range, round_trip, write_range
from tests.peers.delay_proxy import delay_proxy
from tests.peers.openssh import OpenSsh, openssh

NEW = asyncssh.FXF_READ | asyncssh.FXF_WRITE | asyncssh.FXF_CREAT
MIB = 1 << 20


async def there_and_back(pool: SshPool, path: Path, body: bytes, host: str = "box") -> None:
    """Write `body` in uneven ranges at once, read it back in others."""
    client = await pool.sftp(host)
    cuts = sorted({0, len(body), *(random.Random(7).randrange(len(body)) for _ in range(9))})
    ranges = list(pairwise(cuts))
    async with client.open(str(path), NEW, encoding=None) as file:
        await asyncio.gather(*(write_range(file, a, memoryview(body)[a:b]) for a, b in reversed(ranges)))
        assert path.read_bytes() == body
        assert await read_range(file, 0, len(body)) == body
        parts = await asyncio.gather(*(read_range(file, a + 1, b - a) for a, b in ranges), client.lstat(str(path)))
    assert parts[-1].size == len(body)
    assert parts[:-1] == [body[a + 1 : b + 1] for a, b in ranges]


@pytest.mark.parametrize("cipher", CIPHERS)
async def test_every_cipher_carries_what_was_given(tmp_path: Path, cipher: str) -> None:
    async with openssh(tmp_path / "sshd", options=f"Ciphers {cipher}\n") as sshd, SshPool(sshd.settings, [sshd.host()]) as pool:
        await there_and_back(pool, tmp_path / "file", os.urandom(3 * MIB + 17))


async def test_new_keys_in_the_midst_of_data(tmp_path: Path) -> None:
    """Both ends ask for them, each after its own amount."""
    async with openssh(tmp_path / "sshd", options="RekeyLimit 1M\n") as sshd:
        sshd.config.write_text(sshd.config.read_text() + "  RekeyLimit 700K\n")
        async with SshPool(sshd.settings, [sshd.host()]) as pool:
            await there_and_back(pool, tmp_path / "file", os.urandom(12 * MIB))


async def test_through_a_jump_host(sshd: OpenSsh, tmp_path: Path) -> None:
    hosts = [sshd.host("bastion"), sshd.host("inner", via="bastion")]
    async with SshPool(sshd.settings, hosts) as pool:
        await there_and_back(pool, tmp_path / "file", os.urandom(5 * MIB), "inner")


async def test_requests_of_one_turn_share_packets(pool: SshPool, tmp_path: Path) -> None:
    client, connection = await pool.sftp("box"), await pool.connect("box")
    before = connection._send_seq
    found = await asyncio.gather(*(client.lstat(str(tmp_path)) for _ in range(200)))
    assert {a.permissions for a in found} == {tmp_path.stat().st_mode}
    assert connection._send_seq - before < 20
    latency = round_trip(client)
    assert latency is not None
    assert 0 < latency < 10


@pytest.mark.parametrize("is_far", [False, True])
async def test_a_near_server_has_little_under_way_for_all_ranges_and_a_far_one_much_for_each(
    pool: SshPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_far: bool
) -> None:
    body, most = os.urandom(16 * MIB), 0
    client = await pool.sftp("box")
    handler = client._handler
    assert isinstance(handler, SftpHandler)
    ask = SftpHandler.ask_block

    def counted(self: SftpHandler, kind: int, args: Sequence[bytes | memoryview], block: sftp_session._Block) -> None:
        nonlocal most
        ask(self, kind, args, block)
        most = max(most, len(self._blocks))

    monkeypatch.setattr(SftpHandler, "ask_block", counted)
    async with client.open(str(tmp_path / "file"), NEW, encoding=None) as file:
        handler.round_trip = 0.02 if is_far else 0.0002  # of a loaded machine it may be anything
        parts = [(at, memoryview(body)[at : at + 4 * MIB]) for at in range(0, len(body), 4 * MIB)]
        await asyncio.gather(*(write_range(file, at, part) for at, part in parts))
        assert (tmp_path / "file").read_bytes() == body
        assert most == 32 if is_far else 4 <= most <= 5  # the first range has begun when the others come
        most = 0
        await write_range(file, 0, body)
        assert most == (8 if is_far else 2)


async def test_a_far_server_may_send_more_ahead(sshd: OpenSsh, pool: SshPool, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(body := os.urandom(12 * MIB))
    async with delay_proxy((sshd.address, sshd.port), tmp_path, rtt=0.02) as proxy:
        host_key = sshd.known_hosts.read_text().split(" ", 1)[1]
        sshd.known_hosts.write_text(f"[{sshd.address}]:{proxy.port} {host_key}")
        async with SshPool(sshd.settings, [replace(sshd.host("far"), port=proxy.port)]) as far:
            client = await far.sftp("far")
            handler = client._handler
            assert isinstance(handler, SftpHandler)
            assert handler.is_far
            async with client.open(str(tmp_path / "file"), asyncssh.FXF_READ, encoding=None) as file:
                assert await read_range(file, 0, len(body)) == body
            assert handler._channel._recv_window > 3 * MIB


async def test_a_range_past_the_end_comes_short(pool: SshPool, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(body := os.urandom(700_000))
    client = await pool.sftp("box")
    async with client.open(str(path), asyncssh.FXF_READ, encoding=None) as file:
        assert await read_range(file, 100, 4 * MIB) == body[100:]
        assert await read_range(file, 700_000, 10) == b""
        assert await read_range(file, 10, 0) == b""


async def test_what_the_server_refuses_is_raised_and_the_session_goes_on(pool: SshPool, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 10)
    client = await pool.sftp("box")
    async with client.open(str(path), asyncssh.FXF_READ, encoding=None) as file:
        with pytest.raises(asyncssh.SFTPError):
            await write_range(file, 0, os.urandom(3 * MIB))
        assert await read_range(file, 0, 10) == b"x" * 10
    assert path.read_bytes() == b"x" * 10


async def test_ranges_given_up_leave_the_others_whole(pool: SshPool, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(body := os.urandom(8 * MIB))
    client = await pool.sftp("box")
    async with client.open(str(path), NEW, encoding=None) as file:
        given_up = [asyncio.create_task(read_range(file, 0, 8 * MIB)) for _ in range(4)]
        given_up.append(asyncio.create_task(write_range(file, 0, body)))
        kept = asyncio.create_task(read_range(file, 3 * MIB, 2 * MIB))
        await client.lstat(str(path))  # all of them are under way
        for task in given_up:
            task.cancel()
        assert await kept == body[3 * MIB : 5 * MIB]
        ended = await asyncio.gather(*given_up, return_exceptions=True)
        assert all(isinstance(e, asyncio.CancelledError) or e in (None, body) for e in ended)
        assert await read_range(file, 0, 8 * MIB) == body


async def test_a_cut_link_ends_what_is_under_way(sshd: OpenSsh, pool: SshPool, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(body := os.urandom(MIB))
    client = await pool.sftp("box")
    file = await client.open(str(path), asyncssh.FXF_READ, encoding=None)
    sshd.freeze_sessions()
    reading = asyncio.create_task(read_range(file, 0, MIB))
    looking = asyncio.create_task(client.lstat(str(path)))
    await asyncio.wait([reading], timeout=0)
    sshd.kill_sessions()
    for task in (reading, looking):
        with pytest.raises((asyncssh.Error, OSError)):
            await task
    again = await pool.sftp("box")
    async with again.open(str(path), asyncssh.FXF_READ, encoding=None) as file:
        assert await read_range(file, 0, MIB) == body


class Answers(SftpHandler):
    """The receiving half alone: requests go nowhere, answers are given by hand."""

    def __init__(self) -> None:
        self._blocks, self._requests = {}, {}
        self._held, self._into, self._of = bytearray(), None, None
        self._next_pktid = 0
        self.sent: list[tuple[int, int, int]] = []
        self.ended: Exception | None = None

    def _send(self, kind: int, *args: bytes | memoryview) -> None:
        number, (offset, size) = int.from_bytes(args[0], "big"), struct.unpack(">QI", args[1][-12:])
        self.sent.append((number, offset, size))

    def _end(self, error: Exception) -> None:
        self.ended = error


def data(number: int, body: bytes) -> bytes:
    return struct.pack(">IBII", 9 + len(body), 103, number, len(body)) + body


def status(number: int, code: int) -> bytes:
    return struct.pack(">IBIIII", 17, 101, number, code, 0, 0)


@given(
    size=st.integers(1, 200), file_size=st.integers(0, 220), cuts=st.lists(st.integers(1, 40), max_size=60), random=st.randoms()
)
def test_a_range_is_put_together_from_answers_in_any_order_and_cut_anywhere(
    size: int, file_size: int, cuts: list[int], random: random.Random
) -> None:
    """Blocks of 16 bytes that come short, or meet the end of the file."""
    body = bytes(range(256))[:file_size]

    async def main() -> None:
        handler = Answers()
        reading = sftp_session._Reading(handler, b"h", 0, memoryview(bytearray(size)))
        waiting = asyncio.ensure_future(reading.run(4, 16))
        await asyncio.sleep(0)
        stream = bytearray()
        lengths = iter(cuts)
        while not waiting.done():
            while handler.sent:
                number, offset, wanted = handler.sent.pop(random.randrange(len(handler.sent)))
                piece = body[offset : offset + wanted]
                stream += data(number, piece[: random.randint(1, len(piece))]) if piece else status(number, 1)
            while stream:
                cut = next(lengths, 1000)
                handler.received(memoryview(bytes(stream[:cut])))
                del stream[:cut]
            await asyncio.sleep(0)
        waiting.result()
        assert handler.ended is None
        assert reading.body[: reading.end] == body[:size]

    asyncio.run(main())


@given(st.binary(max_size=60), st.lists(st.integers(1, 9), max_size=20))
def test_no_bytes_of_a_server_break_more_than_the_session(stream: bytes, cuts: list[int]) -> None:
    handler = Answers()
    for cut in (*cuts, 100):
        if handler.ended is None:
            handler.received(memoryview(stream[:cut]))
        stream = stream[cut:]
    assert handler.ended is None or isinstance(handler.ended, asyncssh.SFTPBadMessage)
    assert len(handler._held) <= 60


def test_more_data_than_was_asked_for_ends_the_session() -> None:
    async def main() -> None:
        handler = Answers()
        reading = sftp_session._Reading(handler, b"h", 0, memoryview(bytearray(8)))
        waiting = asyncio.ensure_future(reading.run(4, 16))
        await asyncio.sleep(0)
        handler.received(memoryview(data(0, b"123456789")))
        assert isinstance(handler.ended, asyncssh.SFTPBadMessage)
        assert bytes(reading.body) == bytes(8)
        waiting.cancel()

    asyncio.run(main())
