"""The GPUs of some hosts, asked once: `cutover probe`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from backends.errors import CutoverError
from backends.probes.gpus import FIELDS, GpuSample, Trouble, parse_heading, parse_row, query_argv, read_trouble, unknown_field
from backends.probes.watch import HostWatch
from backends.snapshot import HostView
from backends.ssh.models import SshHost
from backends.ssh.pool import SshPool
from backends.vocabulary import SideName

TIMEOUT = 30.0
PERIOD = 1.0


async def probe_hosts(pool: SshPool, hosts: Sequence[tuple[SideName, SshHost]]) -> tuple[HostView, ...]:
    """Every host as it is now, in the order given, all asked at once. A host's trouble is in its `error`; never raises for it."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_probe(pool, side, host)) for side, host in hosts]
    return tuple(task.result() for task in tasks)


async def _probe(pool: SshPool, side: SideName, host: SshHost) -> HostView:
    watch = HostWatch(side, host, PERIOD)
    try:
        samples, trouble = await _ask(pool, host.name)
        now = time.time()
        for sample in samples:
            watch.saw_sample(sample, now)
        if trouble is not None:
            watch.saw_trouble(trouble, now)
        else:
            result = await pool.run(host.name, ["nvidia-smi"], timeout=TIMEOUT)
            watch.saw_heading(parse_heading(result.stdout.decode("utf-8", "backslashreplace")))
    except CutoverError as error:
        watch.saw_error(error)
    return watch.view(time.time())


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
