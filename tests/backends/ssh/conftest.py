"""One sshd a test: it is ready in well under a second."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backends.ssh.pool import SshPool
from tests.peers.openssh import OpenSsh, openssh


@pytest.fixture
async def sshd(tmp_path: Path) -> AsyncIterator[OpenSsh]:
    async with openssh(tmp_path / "sshd") as server:
        yield server


@pytest.fixture
async def pool(sshd: OpenSsh) -> AsyncIterator[SshPool]:
    async with SshPool(sshd.settings, [sshd.host()]) as opened:
        yield opened
