"""Measuring what preflight asks (`backends.cutover.preflight`): from staging on by itself, and once more, all of it, before arming.

Cheap items are looked at often; trying the way back and the credentials costs connections and is done every ten minutes. While a rollback is
under way nothing is tried: it has better use for the links.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from backends.cutover.preflight import Proof, measured_items
from backends.engine.credentials import NOBODY_SAYS, Tried, try_without_login, words
from backends.engine.desk import Desk
from backends.engine.login import judge_login, login_facts
from backends.errors import CutoverError
from backends.escape import plain
from backends.vocabulary import Phase, State

OFTEN = 30.0
SELDOM = 600.0
SKEW = 0.5  # seconds that a host's clock may differ from ours
CLOCK_LIMIT = 5.0
ROUTE_LIMIT = 15.0
REVERSE_LIMIT = 60.0
FREE_BYTES = 256 << 20  # for the journal, the index and their logs
FREE_FILES = 1000
IDLE = 1.0
WATCHED = (State.ARMED, State.SHIFTING, State.SOAKING, State.DUAL, State.COMMITTED, State.RETIRING, State.ROLLBACK_BLOCKED)
Measure = Callable[[], Awaitable[dict[str, Proof]]]


class Preflight:
    """Keeps `world.proofs` true."""

    def __init__(self, engine: Desk, state: Path) -> None:
        self._engine = engine
        self._state = state
        self._turn = asyncio.Lock()
        names = set(measured_items(engine.plan))
        self._often = tuple(self._wanted(names, {"disk": self._disk, "login": self._login, "clocks": self._clocks}))
        self._often += tuple(self._wanted(names, {"capacity": self._capacity}))
        self._often += tuple((f"route:{r.name}", self._route_of(r.name)) for r in engine.plan.routes)
        self._seldom = tuple((f"reverse:{d.name}", self._reverse_of(d.name)) for d in engine.plan.datasets if d.reverse)
        self._seldom += (("credentials", self._credentials),)

    def _wanted(self, names: set[str], ways: dict[str, Measure]) -> Iterator[tuple[str, Measure]]:
        yield from ((name, way) for name, way in ways.items() if name in names)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        often_at = seldom_at = float("-inf")
        while True:
            now = time.monotonic()
            if self._is_due():
                if now - often_at >= OFTEN:
                    often_at = now
                    await self._measure(self._often)
                if now - seldom_at >= SELDOM:
                    seldom_at = now
                    await self._measure(self._seldom)
            await asyncio.sleep(IDLE)

    def _is_due(self) -> bool:
        m = self._engine.migration
        staging = m.state is State.PREPARING and m.phase is Phase.STAGING
        return (staging or m.state in WATCHED) and not self._engine.recovering and not self._engine.is_going_back

    async def prove(self) -> None:
        """All of it, now: before arming."""
        await self._measure((*self._often, *self._seldom))

    async def _measure(self, ways: tuple[tuple[str, Measure], ...]) -> None:
        async with self._turn:
            for found in await asyncio.gather(*(self._guarded(name, way) for name, way in ways)):
                self._engine.world.proofs.update(found)
        self._engine.touch()

    async def _guarded(self, name: str, way: Measure) -> dict[str, Proof]:
        """A measurement that fails proves nothing, and says why."""
        try:
            return await way()
        except (CutoverError, OSError, TimeoutError) as error:
            text = plain(str(error), 300) or "no answer in time"
            at = self._engine.observed_now()
            names = [n for n in measured_items(self._engine.plan) if n == "hosts" or n.startswith("store:")]
            return {n: Proof(None, f"could not be tried: {text}", at=at) for n in (names if name == "credentials" else [name])}

    def _proof(self, good: bool | None, evidence: str, cure: str = "", *, needed: bool = True) -> Proof:
        return Proof(good, evidence, cure, self._engine.observed_now(), needed)

    async def _disk(self) -> dict[str, Proof]:
        found = await asyncio.to_thread(os.statvfs, self._state)
        free, files = found.f_bavail * found.f_frsize, found.f_favail
        good = free >= FREE_BYTES and (files >= FREE_FILES or found.f_files == 0)
        evidence = f"{free / 2**20:,.0f} MiB free for the journal ({FREE_BYTES >> 20} MiB wanted)"
        if found.f_files and files < FREE_FILES:
            evidence += f", {files} more files ({FREE_FILES} wanted)"
        return {"disk": self._proof(good, evidence, f"make room on the disk of {self._state}")}

    async def _login(self) -> dict[str, Proof]:
        good, evidence, cure = judge_login(await login_facts(self._engine.world.children))
        return {"login": self._proof(good, evidence, cure)}

    async def _clocks(self) -> dict[str, Proof]:
        """Clocks of the hosts against ours, as exactly as the round trip allows."""
        names = [h.name for side in (self._engine.plan.legacy, self._engine.plan.target) for h in side.hosts]
        seen = dict(zip(names, await asyncio.gather(*(self._skew(name) for name in names)), strict=True))
        off = {n: s for n, s in seen.items() if s is not None and abs(s[0]) - s[1] > SKEW}
        silent = [n for n, s in seen.items() if s is None]
        worst = max((abs(s[0]) for s in seen.values() if s is not None), default=None)
        cure = "set the clock (chrony, systemd-timesyncd)"
        if off:
            told = ", ".join(f"{n} {skew:+.1f} s" for n, (skew, _) in off.items())
            return {"clocks": self._proof(False, f"off by more than {SKEW} s: {told}", cure)}
        if worst is None:
            return {"clocks": self._proof(None, "no host tells its time", cure, needed=False)}
        told = f"{len(seen) - len(silent)} hosts within {max(worst, 0.01):.2f} s of ours"
        return {"clocks": self._proof(True, told + (f"; {', '.join(silent)} do not tell" if silent else ""))}

    async def _skew(self, host: str) -> tuple[float, float] | None:
        """A host's clock against ours and what that may be wrong by, seconds; None where it does not tell."""
        try:
            # The first brings up the connection; only the second is measured.
            await self._engine.world.ssh.run(host, ["true"], timeout=CLOCK_LIMIT)
            before = time.time()
            result = await self._engine.world.ssh.run(host, ["date", "+%s.%N"], timeout=CLOCK_LIMIT)
            after = time.time()
            there = float(result.stdout.decode("ascii", "replace").strip())
        except (CutoverError, ValueError):
            return None
        return there - (before + after) / 2, (after - before) / 2

    async def _capacity(self) -> dict[str, Proof]:
        spec = self._engine.plan.capacity
        assert spec is not None
        world, cure = self._engine.world, "give legacy back what it needs to carry all of it"
        if spec.on == "engine":
            child = await world.children.run(spec.command, cwd=self._engine.base, timeout=spec.timeout)
            said = plain((child.stdout.strip() or child.stderr.strip())[:200])
            return {"capacity": self._proof(child.exit_status == 0, _told(spec.command[0], child.exit_status, said), cure)}
        hosts = [h.name for h in self._engine.plan.legacy.hosts]
        results = await asyncio.gather(*(world.ssh.run(h, spec.command, timeout=spec.timeout) for h in hosts))
        bad = {h: r for h, r in zip(hosts, results, strict=True) if r.exit_status != 0}
        if bad:
            told = "; ".join(f"{h}: {_told(spec.command[0], r.exit_status, plain(r.stdout[:100]))}" for h, r in bad.items())
            return {"capacity": self._proof(False, told, cure)}
        return {"capacity": self._proof(bool(hosts) or None, f"`{plain(spec.command[0])}` says so on {len(hosts)} hosts", cure)}

    def _route_of(self, name: str) -> Measure:
        async def look() -> dict[str, Proof]:
            async with asyncio.timeout(ROUTE_LIMIT):
                route = self._engine.world.routes[name]
                seen, found = await route.read(), await route.preflight()
            bad = [f for f in found if f.good is False]
            told = bad or [f for f in found if f.good is None]  # what could not be told is told, and keeps nobody from arming
            words = "; ".join((f"its authority says {seen.weight} % on target", *(f.text for f in told)))
            return {f"route:{name}": self._proof(not bad, words, "; ".join(dict.fromkeys(f.cure for f in told if f.cure)))}

        return look

    def _reverse_of(self, name: str) -> Measure:
        async def look() -> dict[str, Proof]:
            async with asyncio.timeout(REVERSE_LIMIT):
                told = await self._engine.world.session.try_reverse(name)
            return {f"reverse:{name}": self._proof(True, told)}

        return look

    async def _credentials(self) -> dict[str, Proof]:
        m = self._engine.migration
        trial = await try_without_login(m.plan_text, Path(m.plan_path), self._state)
        out: dict[str, Proof] = {}
        if trial.hosts:
            bad = {n: t.error for n, t in trial.hosts.items() if t.error}
            cure = "a key file in the ssh_config (IdentityFile) that needs no agent"
            told = "; ".join(f"{n}: {e}" for n, e in bad.items())
            good = f"{len(trial.hosts)} hosts answer without the login's agent"
            out["hosts"] = self._proof(not bad, words(told) if bad else good, cure)
        for name, tried in trial.stores.items():
            out[f"store:{name}"] = self._store(tried)
        return out

    def _store(self, tried: Tried) -> Proof:
        cure = "keys in the plan (as ${file:…}), or a profile, that outlive the login and the window"
        if tried.error:
            return self._proof(False, words(tried.error), cure)
        if tried.ends == NOBODY_SAYS:
            return self._proof(None, "lists without the login; its session token ends, and nobody says when", cure)
        if tried.ends is None:
            return self._proof(True, "lists without the login's variables")
        left, window = tried.ends - time.time(), self._window_left()
        evidence = f"its token ends in {left / 3600:.1f} h, the windows in {window / 3600:.1f} h"
        return self._proof(left > window, evidence, cure)

    def _window_left(self) -> float:
        """Seconds from now to the end of the retire window, at the earliest."""
        m, windows = self._engine.migration, self._engine.plan.windows
        total = windows.retire if m.state is State.RETIRING else windows.dual + windows.retire
        since = m.window_from if m.state in (State.DUAL, State.RETIRING) else None
        return total if since is None else max(0.0, total - (self._engine.observed_now() - since))


def _told(program: str, status: int, said: str) -> str:
    shown = plain(program, 80)
    return f"`{shown}` ended with {status}" + (f": {said}" if said else "")
