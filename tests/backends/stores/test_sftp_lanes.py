"""Large bodies over SFTP: two connections where the server takes them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backends.ssh.pool import SshPool
from backends.stores.checksum import crc64nvme
from backends.stores.sftp import SftpStore
from tests.peers.openssh import OpenSsh, openssh

MIB = 1 << 20


@pytest.fixture
async def sshd(tmp_path: Path) -> AsyncIterator[OpenSsh]:
    async with openssh(tmp_path / "sshd") as server:
        yield server


@pytest.fixture
async def pool(sshd: OpenSsh) -> AsyncIterator[SshPool]:
    async with SshPool(sshd.settings, [sshd.host()]) as opened:
        yield opened


async def test_large_bodies_share_two_connections(sshd: OpenSsh, pool: SshPool, tmp_path: Path) -> None:
    body = os.urandom(4 * MIB)
    crc = crc64nvme(body)
    async with SftpStore("s", pool, "box", str(tmp_path / "tree")) as store:
        await store.prepare()
        upload = await store.create_upload("big")
        parts = [store.write_part("big", upload, n + 1, n << 22, body, crc64nvme=crc) for n in range(4)]
        done = await asyncio.gather(*parts)
        whole = await store.complete_upload("big", upload, list(done), size=16 * MIB, crc64nvme=crc64nvme(body * 4), like=None)
        got = await asyncio.gather(*(store.read("big", start=n << 22, length=4 * MIB, if_match=whole.identity) for n in range(4)))
    assert all(piece == body for piece in got)
    assert (sshd.folder / "sshd.log").read_text().count("Accepted publickey") == 2


async def test_one_connection_will_do(sshd: OpenSsh, pool: SshPool, tmp_path: Path) -> None:
    """A server that takes no second one."""
    (tmp_path / "big").write_bytes(body := os.urandom(4 * MIB))
    async with SftpStore("s", pool, "box", str(tmp_path)) as store:
        assert await store.head("big") is not None
        (sshd.folder / "authorized_keys").write_bytes(b"")
        got = await asyncio.gather(*(store.read("big", start=n * MIB, length=MIB) for n in range(4)))
    assert b"".join(got) == body
    assert store.latency is not None
    assert (sshd.folder / "sshd.log").read_text().count("Accepted publickey") == 1
