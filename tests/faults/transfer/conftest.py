"""One real server of each kind a session; proxies, a prefix and an index of its own a test."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from backends.transfer import parts
from backends.transfer.index import Index
from tests.faults.transfer.rig import PART, WHOLE_UP_TO, Rig, rigged
from tests.peers.seaweedfs import SeaweedFs


@pytest_asyncio.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with Index(tmp_path / "index.db") as opened:
        yield opened


@pytest.fixture
def rig_server(weed: SeaweedFs) -> SeaweedFs:
    """Outside of async fixtures: a session's server is started by its own loop."""
    return weed


@pytest_asyncio.fixture
async def rig(rig_server: SeaweedFs, index: Index) -> AsyncIterator[Rig]:
    async with rigged(rig_server, index) as made:
        yield made


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.transfer.copier.WHOLE_UP_TO", WHOLE_UP_TO)
    monkeypatch.setattr(parts, "LEAST_PART", PART)
    monkeypatch.setattr(parts, "_MEBIBYTE", PART)


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backoff waits as ever between tries, only not as long."""
    monkeypatch.setattr("backends.transfer.pace.jittered", lambda seconds: min(seconds, 0.02))
