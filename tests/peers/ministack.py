"""A ministack of its own process on the loopback: the small S3 of the sandbox, or other services. It takes any credentials.

`BIND_HOST` alone would leave SFTP and MQTT ports open on every interface, so both are switched off; nothing is kept on disk.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.peers.process import first_line, free_ports, running


@dataclass(frozen=True, slots=True)
class MiniStack:
    endpoint: str
    access_key: str
    secret_key: str
    pid: int
    region: str = "us-east-1"


@contextlib.asynccontextmanager
async def ministack(folder: Path, services: str = "s3") -> AsyncIterator[MiniStack]:
    """A server that answers its health question; its log and pid file are below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (port,) = free_ports(1)
    environment = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "TMPDIR": str(folder),
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "SERVICES": services,
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "S3_PERSIST": "0",
        "PERSIST_STATE": "0",
    }
    argv = [sys.executable, "-m", "ministack"]

    async def ready() -> bool:
        return b" 200" in await first_line(port, "/_ministack/health")

    async with running(argv, log=folder / "ministack.log", ready=ready, env=environment, cwd=folder) as process:
        yield MiniStack(f"http://127.0.0.1:{port}", "test", "test", pid=process.pid)
