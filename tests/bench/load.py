"""The load generator against a server whose delays are known: what 5,000 requests a second cost, how late they leave, how true they are."""

from __future__ import annotations

import os
import time
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from backends.probes.load.course import Course
from backends.probes.load.run import LoadPlan, LoadRun
from backends.probes.load.schedule import poisson
from backends.probes.load.side import Request
from tests.bench.outcome import Outcome, Verdict
from tests.peers.delay_server import DelayServer, delay_server

RATE, SECONDS, TIMES = 5000.0, 10.0, 3
SHARES = (0.5, 0.99)


async def bench_load() -> Outcome:
    """5,000 requests/s, Poisson, at a server of known delays: CPU, lateness, quantiles against the true ones; median of 3."""
    cost: list[float] = []
    late: list[float] = []
    off: dict[float, list[float]] = {share: [] for share in SHARES}
    with TemporaryDirectory(prefix="cutover-load-") as folder:
        async with delay_server(Path(folder)) as server:
            for seed in range(TIMES):
                await _once(server, seed, cost, late, off)
    found = Outcome("load", f"{RATE:,.0f} requests a second, Poisson, {SECONDS:.0f} s", "answers of known delays, 20 ms and more")
    found.verdicts += [
        Verdict("load generator, CPU", 100 * median(cost), 50, unit="% of a core"),
        Verdict("lateness of sending, p99", 1000 * median(late), 2, unit="ms"),
        *(
            Verdict(f"latency at p{share * 100:g} off the server's own", 100 * abs(median(found)), 5, unit="%")
            for share, found in off.items()
        ),
    ]
    found.notes.append(f"medians of {TIMES} runs; lateness at p99 was {1000 * min(late):.2f} to {1000 * max(late):.2f} ms")
    found.notes.append(f"load average of the machine at its end: {os.getloadavg()[0]:.1f}")
    return found


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
