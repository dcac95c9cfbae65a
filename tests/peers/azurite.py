"""Azurite, Microsoft's emulator of Azure Blob (npm `azurite`, put below .peers/ by .ci/azurite), on the loopback, kept in memory.

It checks signatures, MD5, conditions and block lists. What it lacks: CRC64 of contents.
"""

from __future__ import annotations

import base64
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.peers.process import first_line, free_ports, running

_PROGRAM = Path(__file__).resolve().parents[2] / ".peers" / "node_modules" / ".bin" / "azurite-blob"
_KEY = base64.b64encode(b"an account's key of the tests, 64 bytes long, as Azure's are.....").decode()


@dataclass(frozen=True, slots=True)
class Azurite:
    endpoint: str  # http://127.0.0.1:PORT/ACCOUNT
    account: str
    key: str
    pid: int


def azurite_path() -> str | None:
    """The program; None where it or node is not installed."""
    return str(_PROGRAM) if _PROGRAM.exists() and shutil.which("node") else None


@contextlib.asynccontextmanager
async def azurite(folder: Path) -> AsyncIterator[Azurite]:
    """A server that takes requests, with one account of its own; its log is below `folder`."""
    program = azurite_path()
    if program is None:
        raise FileNotFoundError("azurite is not installed (.ci/azurite)")
    folder.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    options = ("--blobHost", "127.0.0.1", "--blobPort", str(port), "--inMemoryPersistence", "--silent", "--skipApiVersionCheck")
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "AZURITE_ACCOUNTS": f"cutover:{_KEY}",
        "AZURITE_TELEMETRY": "false",
    }

    async def ready() -> bool:
        return b" 400" in await first_line(port, "/") or b" 403" in await first_line(port, "/")

    argv = [program, *options, "--disableTelemetry"]
    async with running(argv, log=folder / "azurite.log", ready=ready, env=environment, cwd=folder) as process:
        yield Azurite(f"http://127.0.0.1:{port}/cutover", "cutover", _KEY, pid=process.pid)
