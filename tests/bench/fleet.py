"""256 hosts of eight GPUs, followed by a real engine with a console attached: what that costs, how old what is shown gets, and what a look costs a host."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil

from backends.engine.client import EngineClient
from backends.snapshot import Snapshot
from tests.bench.live_fleet import HOSTS, REAL, SILENT, live_fleet
from tests.bench.one_host import one_host
from tests.bench.outcome import Outcome, Verdict

WATCHED = 30.0


@dataclass(frozen=True, slots=True)
class Cost:
    """`cpu` as a share of a core, `rss` in bytes, over the seconds that were watched; `ages` of hosts that are not silent."""

    cpu: float
    rss: int
    ages: Sequence[float]

    def age(self, share: float) -> float:
        return sorted(self.ages)[int(len(self.ages) * share)]


async def bench_fleet() -> Outcome:
    """256 hosts x 8 GPUs, one sample a second: engine, ages, silent hosts, cold connects, and our agent beside nvitop and all-smi."""
    found = Outcome("fleet", f"{HOSTS} hosts of eight GPUs, one sample a second", f"asyncssh, {REAL} of OpenSSH")
    with tempfile.TemporaryDirectory(prefix="cutover-fleet-") as folder:
        await _followed(Path(folder), found)
    for rtt, bar in ((0.0, 5.0), (0.05, 30.0)):
        with tempfile.TemporaryDirectory(prefix="cutover-fleet-") as folder:
            await _from_cold(Path(folder), rtt, bar, found)
    with tempfile.TemporaryDirectory(prefix="cutover-fleet-") as folder:
        ours, *peers = await one_host(Path(folder))
    assert ours.cpu is not None
    assert ours.rss is not None
    found.verdicts += [
        Verdict("our agent on a host of eight GPUs, CPU", 100 * ours.cpu, 1, unit="% of a core"),
        Verdict("our agent on a host of eight GPUs, memory", ours.rss / 1e6, 25, unit="MB"),
    ]
    found.notes += [peer.words() for peer in peers]
    found.notes.append(f"load average of the machine at its end: {os.getloadavg()[0]:.1f}")
    return found


async def _followed(folder: Path, found: Outcome) -> None:
    async with live_fleet(folder) as fleet:
        cold = await _until(fleet.client, lambda s: _count(s, "live") == HOSTS, fleet.began)
        found.notes.append(f"all live {cold:.2f} s after the engine's start, without a jump host")
        cost = await _watch(fleet.pid, fleet.client)
        psutil.Process(fleet.parts[-1].pid).send_signal(signal.SIGSTOP)
        stopped = time.monotonic()
        try:
            late = await _until(fleet.client, lambda s: _count(s, "late") + _count(s, "silent") >= SILENT, stopped)
            silent = await _until(fleet.client, lambda s: _count(s, "silent") >= SILENT, stopped)
            without = await _watch(fleet.pid, fleet.client)
        finally:
            psutil.Process(fleet.parts[-1].pid).send_signal(signal.SIGCONT)
    found.verdicts += [
        Verdict("engine with a console attached, CPU", 100 * cost.cpu, 10, unit="% of a core"),
        Verdict("engine, memory", cost.rss / 1e6, 200, unit="MB"),
        Verdict(f"age of what is shown, p99 (median {median(cost.ages):.2f} s)", cost.age(0.99), 2, unit="s"),
        Verdict("the same of the others with 5 % of them stopped", without.age(0.99), 2, unit="s"),
        Verdict("hosts that stop are late after", late, 5, unit="s"),
        Verdict("hosts that stop are silent after", silent, 15, unit="s"),
    ]


async def _from_cold(folder: Path, rtt: float, bar: float, found: Outcome) -> None:
    refused: set[str] = set()

    def all_live(snapshot: Snapshot) -> bool:
        refused.update(
            host.name for host in snapshot.hosts if host.health in ("refused", "auth failed") or "MaxStartups" in str(host.error)
        )
        return _count(snapshot, "live") == HOSTS

    async with live_fleet(folder, via=True, rtt=rtt) as fleet:
        cold = await _until(fleet.client, all_live, fleet.began)
    far = f", {rtt * 1000:.0f} ms away" if rtt else ""
    found.verdicts.append(Verdict(f"all live through one jump host{far}, from the engine's start", cold, bar, unit="s"))
    found.verdicts.append(Verdict(f"hosts refused meanwhile{far}", len(refused), 0, unit=""))


def _count(snapshot: Snapshot, health: str) -> int:
    return sum(host.health == health for host in snapshot.hosts)


async def _until(client: EngineClient, wanted: Callable[[Snapshot], bool], since: float) -> float:
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
