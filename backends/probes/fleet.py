"""The GPUs of all hosts and the hosts themselves, live, each over the one shared connection.

The best source a host has, found by looking and falling back by itself: our agent (`backends.probes.agent_link`), which reads NVML
and the machine; where it cannot run or reads no GPU, one long-lived `nvidia-smi` loop. Never a call a tick: with persistence mode off
each call initialises the GPU (measured: 1.5 s at 75 W), and `-q -x` takes seconds on hosts of eight. Both end when their channel does.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence

from backends.errors import CutoverError
from backends.escape import plain
from backends.probes.agent_link import NoAgent, follow_agent
from backends.probes.gpus import FIELDS, parse_heading, parse_row, query_argv, read_trouble, unknown_field
from backends.probes.reading import AgentReading
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
NO_AGENT_AGAIN = 300.0
MANY_GPUS = 64  # above it a snapshot carries no history of each


class _Followed:
    """A host, and whether another source than the agent has to tell of its GPUs."""

    def __init__(self, watch: HostWatch) -> None:
        self.watch = watch
        self.name = watch.host.name
        self.fallback = asyncio.Event()
        self.agent_reads = asyncio.Event()

    def choose(self, agent_reads: bool) -> None:
        if agent_reads:
            self.agent_reads.set()
            self.fallback.clear()
        else:
            self.fallback.set()
            self.agent_reads.clear()


class GpuFleet:
    """Follows every host while `run` runs; `views` is what is known now. `paths`: whose disks are watched, by host."""

    def __init__(
        self,
        pool: SshPool,
        hosts: Sequence[tuple[SideName, SshHost]],
        *,
        period: float = 1.0,
        paths: Mapping[str, Sequence[str]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._period = period
        self._paths = paths or {}
        self._clock = clock
        self._watches = [HostWatch(side, host, period) for side, host in hosts]

    async def run(self) -> None:
        """Follow all hosts until cancelled; no host's trouble is another's."""
        async with asyncio.TaskGroup() as group:
            for watch in self._watches:
                host = _Followed(watch)
                group.create_task(self._follow_agent(host), name=f"agent on {host.name}")
                group.create_task(self._follow_smi(host), name=f"nvidia-smi on {host.name}")

    def views(self, now: float) -> tuple[HostView, ...]:
        """Every host, in the order given; `now` is unix seconds. Of a large fleet without what only a host's own view shows."""
        brief = sum(watch.gpu_count for watch in self._watches) > MANY_GPUS
        return tuple(watch.view(now, brief=brief) for watch in self._watches)

    def view(self, name: str, now: float) -> HostView | None:
        """One host with all that is known of it; None where there is no host of that name."""
        return next((watch.view(now) for watch in self._watches if watch.host.name == name), None)

    async def _follow_agent(self, host: _Followed) -> None:
        def seen(reading: AgentReading, what: str) -> None:
            host.watch.saw_agent(reading, self._clock())
            if what == "hello" and reading.hello is not None:
                host.choose(reading.hello.error is None)

        wait = RETRY_FIRST
        while True:
            began = self._clock()
            try:
                paths = self._paths.get(host.name, ("/",))
                await follow_agent(self._pool, host.name, period=self._period, paths=paths, seen=seen, clock=self._clock)
            except NoAgent as error:
                host.watch.saw_no_agent(error)
                host.choose(False)
                await asyncio.sleep(NO_AGENT_AGAIN * random.uniform(0.5, 1.0))
                continue
            except CutoverError as error:
                host.watch.saw_error(error)
            wait = await self._pause(wait, began)

    async def _pause(self, wait: float, began: float) -> float:
        """What held for a while is tried again at once; what fails at once is tried ever less often. Jitter, so that the hosts behind
        one dead bastion do not all come at the same instant."""
        wait = RETRY_FIRST if self._clock() - began > 2 * RETRY_MOST else min(RETRY_MOST, wait * 2)
        await asyncio.sleep(wait * random.uniform(0.5, 1.0))
        return wait

    async def _follow_smi(self, host: _Followed) -> None:
        """While the agent reads no GPU."""
        while True:
            await host.fallback.wait()
            loop = asyncio.create_task(self._smi_rounds(host.watch), name=f"nvidia-smi rounds on {host.name}")
            done = asyncio.create_task(host.agent_reads.wait(), name=f"agent reads on {host.name}")
            try:
                await asyncio.wait([loop, done], return_when=asyncio.FIRST_COMPLETED)
            finally:
                loop.cancel()
                done.cancel()
                ended = await asyncio.gather(loop, done, return_exceptions=True)
            fault = next((e for e in ended if isinstance(e, Exception)), None)
            if fault is not None:
                raise fault

    async def _smi_rounds(self, watch: HostWatch) -> None:
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
            wait = await self._pause(wait, began)

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
