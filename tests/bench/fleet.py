"""256 hosts of eight GPUs, followed by a real engine with a console attached: what that costs, and how old what is shown gets."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from backends.engine.client import EngineClient
from backends.engine.paths import socket_of
from backends.engine.process import start_engine
from backends.snapshot import Snapshot
from tests.peers.delay_proxy import delay_proxy
from tests.peers.gpu_hosts import GpuHosts, gpu_hosts
from tests.peers.openssh import OpenSsh, openssh, write_keys

HOSTS = 256
SILENT = 13  # 5 %, in a process of their own that is stopped
PARTS = (64, 64, 64, HOSTS - SILENT - 3 * 64, SILENT)
WATCHED = 30.0


@dataclass(frozen=True, slots=True)
class Cost:
    """`cpu` as a share of a core, `rss` in bytes, over the seconds that were watched; `ages` of hosts that are not silent."""

    cpu: float
    rss: int
    ages: Sequence[float]


async def bench_fleet() -> None:
    """256 hosts x 8 GPUs, one sample a second: CPU and memory of the engine, ages, silent hosts, cold connects."""
    for via, rtt in ((False, 0.0), (True, 0.0), (True, 0.05)):
        with tempfile.TemporaryDirectory(prefix="cutover-fleet-") as folder:
            await _bench(Path(folder), via=via, rtt=rtt)


async def _bench(folder: Path, *, via: bool, rtt: float) -> None:
    how = f"through one jump host{f', {rtt * 1000:.0f} ms' if rtt else ''}" if via else "direct"
    async with contextlib.AsyncExitStack() as stack:
        bastion = await stack.enter_async_context(openssh(folder / "bastion", options="AllowTcpForwarding yes\n"))
        keys = folder / "hosts"
        keys.mkdir()
        host_key = write_keys(keys, "host_key")
        (keys / "authorized_keys").write_bytes((bastion.folder / "authorized_keys").read_bytes())
        parts = [await stack.enter_async_context(gpu_hosts(keys)) for _ in PARTS]
        gate = bastion.port
        if rtt:
            gate = (await stack.enter_async_context(delay_proxy(("127.0.0.1", bastion.port), folder, rtt=rtt))).port
        known = f"[127.0.0.1]:{gate} {(bastion.folder / 'host_key.pub').read_text()}"
        known += "".join(f"[127.0.0.1]:{part.port} {host_key.export_public_key().decode()}" for part in parts)
        (folder / "known_hosts").write_text(known)
        plan = _plan(folder, bastion, parts, gate if via else None)
        async with _engine(folder / "state", plan) as (pid, client, began):
            cold = await _until(client, lambda s: _count(s, "live") == HOSTS, began)
            print(f"{HOSTS} hosts {how}: all live {cold:.2f} s after the engine's start", flush=True)
            if via:
                return
            cost = await _watch(pid, client)
            ages = sorted(cost.ages)
            print(
                f"engine with one console attached, {WATCHED:.0f} s: {cost.cpu:.1%} of a core, {cost.rss / 1e6:.0f} MB; "
                f"age of what is shown: median {median(ages):.2f} s, p99 {ages[int(len(ages) * 0.99)]:.2f} s",
                flush=True,
            )
            psutil.Process(parts[-1].pid).send_signal(signal.SIGSTOP)
            stopped = time.monotonic()
            late = await _until(client, lambda s: _count(s, "late") + _count(s, "silent") >= SILENT, stopped)
            silent = await _until(client, lambda s: _count(s, "silent") >= SILENT, stopped)
            cost = await _watch(pid, client)
            ages = sorted(cost.ages)
            psutil.Process(parts[-1].pid).send_signal(signal.SIGCONT)
            print(
                f"5 % of them stopped: late after {late:.1f} s, silent after {silent:.1f} s; the others' age p99 "
                f"{ages[int(len(ages) * 0.99)]:.2f} s, {cost.cpu:.1%} of a core",
                flush=True,
            )


def _count(snapshot: Snapshot, health: str) -> int:
    return sum(host.health == health for host in snapshot.hosts)


async def _until(client: EngineClient, wanted: object, since: float) -> float:
    assert callable(wanted)
    async with asyncio.timeout(180):
        async for snapshot in client.events():
            if wanted(snapshot):
                return time.monotonic() - since
    raise RuntimeError("the engine's stream ended")


async def _watch(pid: int, client: EngineClient) -> Cost:
    engine = psutil.Process(pid)
    began, before = time.monotonic(), engine.cpu_times()
    ages: list[float] = []
    async for snapshot in client.events():
        ages += [host.age for host in snapshot.hosts if host.age is not None and host.health == "live"]
        if time.monotonic() - began >= WATCHED:
            break
    spent, now = time.monotonic() - began, engine.cpu_times()
    cpu = (now.user + now.system - before.user - before.system) / spent
    return Cost(cpu, engine.memory_info().rss, ages)


def _plan(folder: Path, bastion: OpenSsh, parts: list[GpuHosts], gate: int | None) -> Path:
    def host(number: int, port: int) -> dict[str, object]:
        found: dict[str, object] = {"name": f"h{number:03}", "address": "127.0.0.1", "user": bastion.user, "port": port}
        return found | ({"via": "bastion"} if gate is not None else {})

    ports = [part.port for part, count in zip(parts, PARTS, strict=True) for _ in range(count)]
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
