"""The GPUs of all hosts and the hosts themselves, live, each over the one shared connection.

The best source a host has, found by looking and falling back by itself: our agent (`backends.probes.agent_link`), which reads NVML
and the machine; where it cannot run or reads no GPU, what `backends.probes.other_sources` finds. All end when their channel does.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping, Sequence

from backends.errors import CutoverError
from backends.probes.agent_link import NoAgent, follow_agent
from backends.probes.hosts import LOCAL
from backends.probes.other_sources import RETRY_FIRST, OtherSources, pause
from backends.probes.reading import AgentReading
from backends.probes.watch import HostWatch
from backends.snapshot import HostView
from backends.ssh.models import SshHost
from backends.ssh.pool import SshPool
from backends.vocabulary import SideName

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
    """Follows every host while `run` runs; `views` is what is known now. `paths`: whose disks are watched, `dcgm`: the URL of a
    dcgm-exporter, both by host."""

    def __init__(
        self,
        pool: SshPool,
        hosts: Sequence[tuple[SideName, SshHost]],
        *,
        period: float = 1.0,
        paths: Mapping[str, Sequence[str]] | None = None,
        dcgm: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._pool = pool
        self._period = period
        self._paths = paths or {}
        self._dcgm = dcgm or {}
        self._clock = clock
        self._watches = [HostWatch(side, host, period) for side, host in hosts]

    async def run(self) -> None:
        """Follow all hosts until cancelled; no host's trouble is another's."""
        async with asyncio.TaskGroup() as group:
            for watch in self._watches:
                if watch.host.address == LOCAL:
                    from backends.probes.local import LocalSource  # pynvml: for who needs it

                    local = LocalSource(watch, self._period, paths=self._paths.get(watch.host.name, ("/",)), clock=self._clock)
                    group.create_task(local.run(), name="this machine")
                    continue
                host = _Followed(watch)
                group.create_task(self._follow_agent(host), name=f"agent on {host.name}")
                group.create_task(self._follow_others(host), name=f"GPUs of {host.name}")

    @property
    def is_large(self) -> bool:
        """Are there so many GPUs that a snapshot carries each host's together?"""
        return sum(watch.gpu_count for watch in self._watches) > MANY_GPUS

    def views(self, now: float) -> tuple[HostView, ...]:
        """Every host, in the order given; `now` is unix seconds. Of a large fleet without what only a host's own view shows."""
        brief = self.is_large
        return tuple(watch.view(now, brief=brief) for watch in self._watches)

    def view(self, name: str, now: float) -> HostView | None:
        """One host with all that is known of it; None where there is no host of that name."""
        return next((watch.view(now, whole=True) for watch in self._watches if watch.host.name == name), None)

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
                if host.name in self._dcgm:
                    host.choose(False)
            wait = await pause(wait, self._clock() - began)

    async def _follow_others(self, host: _Followed) -> None:
        """While the agent reads no GPU."""
        sources = OtherSources(self._pool, host.watch, self._period, dcgm=self._dcgm.get(host.name), clock=self._clock)
        while True:
            await host.fallback.wait()
            loop = asyncio.create_task(sources.run(), name=f"other sources of {host.name}")
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
