"""What clients are told of a record, asked one by one: every authority of its zone, and the resolvers that the plan names.

Authorities are the plan's server and every name server of the zone whose address can be found from there (or those that the plan
names). One that does not answer gives nobody an old answer: it is told, and does not count.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

from backends.plan.records import Record
from backends.traffic.base import Clients, LongAnswer
from backends.traffic.nameserver import NameServer, NameServerError, RecordSet
from backends.traffic.seen_sides import ASKED_PARTIAL, ASKED_WHOLE, judge_sides

REFRESH = 60.0  # seconds after which the zone's name servers are looked up again
LIMIT = 9.0  # seconds that asking one of them may take
MOST = 32  # name servers of a zone that are asked
MARGIN = 5.0  # seconds that a resolver may be late with what ends
REMEMBERED = 64


@dataclass(frozen=True, slots=True)
class Told:
    """What one server said: `answer` is None where it did not answer, `error` says how. `serial` is an authority's."""

    server: str
    is_authority: bool
    answer: RecordSet | None = None
    serial: int | None = None
    error: str = ""


class Answerers:
    """Authorities and resolvers of one record."""

    def __init__(
        self,
        record: Record,
        server: NameServer | None,
        authorities: Sequence[str] | None,
        resolvers: Sequence[str],
        *,
        has_serial: bool = True,
    ) -> None:
        self._has_serial = has_serial
        self._record = record
        self._server = server
        self._named = tuple(NameServer.at(a) for a in authorities) if authorities is not None else None
        self._resolvers = tuple(NameServer.at(r) for r in resolvers)
        self._found: tuple[NameServer, ...] = ()
        self._lost: tuple[str, ...] = ()
        self._looked_at: float | None = None

    async def authorities(self) -> tuple[tuple[NameServer, ...], tuple[str, ...]]:
        """The authorities, and the names of those whose address is not to be found. Those of before where the server does not tell now;
        raises `NameServerError` where it never told."""
        first = (self._server,) if self._server is not None else ()
        if self._named is not None:
            return _distinct((*first, *self._named)), ()
        if self._server is not None and (self._looked_at is None or time.monotonic() - self._looked_at > REFRESH):
            try:
                self._found, self._lost = await self._look_up(self._server)
            except NameServerError:
                if self._looked_at is None:
                    raise
            else:
                self._looked_at = time.monotonic()
        return _distinct((*first, *self._found)), self._lost

    async def ask(self) -> tuple[Told, ...]:
        """Everybody, at once."""
        async with asyncio.TaskGroup() as group:
            authorities = group.create_task(self.ask_authorities())
            tasks = [group.create_task(self._ask_resolver(s)) for s in self._resolvers]
        return (*authorities.result(), *(t.result() for t in tasks))

    async def ask_authorities(self) -> tuple[Told, ...]:
        """The authorities alone; where they are not known, what their server said instead."""
        try:
            authorities, lost = await self.authorities()
        except NameServerError as error:
            return (Told(self._server.shown if self._server is not None else "", True, error=error.message),)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._ask_authority(s)) for s in authorities]
        return (*(t.result() for t in tasks), *(Told(name, True, error="its address is not to be found") for name in lost))

    async def _ask_authority(self, server: NameServer) -> Told:
        try:
            async with asyncio.timeout(LIMIT):
                answer = await server.record(self._record.name, self._record.type)
                serial = await server.serial(self._record.zone) if self._has_serial else None
        except NameServerError as error:
            return Told(server.shown, True, error=error.message)
        except TimeoutError:
            return Told(server.shown, True, error=f"{server.shown} does not answer")
        return Told(server.shown, True, answer, serial)

    async def _ask_resolver(self, server: NameServer) -> Told:
        try:
            async with asyncio.timeout(LIMIT):
                answer = await server.record(self._record.name, self._record.type, recursive=True)
        except NameServerError as error:
            return Told(server.shown, False, error=error.message)
        except TimeoutError:
            return Told(server.shown, False, error=f"{server.shown} does not answer")
        return Told(server.shown, False, answer)

    async def _look_up(self, server: NameServer) -> tuple[tuple[NameServer, ...], tuple[str, ...]]:
        """The zone's name servers as `server` knows them, at the port that it has itself."""
        names = (await server.record(self._record.zone, "NS")).values[:MOST]

        async def look(name: str) -> list[NameServer]:
            out = []
            for kind in ("A", "AAAA"):
                try:
                    out += [NameServer(a, server.port) for a in (await server.record(name, kind, recursive=True)).values]
                except NameServerError:
                    continue
            return out

        async with asyncio.TaskGroup() as group:
            tasks = {name: group.create_task(look(name)) for name in names}
        found = [s for task in tasks.values() for s in task.result()]
        return tuple(found), tuple(name for name, task in tasks.items() if not task.result())


def _distinct(servers: Sequence[NameServer]) -> tuple[NameServer, ...]:
    return tuple({(s.host, s.port): s for s in servers}.values())


def target_share(record: Record, values: Sequence[str]) -> float:
    """The share of an answer's addresses that are target's."""
    return sum(v in record.target for v in values) / len(values) if values else 0.0


class Served:
    """Until when an answer with an address of target, given out before, may still be used, and one with a longer TTL than the plan's `ttl`.
    Monotonic seconds."""

    def __init__(self, ttl: float) -> None:
        self._ttl = ttl
        self._until = 0.0
        self._long_until = 0.0
        self._long_ttl = 0.0
        self._long_names_target = False

    def clients(self) -> Clients:
        """Who may still use it."""
        if self.left <= 0:
            return Clients(None, 0.0, "no answer that names target may be used any more")
        return Clients(None, self.left, f"an answer that names target may be used for {self.left:.0f} s more")

    def note(self, is_on_target: bool, ttl: float | None, *, by_authority: bool = True) -> None:
        """Somebody has just been, or could just have been, given this answer."""
        if ttl is None:
            return
        until = time.monotonic() + ttl
        if is_on_target:
            self._until = max(self._until, until)
        if by_authority and ttl > self._ttl and until >= self._long_until:
            self._long_names_target = is_on_target or (self._long_names_target and self.long is not None)
            self._long_until, self._long_ttl = until, ttl

    @property
    def long(self) -> LongAnswer | None:
        left = self._long_until - time.monotonic()
        return LongAnswer(self._long_ttl, left, self._long_names_target) if left > 0 else None

    def recall(self, long: LongAnswer) -> None:
        """What was seen before a restart."""
        until = time.monotonic() + long.left
        if until > self._long_until:
            self._long_until, self._long_ttl, self._long_names_target = until, long.ttl, long.names_target
        if long.names_target:
            self._until = max(self._until, until)

    @property
    def left(self) -> float:
        return max(0.0, self._until - time.monotonic())


class Kept:
    """Which answers a resolver may still give, because an authority gave them out and their TTL is not over. What was given before we
    looked may be kept for `ttl` seconds from our beginning."""

    def __init__(self, ttl: float) -> None:
        self._unseen_until = time.monotonic() + ttl
        self._until: dict[tuple[str, ...], float] = {}

    def note(self, values: tuple[str, ...], ttl: float) -> None:
        """An authority gives these values now."""
        until = max(self._until.pop(values, 0.0), time.monotonic() + ttl)
        self._until[values] = until
        if len(self._until) > REMEMBERED:
            del self._until[next(iter(self._until))]

    def is_too_long(self, values: tuple[str, ...]) -> bool:
        """Should no resolver give these values any more?"""
        return time.monotonic() > self._until.get(values, self._unseen_until) + MARGIN


@dataclass(frozen=True, slots=True)
class Weighted:
    """What is seen of a record that answers by weight; `is_there` is None where nobody can be asked."""

    is_there: bool | None
    share: float | None
    detail: str


async def weighted_seen(answerers: Answerers, record: Record, weight: int, served: Served) -> Weighted:
    """Ask the authorities so often that the share of target can be told; each resolver once, which keeps its answer for the TTL."""
    authorities, _ = await answerers.authorities()
    rounds = -(-(ASKED_WHOLE if weight in (0, 100) else ASKED_PARTIAL) // len(authorities)) if authorities else 1
    told = list(await answerers.ask())
    resolvers = [t for t in told if not t.is_authority and t.answer is not None]
    for _ in range(rounds - 1):
        told += await answerers.ask_authorities()
    for one in told:
        if one.answer is not None:
            served.note(target_share(record, one.answer.values) > 0, one.answer.ttl, by_authority=one.is_authority)
    on_target = sum(target_share(record, t.answer.values) > 0 for t in resolvers if t.answer is not None)
    words = f"{on_target} of {len(resolvers)} resolvers answer with target" if resolvers else ""
    if not authorities:
        return Weighted(None, on_target / len(resolvers) if resolvers else None, words or "no authorities in the plan to ask")
    sides = [_side(record, t.answer) for t in told if t.is_authority]
    is_there, share, text = judge_sides(sides, len(sides), weight)
    text = text.replace("clients asked were", "answers of authorities are")
    return Weighted(is_there, share, "; ".join(w for w in (text, words) if w))


def _side(record: Record, answer: RecordSet | None) -> str | None:
    share = target_share(record, answer.values) if answer is not None and answer.values else 0.5
    return {0.0: "legacy", 1.0: "target"}.get(share)
