"""256 hosts of eight GPUs, followed by a real engine with a console attached: what that costs, and how old what is shown gets."""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from backends.engine.client import EngineClient
from backends.snapshot import Snapshot
from tests.bench.live_fleet import HOSTS, SILENT, live_fleet

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
    async with live_fleet(folder, via=via, rtt=rtt) as fleet:
        cold = await _until(fleet.client, lambda s: _count(s, "live") == HOSTS, fleet.began)
        print(f"{HOSTS} hosts {how}: all live {cold:.2f} s after the engine's start", flush=True)
        if via:
            return
        cost = await _watch(fleet.pid, fleet.client)
        ages = sorted(cost.ages)
        print(
            f"engine with one console attached, {WATCHED:.0f} s: {cost.cpu:.1%} of a core, {cost.rss / 1e6:.0f} MB; "
            f"age of what is shown: median {median(ages):.2f} s, p99 {ages[int(len(ages) * 0.99)]:.2f} s",
            flush=True,
        )
        silenced = psutil.Process(fleet.parts[-1].pid)
        silenced.send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        late = await _until(fleet.client, lambda s: _count(s, "late") + _count(s, "silent") >= SILENT, stopped)
        silent = await _until(fleet.client, lambda s: _count(s, "silent") >= SILENT, stopped)
        cost = await _watch(fleet.pid, fleet.client)
        ages = sorted(cost.ages)
        silenced.send_signal(signal.SIGCONT)
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
