"""A fleet of many hosts behind SSH servers on this machine, some of them OpenSSH's with our agent itself, and a real engine that follows it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from backends.engine.client import EngineClient
from backends.engine.paths import socket_of
from backends.engine.process import start_engine
from tests.peers.delay_proxy import delay_proxy
from tests.peers.fake_nvml import fake_nvml
from tests.peers.gpu_hosts import GPUS, GpuHosts, gpu_hosts
from tests.peers.openssh import OpenSsh, openssh, write_keys

HOSTS = 256
SILENT = 13  # 5 %, in a process of their own that can be stopped
REAL = 4  # of OpenSSH, whose agent reads the scripted NVML
PARTS = (64, 64, 64, HOSTS - SILENT - REAL - 3 * 64, SILENT)


@dataclass(frozen=True, slots=True)
class Fleet:
    """The engine's process and client, when it was started, and the processes that are the hosts."""

    pid: int
    client: EngineClient
    state: Path
    began: float
    parts: list[GpuHosts]


@contextlib.asynccontextmanager
async def live_fleet(folder: Path, *, via: bool = False, rtt: float = 0.0, still: bool = False) -> AsyncIterator[Fleet]:
    """256 hosts of eight GPUs; `via` one jump host, `rtt` seconds away; with `still` little moves."""
    async with contextlib.AsyncExitStack() as stack:
        bastion = await stack.enter_async_context(openssh(folder / "bastion", options="AllowTcpForwarding yes\n"))
        keys = folder / "hosts"
        keys.mkdir()
        host_key = write_keys(keys, "host_key")
        (keys / "authorized_keys").write_bytes((bastion.folder / "authorized_keys").read_bytes())
        parts = [await stack.enter_async_context(gpu_hosts(keys, still=still)) for _ in PARTS]
        nvml = fake_nvml(folder / "nvml", gpus=GPUS)
        real = [await stack.enter_async_context(openssh(folder / f"real-{i}", env=nvml.env)) for i in range(REAL)]
        for server in real:
            (server.folder / "authorized_keys").write_bytes((bastion.folder / "authorized_keys").read_bytes())
        gate = bastion.port
        if rtt:
            gate = (await stack.enter_async_context(delay_proxy(("127.0.0.1", bastion.port), folder, rtt=rtt))).port
        known = f"[127.0.0.1]:{gate} {(bastion.folder / 'host_key.pub').read_text()}"
        known += "".join(f"[127.0.0.1]:{part.port} {host_key.export_public_key().decode()}" for part in parts)
        known += "".join(server.known_hosts.read_text() for server in real)
        (folder / "known_hosts").write_text(known)
        ports = [server.port for server in real]
        ports += [part.port for part, count in zip(parts, PARTS, strict=True) for _ in range(count)]
        plan = _plan(folder, bastion, ports, gate if via else None)
        async with _engine(folder / "state", plan) as (pid, client, began):
            yield Fleet(pid, client, folder / "state", began, parts)


def _plan(folder: Path, bastion: OpenSsh, ports: list[int], gate: int | None) -> Path:
    def host(number: int, port: int) -> dict[str, object]:
        found: dict[str, object] = {"name": f"h{number:03}", "address": "127.0.0.1", "user": bastion.user, "port": port}
        return found | ({"via": "bastion"} if gate is not None else {})

    hosts = [host(number, port) for number, port in enumerate(ports)]
    (folder / "ssh_config").write_text(
        bastion.config.read_text() + f"Host bastion\n  HostName 127.0.0.1\n  Port {gate or bastion.port}\n  User {bastion.user}\n"
    )
    plan = {
        "version": 1,
        "name": "fleet",
        "simulation": True,
        "ssh": {"config": str(folder / "ssh_config"), "known_hosts": str(folder / "known_hosts"), "connect_timeout": "60s"},
        "legacy": {"provider": "old", "hosts": hosts[: HOSTS // 2]},
        "target": {"provider": "new", "hosts": hosts[HOSTS // 2 :]},
    }
    path = folder / "plan.yaml"
    path.write_text(json.dumps(plan))
    return path


@contextlib.asynccontextmanager
async def _engine(state: Path, plan: Path) -> AsyncIterator[tuple[int, EngineClient, float]]:
    began = time.monotonic()
    await asyncio.to_thread(start_engine, state, plan)
    async with EngineClient(socket_of(state)) as client:
        snapshot = await client.snapshot()
        assert snapshot.engine is not None
        try:
            yield snapshot.engine.pid, client, began
        finally:
            await client.command("down", {"anyway": True})
