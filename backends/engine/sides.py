"""Health of a side: alive, dead or unknown, by its own data plane (cutover.md, section 3).

The plan's `probe.legacy` and `probe.target` are asked once a period; a side without one is judged by its SSH hosts, which proves
less and says so. One odd answer is no death: three in a row are. Silence of our own link is never death.
A proof grows older by the boot clock: while the machine sleeps too.
"""

from __future__ import annotations

import asyncio

from backends.cutover.world import HEALTH_AGE, SideHealth
from backends.engine.clock import boot_clock
from backends.errors import CutoverError
from backends.plan.models import Plan
from backends.probes.endpoint import probe_url
from backends.ssh.pool import SshPool
from backends.traffic.base import Route, RouteHealth
from backends.vocabulary import Health, SideName

PERIOD = 1.0
HOST_PACE = 0.12  # seconds for each host between two rounds by SSH: a command a second on each of hundreds is a third of the engine's work
STRIKES = 3  # wrong answers or refusals in a row that make a side dead
DEAD_KINDS = ("wrong", "refused")


class SideWatch:
    """One side. `run` asks for ever; `look_now` asks at once."""

    def __init__(self, side: SideName, plan: Plan, ssh: SshPool) -> None:
        self.side = side
        self._urls = tuple(dict.fromkeys(_probes(plan, side)))
        self._hosts = tuple(h.name for h in plan.side(side).hosts)
        self._ssh = ssh
        self._alive_at: float | None = None
        self._strikes = 0
        self._reason = "not looked at yet"
        self.routes: tuple[Route, ...] = ()  # whose authority may know of the side by its own checks

    def health(self) -> SideHealth:
        """What is known now."""
        age = boot_clock() - self._alive_at if self._alive_at is not None else None
        if self._strikes >= STRIKES:
            return SideHealth(Health.DEAD, age, self._reason)
        if age is None or age > HEALTH_AGE:
            return SideHealth(Health.UNKNOWN, age, self._reason)
        return SideHealth(Health.ALIVE, age, self._reason)

    async def run(self) -> None:
        """Ask once a period, until cancelled."""
        while True:
            hosts = await self._ask()
            await asyncio.sleep(max(PERIOD, min(HEALTH_AGE / 4, HOST_PACE * hosts)))

    async def look_now(self) -> SideHealth:
        """Ask until the answer is sure: at once when it is alive, after a few strikes when not."""
        for _ in range(STRIKES):
            started = boot_clock()
            await self._ask()
            seen = self.health()
            if seen.health is Health.DEAD or (self._alive_at is not None and self._alive_at >= started):
                return seen
            await asyncio.sleep(0.2)
        seen = self.health()
        # Asked just now and not answered: an older proof is not good enough for sending clients there.
        return seen if seen.health is Health.DEAD else SideHealth(Health.UNKNOWN, seen.age, self._reason)

    async def _ask(self) -> int:
        """A round; returns how many hosts were asked by SSH."""
        told = await self._ask_routes()
        if told is not None and not told.is_alive:
            self._strikes, self._reason = self._strikes + 1, told.detail
        elif told is not None and not self._urls:
            self._alive_at, self._strikes, self._reason = boot_clock(), 0, told.detail
        elif self._urls:
            await self._ask_urls()
        elif self._hosts:
            await self._ask_hosts()
            return len(self._hosts)
        else:
            self._reason = f"the plan gives no probe of {self.side}: routes[].probe.{self.side}"
        return 0

    async def _ask_routes(self) -> RouteHealth | None:
        """What the routes' authorities know: dead where one says so. One that cannot be asked says nothing of a side."""
        found = None
        for route in self.routes:
            try:
                health = await route.health(self.side)
            except CutoverError as error:
                if not self._urls:
                    self._reason = error.message
                continue
            if health is not None and (found is None or not health.is_alive):
                found = health
        return found

    async def _ask_urls(self) -> None:
        answers = await asyncio.gather(*(probe_url(url, timeout) for url, timeout in self._urls))
        bad = [a for a in answers if a.kind != "ok"]
        if not bad:
            self._alive_at, self._strikes, self._reason = boot_clock(), 0, "its probe answers"
            return
        worst = next((a for a in bad if a.kind in DEAD_KINDS), bad[0])
        self._strikes = self._strikes + 1 if worst.kind in DEAD_KINDS else 0
        self._reason = worst.error or f"its probe says {worst.status}"

    async def _ask_hosts(self) -> None:
        for host in self._hosts:
            try:
                await self._ssh.run(host, ["true"], timeout=5)
            except CutoverError as error:
                self._reason = error.message
                return
        self._alive_at, self._strikes = boot_clock(), 0
        self._reason = "its hosts answer (the plan gives no probe of its data plane)"


def _probes(plan: Plan, side: SideName) -> list[tuple[str, float]]:
    out = []
    for route in plan.routes:
        url = getattr(route.probe, side) if route.probe is not None else None
        if url:
            out.append((url, route.probe.timeout if route.probe is not None else 2.0))
    return out
