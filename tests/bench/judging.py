"""The judge's own costs: ten million points of JSON Lines compared, and 200 files followed over SSH."""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from pathlib import Path
from random import Random

from backends.plan.models import Source
from backends.ssh.pool import SshPool
from backends.validation.feed import Feed
from backends.validation.files import FileReader
from tests.bench.processes import Command, run_to_end
from tests.peers.openssh import openssh

POINTS = 5_000_000  # a side
WALL, MEMORY = 10.0, 300e6  # bars
FILES = 200
PERIOD = 5.0  # seconds between two polls: the engine's, with windows of 20 s and more
WATCHED = 12  # polls
BAR = 0.05  # of a core


async def bench_compare() -> None:
    """two JSON Lines files of 5,000,000 points each compared, the whole command: wall, CPU and memory"""
    fast = Path("/dev/shm")
    with tempfile.TemporaryDirectory(prefix="cutover-judge-", dir=fast if fast.is_dir() else None) as folder:
        files = [Path(folder) / f"{side}.jsonl" for side in ("legacy", "target")]
        for seed, path in enumerate(files):
            await asyncio.to_thread(_write_run, path, seed)
        size = sum(p.stat().st_size for p in files)
        program = str(Path(sys.executable).parent / "cutover")
        argv = [program, "compare", "--legacy", str(files[0]), "--target", str(files[1]), "--metric", "loss"]
        costs = [await asyncio.to_thread(run_to_end, Command(argv, {}, Path(folder))) for _ in range(3)]
    best = min(costs, key=lambda c: c.wall)
    print(
        f"2 x {POINTS:,} points ({size / 1e6:.0f} MB): {best.wall:.1f} s, {best.cpu:.1f} s of CPU, {best.rss / 1e6:.0f} MB; best of 3"
    )
    print(f"  all: {', '.join(f'{c.wall:.1f} s' for c in costs)}; bars: {WALL:g} s {_reached(best.wall <= WALL)}, ", end="")
    print(f"{MEMORY / 1e6:g} MB {_reached(best.rss <= MEMORY)}", flush=True)


def _reached(well: bool) -> str:
    return "reached" if well else "MISSED"


def _write_run(path: Path, seed: int) -> None:
    chance = Random(seed).random
    with path.open("w") as file:
        for start in range(0, POINTS, 10_000):
            lines = [
                f'{{"step": {i}, "loss": {(2 + 6 / (1 + i / 1e5)) * (1 + (chance() - 0.5) * 1e-3):.6f}, "lr": 0.0001}}\n'
                for i in range(start, start + 10_000)
            ]
            file.write("".join(lines))


async def bench_tails() -> None:
    """200 growing logs of one host followed over a real sshd, a line a second each: the engine's share of a core"""
    with tempfile.TemporaryDirectory(prefix="cutover-judge-") as name:
        folder = Path(name)
        async with openssh(folder / "sshd") as server:
            for i in range(FILES):
                (folder / f"{i}.jsonl").write_text("".join(_line(t) for t in range(60)))
            async with SshPool(server.settings, [server.host()]) as pool:
                reader = FileReader(pool)
                feeds = [Feed(Source(file=f"ssh://box{folder}/{i}.jsonl", value="loss", by="step"), reader) for i in range(FILES)]
                await _polls(feeds)
                used = []
                for turn in range(WATCHED):
                    for i in range(FILES):
                        with (folder / f"{i}.jsonl").open("a") as file:
                            file.writelines(_line(60 + turn * 5 + t) for t in range(5))
                    used.append(await _polls(feeds))
                    await asyncio.sleep(0.2)
        assert all(f.error is None and len(f.series.places()) == 60 + 5 * WATCHED for f in feeds), [f.error for f in feeds][:3]
    share = sum(used) / len(used) / PERIOD
    print(
        f"{FILES} files over SSH, a line a second each, polled every {PERIOD:g} s: {share:.1%} of a core; bar {BAR:.0%} {_reached(share <= BAR)}"
    )
    print(f"  one poll of all: {min(used) * 1000:.0f} to {max(used) * 1000:.0f} ms of CPU", flush=True)


def _line(step: int) -> str:
    return f'{{"step": {step}, "loss": {2 - step / 1e4:.6f}, "time": {time.time():.3f}}}\n'


async def _polls(feeds: list[Feed]) -> float:
    """CPU seconds of this process for one poll of all."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    await asyncio.gather(*(f.poll() for f in feeds))
    after = resource.getrusage(resource.RUSAGE_SELF)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
