"""From the start of `cutover rollback --confirm` to its first effect at the authority, on the small world: how long an operator waits."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from backends.engine.client import EngineClient
from backends.errors import RefusedByRule
from backends.snapshot import State
from tests.faults.small_world import SmallWorld, client_of, start, wait_until_gone

CUTOVER = Path(sys.executable).parent / "cutover"
TIMES = 9
LIMIT = 60.0


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds from the process's start: to the route's weight changing, and to the process's end with everything home."""

    first_effect: float
    home: float


async def rollback_latency(folder: Path, times: int = TIMES) -> list[Latency]:
    """As often as wanted, each time with all traffic on target and a writer to be handed back."""
    world = SmallWorld(folder)
    with world.served():
        await asyncio.to_thread(start, world)
        async with client_of(world) as client:
            found = [await _once(world, client) for _ in range(times)]
            await client.command("down", {"anyway": True})
        await asyncio.to_thread(wait_until_gone, world)
    return found


async def _once(world: SmallWorld, client: EngineClient) -> Latency:
    if (await client.snapshot()).state is State.ROLLED_BACK:
        await client.command("resume", {"reason": "once more"})
    await _to_dual(client)
    return await asyncio.to_thread(_measure, world)


async def _to_dual(client: EngineClient) -> None:
    async with asyncio.timeout(LIMIT):
        while (await client.snapshot()).state is not State.DUAL:
            try:
                await client.command("advance")
            except RefusedByRule:
                await asyncio.sleep(0.1)  # soak and spacing take their time


def _measure(world: SmallWorld) -> Latency:
    authority = world.folder / "chat"
    began = time.monotonic()
    argv = [str(CUTOVER), "rollback", "--confirm", "small", "--state", str(world.state)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while authority.read_text().strip() != "0":
        if time.monotonic() - began > LIMIT:
            process.kill()
            raise TimeoutError("the route's weight did not change")
        time.sleep(0.001)
    first = time.monotonic() - began
    if process.wait(LIMIT) != 0:
        raise RuntimeError(f"cutover rollback ended with {process.returncode}")
    return Latency(first, time.monotonic() - began)


async def bench_rollback() -> None:
    """`cutover rollback --confirm`: from its start to the first effect at the authority, median of 9 on a small real world."""
    with tempfile.TemporaryDirectory(prefix="cutover-bench-") as folder:
        found = await rollback_latency(Path(folder))
    first, home = [f.first_effect for f in found], [f.home for f in found]
    print(f"first effect at the authority: median {median(first):.3f} s of {len(first)}, {min(first):.3f} to {max(first):.3f} s")
    print(f"everything home:               median {median(home):.3f} s, {min(home):.3f} to {max(home):.3f} s")
