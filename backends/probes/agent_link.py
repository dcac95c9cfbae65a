"""The agent on a host: sent over stdin to its `python3`, its lines read, its clock asked.

Nothing is written to the host's disk: the words after `python3 -c` read the program from the channel itself, as one line.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
import zlib
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from backends.errors import CouldNot
from backends.escape import plain
from backends.probes.reading import AgentReading
from backends.ssh.errors import LinkLost
from backends.ssh.pool import SshPool
from backends.ssh.session import RemoteLines

BOOT = "import base64,sys,zlib;exec(zlib.decompress(base64.b64decode(sys.stdin.buffer.raw.readline())))"
PARTS = ("host", "nvml", "main")
LINE_LIMIT = 1 << 17  # eight GPUs whole, each with its processes
HELLO_LIMIT = 15.0
QUIET = 15.0  # seconds without a line after which the channel counts as lost
NOISE_LIMIT = 200  # lines before the hello: banners, motd
CLOCK_EVERY = 10.0


class NoAgent(CouldNot):
    """The host does not run the agent: no python3, a restricted shell, a forced command."""

    code = "no_agent"


@cache
def program(*parts: str) -> bytes:
    """The agent, or other programs of its folder, as one line of base64."""
    folder = Path(__file__).parent / "agent"
    lines = [line for part in parts or PARTS for line in (folder / f"{part}.py").read_text("utf-8").splitlines()]
    text = "\n".join(line for line in lines if not line.startswith("from backends."))
    return base64.b64encode(zlib.compress(text.encode(), 9)) + b"\n"


def agent_argv(period: float, paths: Sequence[str]) -> list[str]:
    """The command: isolated from the host's own Python settings, unbuffered."""
    return ["python3", "-BISuc", BOOT, f"{period:g}", json.dumps(list(paths))]


async def follow_agent(
    pool: SshPool,
    host: str,
    *,
    period: float,
    paths: Sequence[str],
    seen: Callable[[AgentReading, str], None],
    clock: Callable[[], float] = time.time,
) -> None:
    """Run the agent until it ends; `seen(reading, what)` after each line. Raises `NoAgent` where it never began, `LinkLost` where it
    fell silent or its lines cannot be trusted, and what the connection raises."""
    reading = AgentReading()
    async with pool.stream(host, agent_argv(period, paths), limit=LINE_LIMIT, unhurried=True) as lines:
        lines.write(program())
        asking = asyncio.create_task(_ask_clock(lines, clock), name=f"clock of {host}")
        try:
            await _take(host, reading, lines, seen, clock, max(QUIET, 3 * period))
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)
    said = plain(" ".join(lines.stderr.decode("utf-8", "backslashreplace").split()), 200)
    if reading.hello is None:
        raise NoAgent(f"{plain(host)} does not run our probe: {said or f'it ended with {lines.exit_status}'}")
    raise LinkLost(f"the probe on {plain(host)} ended{f': {said}' if said else ''}")


async def _take(
    host: str,
    reading: AgentReading,
    lines: RemoteLines,
    seen: Callable[[AgentReading, str], None],
    clock: Callable[[], float],
    quiet: float,
) -> None:
    noise = 0
    loop = asyncio.get_running_loop()
    put_off = loop.time()
    try:
        async with asyncio.timeout(HELLO_LIMIT) as limit:
            async for line in lines:
                what = reading.take(line, clock())
                if what == "broken":
                    raise LinkLost(f"the probe on {plain(host)} says what it cannot have said")
                if what == "noise":
                    noise += 1
                    if reading.hello is None and noise > NOISE_LIMIT:
                        raise NoAgent(f"{plain(host)} does not run our probe: it says {plain(line, 100)}")
                    continue
                if loop.time() - put_off > 1.0 or what == "hello":  # a timer for each line of hundreds of hosts costs
                    put_off = loop.time()
                    limit.reschedule(put_off + quiet)
                seen(reading, what)
    except TimeoutError as error:
        if reading.hello is None:
            raise NoAgent(f"{plain(host)} does not run our probe: it says nothing") from error
        raise LinkLost(f"the probe on {plain(host)} says nothing any more") from error


async def _ask_clock(lines: RemoteLines, clock: Callable[[], float]) -> None:
    """A few questions at once, since the first ones meet a host that is still busy starting us; then seldom."""
    for wait in (1.0, 0.5, 0.5):
        await asyncio.sleep(wait)
        lines.write(f"{clock():.6f}\n".encode())
    while True:
        await asyncio.sleep(CLOCK_EVERY)
        lines.write(f"{clock():.6f}\n".encode())
