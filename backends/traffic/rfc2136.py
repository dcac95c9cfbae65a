"""A record of a zone whose name server takes dynamic updates (RFC 2136) with TSIG: BIND, Knot, PowerDNS, Windows.

The weight is what the record's addresses say: all of one side, or k of n distinct ones (`backends.plan.records`). A change is one
update whose prerequisites are the whole RRset as it was read, so somebody else's change in between makes it fail, on the server. The TTL
is no part of that comparison.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from backends.plan.models import Rfc2136Route as Rfc2136Spec
from backends.plan.records import Record, parse_record, values_at
from backends.secrets.resolve import resolve
from backends.traffic.answers import Answerers, Kept, Served, Told, target_share
from backends.traffic.base import Clients, Confirmation, Finding, ForeignChange, LongAnswer, Observed, PlainRoute, RouteError
from backends.traffic.nameserver import NameServer, NameServerError, RecordSet, Unmet, Update
from backends.traffic.tsig import TsigKey, parse_key

TRIES = 5  # compare-and-swaps where others write the same record


class CannotSay(RouteError):
    """Plain DNS has no such weight for these addresses."""

    code = "cannot_say"


class Rfc2136Route(PlainRoute):
    """Weight by the addresses of a record."""

    kind = "rfc2136"

    def __init__(self, name: str, spec: Rfc2136Spec, *, base: Path) -> None:
        self.name = name
        self._spec = spec
        self._base = base
        self._ttl = max(1, round(spec.ttl))
        self._record: Record = parse_record(spec.record, spec.zone, spec.legacy, spec.target)
        self._values = values_at(self._record)
        self._server = NameServer.at(spec.server)
        self._answerers = Answerers(self._record, self._server, spec.authorities, spec.resolvers)
        self._served = Served(self._ttl)
        self._kept = Kept(self._ttl)

    async def read(self) -> Observed:
        return self._observed(await self._look())

    async def set(self, weight: int, expected: int | None) -> None:
        wanted = self._wanted(weight)
        for _ in range(TRIES):
            found = await self._look()
            if found.values == wanted and found.ttl == self._ttl:
                return
            if expected is not None and found.values not in (wanted, self._wanted(expected)):
                observed = self._observed(found)
                raise ForeignChange(self.name, expected, observed.weight, observed.foreign)
            try:
                await self._swap(found, wanted, self._ttl)
            except Unmet:
                continue
            self._given(found)  # until now
            return
        raise RouteError(f"route {self.name}: {self._record.name} was changed by others {TRIES} times while we set it")

    async def confirm(self, weight: int) -> Confirmation:
        """At the plan's server; at the data plane where every authority that answers has it and no resolver keeps what was before
        for longer than its TTL allowed."""
        wanted = self._wanted(weight)
        observed = self._observed(await self._look())
        told = await self._answerers.ask()
        for one in told:
            if one.answer is not None:
                self._given(one.answer, by_authority=one.is_authority)
        lagging = [t for t in told if t.is_authority and t.answer is not None and t.answer.values != wanted]
        behind = [t for t in told if not t.is_authority and t.answer is not None and t.answer.values != wanted]
        too_long = any(self._kept.is_too_long(t.answer.values) for t in behind if t.answer is not None)
        others = any(t.answer is not None and t.server != self._server.shown for t in told)
        is_there = None if not others else not lagging and not too_long
        detail = f"{observed.detail}; {_words(told, wanted, lagging, behind, too_long)}"
        return Confirmation(observed.is_at(weight), is_there, self._share(told), detail)

    async def pin(self) -> dict[str, Any]:
        found = await self._look()
        return {"ttl": found.ttl, "values": list(found.values)}

    def restore(self, pinned: Mapping[str, Any]) -> None:
        """What was given out before we came is not known: as if it were a moment ago, with the longer of the TTLs."""
        self._served.note(True, max(self._ttl, pinned.get("ttl") or 0))

    def long_answer(self) -> LongAnswer | None:
        return self._served.long

    def recall(self, long: LongAnswer) -> None:
        self._served.recall(long)

    async def clients(self) -> Clients:
        return self._served.clients()

    async def ttl(self) -> tuple[int, str]:
        """The longest TTL, in seconds, that any authority gives out with the record, and that in words."""
        told = await self._answerers.ask()
        found = {t.server: t.answer.ttl for t in told if t.is_authority and t.answer is not None and t.answer.ttl is not None}
        if self._server.shown not in found:
            why = next((f": {t.error}" for t in told if t.server == self._server.shown and t.error), "")
            raise NameServerError(f"route {self.name}: {self._server.shown} gives no TTL of {self._record.name}{why}")
        worst = max(found, key=lambda server: found[server])
        return found[worst], f"{self._record.name} is given out for {found[worst]} s by {worst}"

    async def set_ttl(self, ttl: int) -> None:
        """Another TTL for the same values, whatever they are. Safe to repeat."""
        for _ in range(TRIES):
            found = await self._look()
            if not found.values:
                raise RouteError(f"route {self.name}: {self._record.name} holds no {self._record.type}, so it has no TTL")
            if found.ttl == ttl:
                return
            try:
                await self._swap(found, found.values, ttl)
            except Unmet:
                continue
            self._given(found)
            return
        raise RouteError(f"route {self.name}: {self._record.name} was changed by others {TRIES} times while we set its TTL")

    async def preflight(self) -> tuple[Finding, ...]:
        """The server takes our updates (tried with one that changes nothing), all authorities agree, no other family beside, and no
        answer with a longer TTL than the plan's is left."""
        found = await self._look()
        return (await self._may_update(found), await self._agreement(found), await self._other_family(), self._short_ttl(found))

    async def close(self) -> None:
        """Nothing is kept open."""

    def _wanted(self, weight: int) -> tuple[str, ...]:
        values = self._values.get(weight)
        if values is None:
            can = ", ".join(map(str, self._values))
            hint = "give more distinct addresses, or use a route that has weights"
            raise CannotSay(f"route {self.name}: plain DNS cannot say {weight} % with these addresses, only {can}", hint=hint)
        return values

    async def _look(self) -> RecordSet:
        found = await self._server.record(self._record.name, self._record.type)
        if not found.is_authoritative:
            text = f"route {self.name}: {self._server.shown} is no authority for {self._record.zone}"
            raise NameServerError(text, hint="server has to be one that takes updates of the zone, no resolver")
        self._given(found)
        return found

    def _given(self, found: RecordSet, *, by_authority: bool = True) -> None:
        """Somebody may have been told this a moment ago."""
        names_target = any(v in self._record.target for v in found.values)
        self._served.note(names_target, found.ttl, by_authority=by_authority)
        if by_authority and found.ttl is not None:
            self._kept.note(found.values, found.ttl)

    def _observed(self, found: RecordSet) -> Observed:
        ttl = f" for {found.ttl} s" if found.ttl is not None else ""
        said = ", ".join(found.values) or "nothing"
        detail = f"{self._server.shown} says {said}{ttl}"
        weight = next((w for w, values in self._values.items() if values == found.values), None)
        if weight is not None:
            return Observed(weight, detail)
        near = round(100 * target_share(self._record, found.values))
        if found.alias is not None:
            return Observed(near, detail, f"is an alias of {found.alias}")
        return Observed(near, detail, f"holds {said}")

    async def _swap(self, found: RecordSet, after: tuple[str, ...], ttl: int) -> None:
        record = self._record
        update = Update(record.zone, record.name, record.type, found.values, after, ttl, found.alias)
        await self._server.update(update, await self._key())

    async def _key(self) -> TsigKey | None:
        """Resolved anew each time: a key that was changed holds at once."""
        if self._spec.tsig is None:
            return None
        return parse_key(await asyncio.to_thread(resolve, self._spec.tsig, base=self._base))

    def _share(self, told: Sequence[Told]) -> float | None:
        """Of the resolvers where any answered, else of the authorities: the share of their answers that is target's."""
        answered = [t for t in told if t.answer is not None and t.answer.values]
        asked = [t for t in answered if not t.is_authority] or answered
        shares = [target_share(self._record, t.answer.values) for t in asked if t.answer is not None]
        return sum(shares) / len(shares) if shares else None

    async def _may_update(self, found: RecordSet) -> Finding:
        cure = "let the route's tsig key (or this address) update the record, at the server"
        if found.ttl is None:
            return Finding(None, f"{self._record.name} holds no {self._record.type}: whether we may update it is not known")
        try:
            await self._swap(found, found.values, found.ttl)
        except Unmet:
            return Finding(None, f"{self._record.name} changed while an update was tried")
        except RouteError as error:
            return Finding(False, error.message, error.hint or cure)
        return Finding(
            True, f"{self._server.shown} takes our updates of {self._record.name} (tried with one that changes nothing)"
        )

    def _short_ttl(self, found: RecordSet) -> Finding:
        if found.ttl is not None and found.ttl > self._ttl:
            text = f"{self._record.name} is given out for {found.ttl} s, the plan says {self._ttl} s: somebody raised it"
            return Finding(False, text, f"lower it at the server, and wait {found.ttl} s")
        if (long := self._served.long) is not None:
            text = f"an answer with a longer TTL than the plan's may be used for {long.left:.0f} s more"
            return Finding(False, text, f"wait {long.left:.0f} s")
        return Finding(True, f"no answer of {self._record.name} is kept for longer than {self._ttl} s")

    async def _agreement(self, found: RecordSet) -> Finding:
        told = [t for t in await self._answerers.ask() if t.is_authority]
        odd = [t.server for t in told if t.answer is not None and t.answer.values != found.values]
        lame = [t.server for t in told if t.answer is not None and not t.answer.is_authoritative]
        silent = [t.error for t in told if t.answer is None]
        text = f"{len(told) - len(silent)} of {len(told)} authorities answer" + "".join(f"; {s}" for s in silent)
        if odd or lame:
            text += f"; {', '.join(dict.fromkeys((*odd, *lame)))} says otherwise than {self._server.shown}"
            return Finding(False, text, "see that its transfers of the zone work")
        return Finding(True, text)

    async def _other_family(self) -> Finding:
        """Clients with both families would go on with the one that is not moved."""
        other = {"A": "AAAA", "AAAA": "A"}.get(self._record.type)
        if other is None:
            return Finding(True, f"{self._record.name} is an alias")
        beside = await self._server.record(self._record.name, other)
        if not beside.values:
            return Finding(True, f"{self._record.name} has no {other} beside it")
        text = f"{self._record.name} also has {other} {', '.join(beside.values)}, which this route does not move"
        return Finding(None, text, f"give it a route of its own, if it leads to the same side as this {self._record.type}")


def _words(told: Sequence[Told], wanted: tuple[str, ...], lagging: list[Told], behind: list[Told], too_long: bool) -> str:
    authorities = [t for t in told if t.is_authority]
    resolvers = [t for t in told if not t.is_authority]
    have = sum(t.answer is not None and t.answer.values == wanted for t in authorities)
    parts = [f"{have} of {len(authorities)} authorities have it (serials {_serials(authorities)})"]
    parts += [f"{t.server} still says {', '.join(t.answer.values) or 'nothing'}" for t in lagging if t.answer is not None]
    if resolvers:
        answered = sum(t.answer is not None for t in resolvers)
        late = ", ".join(f"{t.server} for {t.answer.ttl or 0} s more" for t in behind if t.answer is not None)
        parts.append(f"{len(behind)} of {answered} resolvers still on the old answer" + (f" ({late})" if late else ""))
        if too_long:
            parts.append("longer than the old TTL allowed")
    parts += [t.error for t in told if t.answer is None]
    return "; ".join(parts)


def _serials(authorities: Sequence[Told]) -> str:
    """`7` where all agree, else each with its server."""
    found = {t.server: t.serial for t in authorities if t.serial is not None}
    if len(set(found.values())) == 1:
        return str(next(iter(found.values())))
    return ", ".join(f"{server} {serial}" for server, serial in found.items()) or "none"
