"""The GPUs of all hosts, live: one long-lived `nvidia-smi` loop a host over the shared connection.

Never a call a tick: with persistence mode off each call initialises the GPU (measured: 1.5 s at 75 W), and `-q -x` takes seconds
on hosts of eight. Slow facts (the CUDA version stands in the table only) are asked for once a connection and then rarely. The remote
loop ends when its channel does: it writes every second, and the pipe is closed.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence

from backends.errors import CutoverError
from backends.escape import plain
from backends.probes.gpus import FIELDS, parse_heading, parse_row, query_argv, read_trouble, unknown_field
from backends.probes.watch import SILENT, HostWatch
from backends.snapshot import HostView
from backends.ssh.errors import LinkLost
from backends.ssh.models import SshHost
from backends.ssh.pool import SshPool
from backends.ssh.session import RemoteLines
from backends.vocabulary import SideName

LINE_LIMIT = 4096
KEPT_WORDS = 2000
FACTS_EVERY = 3600.0
FACTS_TIMEOUT = 30.0
RETRY_FIRST, RETRY_MOST = 0.5, 15.0


class GpuFleet:
    """Follows the GPUs of every host while `run` runs; `views` is what is known now."""

    def __init__(
        self,
        pool: SshPool,
        hosts: Sequence[tuple[SideName, SshHost]],
        *,
        period: float = 1.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._period = period
        self._clock = clock
        self._watches = [HostWatch(side, host, period) for side, host in hosts]

    async def run(self) -> None:
        """Follow all hosts until cancelled; no host's trouble is another's."""
        async with asyncio.TaskGroup() as group:
            for watch in self._watches:
                group.create_task(self._follow(watch), name=f"gpus of {watch.host.name}")

    def views(self, now: float) -> tuple[HostView, ...]:
        """Every host, in the order given; `now` is unix seconds."""
        return tuple(watch.view(now) for watch in self._watches)

    async def _follow(self, watch: HostWatch) -> None:
        wait = RETRY_FIRST
        fields: tuple[str, ...] = FIELDS
        while True:
            began = self._clock()
            try:
                words, status = await self._listen(watch, fields)
            except CutoverError as error:
                watch.saw_error(error)
            else:
                unknown = unknown_field(words)
                if unknown in fields and unknown not in ("index", "uuid"):
                    fields = tuple(field for field in fields if field != unknown)
                    continue
                watch.saw_trouble(read_trouble(words, status), self._clock())
            # What held for a while is tried again at once; what fails at once is tried ever less often. Jitter, so that
            # the hosts behind one dead bastion do not all come at the same instant.
            wait = RETRY_FIRST if self._clock() - began > 2 * RETRY_MOST else min(RETRY_MOST, wait * 2)
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))

    async def _listen(self, watch: HostWatch, fields: tuple[str, ...]) -> tuple[str, int]:
        """Take in rows until the loop ends; returns what else it said, and its status."""
        words: list[str] = []
        argv = query_argv(fields, every=self._period)
        async with self._pool.stream(watch.host.name, argv, limit=LINE_LIMIT) as lines:
            facts = asyncio.create_task(self._ask_facts(watch), name=f"gpu facts of {watch.host.name}")
            try:
                await self._take_rows(watch, lines, fields, words)
            finally:
                facts.cancel()
                await asyncio.gather(facts, return_exceptions=True)
        said = "\n".join([*words, lines.stderr.decode("utf-8", "backslashreplace")])
        return said, lines.exit_status if lines.exit_status is not None else 0

    async def _take_rows(self, watch: HostWatch, lines: RemoteLines, fields: tuple[str, ...], words: list[str]) -> None:
        rows = aiter(lines)
        while True:
            try:
                async with asyncio.timeout(SILENT * max(1.0, self._period)):
                    line = await anext(rows)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise LinkLost(f"{plain(watch.host.name)}: nvidia-smi says nothing any more") from error
            sample = parse_row(line, fields)
            if sample is not None:
                watch.saw_sample(sample, self._clock())
            elif line.strip() and sum(map(len, words)) < KEPT_WORDS:
                words.append(line)

    async def _ask_facts(self, watch: HostWatch) -> None:
        while True:
            try:
                result = await self._pool.run(watch.host.name, ["nvidia-smi"], timeout=FACTS_TIMEOUT)
            except CutoverError:
                return  # the rows tell what is wrong; the versions are asked for again on the next connection
            watch.saw_heading(parse_heading(result.stdout.decode("utf-8", "backslashreplace")))
            await asyncio.sleep(FACTS_EVERY)
