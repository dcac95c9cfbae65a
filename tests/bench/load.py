"""The load generator against a server whose delays are known: what 5,000 requests a second cost, how late they leave, how true they are."""

from __future__ import annotations

import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from backends.probes.load.course import Course
from backends.probes.load.run import LoadPlan, LoadRun
from backends.probes.load.schedule import poisson
from backends.probes.load.side import Request
from tests.peers.delay_server import DelayServer, delay_server

RATE, SECONDS, TIMES = 5000.0, 10.0, 3
SHARES = (0.5, 0.99)


async def bench_load() -> None:
    """5,000 requests/s, Poisson, at a server of known delays: CPU, lateness, quantiles against the true ones; median of 3."""
    cost: list[float] = []
    late: list[float] = []
    off: dict[float, list[float]] = {share: [] for share in SHARES}
    with TemporaryDirectory(prefix="cutover-load-") as folder:
        async with delay_server(Path(folder)) as server:
            for seed in range(TIMES):
                await _once(server, seed, cost, late, off)
    print(f"{RATE:,.0f} requests/s: {median(cost):.1%} of a core (bar: 50 %)")
    print(f"lateness p99: {median(late) * 1000:.2f} ms (bar: 2 ms), {min(late) * 1000:.2f} to {max(late) * 1000:.2f}")
    for share, found in off.items():
        print(f"latency at p{share * 100:g}: {median(found):+.1%} of the server's own (bar: 5 %)")


async def _once(server: DelayServer, seed: int, cost: list[float], late: list[float], off: dict[float, list[float]]) -> None:
    began, cpu = time.monotonic(), time.process_time()
    run = LoadRun(LoadPlan({"legacy": Request(server.url + "/")}, SECONDS), poisson(RATE, seed))
    course = Course()
    async for done in run.run():
        course.add(done)
    found = course.whole["legacy"]
    cost.append((time.process_time() - cpu) / (time.monotonic() - began))
    if found.errors:
        raise RuntimeError(f"requests failed: {dict(found.errors)}")
    late.append(found.late.quantile(0.99) or 0.0)
    for share in SHARES:
        off[share].append((found.latency.quantile(share) or 0.0) / server.quantile(share) - 1)
