"""The GPUs of some hosts and the hosts themselves, asked once: `cutover probe`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence

from backends.errors import CutoverError
from backends.probes.agent_link import NoAgent, follow_agent
from backends.probes.gpus import FIELDS, GpuSample, Trouble, parse_heading, parse_row, query_argv, read_trouble, unknown_field
from backends.probes.hosts import LOCAL
from backends.probes.reading import AgentReading
from backends.probes.watch import HostWatch
from backends.snapshot import HostView
from backends.ssh.models import SshHost
from backends.ssh.pool import SshPool
from backends.vocabulary import SideName

TIMEOUT = 30.0
PERIOD = 1.0
AGENT_PERIOD = 0.5
AGENT_LIMIT = 20.0
SAMPLES = 3  # rates need two; by the third the clock has been asked


class _Enough(Exception):
    """The agent has said what one look needs."""


async def probe_hosts(
    pool: SshPool, hosts: Sequence[tuple[SideName, SshHost]], paths: Mapping[str, Sequence[str]] | None = None
) -> tuple[HostView, ...]:
    """Every host as it is now, in the order given, all asked at once. A host's trouble is in its `error`; never raises for it."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_probe(pool, side, host, (paths or {}).get(host.name, ("/",)))) for side, host in hosts]
    return tuple(task.result() for task in tasks)


async def _probe(pool: SshPool, side: SideName, host: SshHost, paths: Sequence[str]) -> HostView:
    watch = HostWatch(side, host, PERIOD)
    if host.address == LOCAL:
        await _ask_here(watch, paths)
        return watch.view(time.time())
    try:
        if not await _ask_agent(pool, watch, paths):
            await _ask_smi(pool, watch)
    except CutoverError as error:
        watch.saw_error(error)
    return watch.view(time.time())


async def _ask_here(watch: HostWatch, paths: Sequence[str]) -> None:
    """Two looks at this machine: rates need them."""
    from backends.probes.local import LocalSource  # pynvml: for who needs it

    running = asyncio.create_task(LocalSource(watch, AGENT_PERIOD, paths=paths).run(), name="this machine")
    try:
        await asyncio.wait([running], timeout=2.5 * AGENT_PERIOD)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _ask_agent(pool: SshPool, watch: HostWatch, paths: Sequence[str]) -> bool:
    """Did the agent read GPUs? The machine is then known too, and where it only lacks NVML."""
    samples = 0

    def seen(reading: AgentReading, what: str) -> None:
        nonlocal samples
        watch.saw_agent(reading, time.time())
        samples += what == "sample"
        if samples >= SAMPLES and (reading.clock is not None or samples > 3 * SAMPLES):
            raise _Enough

    try:
        async with asyncio.timeout(AGENT_LIMIT):
            await follow_agent(pool, watch.host.name, period=AGENT_PERIOD, paths=paths, seen=seen)
    except _Enough:
        return watch.reads_by_agent
    except NoAgent as error:
        watch.saw_no_agent(error)
    except TimeoutError:
        return watch.reads_by_agent
    return False


async def _ask_smi(pool: SshPool, watch: HostWatch) -> None:
    samples, trouble = await _ask(pool, watch.host.name)
    now = time.time()
    for sample in samples:
        watch.saw_sample(sample, now)
    if trouble is not None:
        watch.saw_trouble(trouble, now)
    else:
        result = await pool.run(watch.host.name, ["nvidia-smi"], timeout=TIMEOUT)
        watch.saw_heading(parse_heading(result.stdout.decode("utf-8", "backslashreplace")))


async def _ask(pool: SshPool, host: str) -> tuple[list[GpuSample], Trouble | None]:
    """The rows; and what is wrong, where it failed or gave no row."""
    fields: tuple[str, ...] = FIELDS
    while True:
        result = await pool.run(host, query_argv(fields), timeout=TIMEOUT)
        text = (result.stdout + b"\n" + result.stderr).decode("utf-8", "backslashreplace")
        unknown = unknown_field(text)
        if unknown not in fields or unknown in ("index", "uuid"):
            break
        fields = tuple(field for field in fields if field != unknown)
    samples = [sample for line in text.splitlines() if (sample := parse_row(line, fields))]
    words = "\n".join(line for line in text.splitlines() if parse_row(line, fields) is None)
    if result.exit_status != 0 or not samples:
        return samples, read_trouble(words, result.exit_status)
    return samples, None
