"""A host behind a real sshd, whose nvidia-smi says what a test wants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.peers.nvidia_smi import FakeSmi, fake_smi
from tests.peers.openssh import OpenSsh, openssh


@pytest.fixture
def smi(tmp_path: Path) -> FakeSmi:
    return fake_smi(tmp_path / "bin")


@pytest.fixture
async def sshd(tmp_path: Path, smi: FakeSmi) -> AsyncIterator[OpenSsh]:
    async with openssh(tmp_path / "sshd", env=smi.env) as server:
        yield server
