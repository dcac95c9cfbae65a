"""Weighted records of Amazon Route 53: weight w is w of 100 on target, w from 0 to 100.

A change is one atomic batch, DELETE of what was read and CREATE of what is wanted, so somebody else's change in between makes it fail there.
It is seen when GetChange says INSYNC, which takes up to a minute. Values tell the sides apart: identifiers and health checks of records that
were there stay. The API allows five requests a second to a whole account, so it is asked seldom.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from backends.plan.models import Route53Route as Route53Spec
from backends.plan.records import full_record
from backends.secrets.resolve import resolve
from backends.sending import before_sending
from backends.traffic.answers import Answerers, Served, weighted_seen
from backends.traffic.base import Clients, Confirmation, Finding, ForeignChange, LongAnswer, Observed, PlainRoute, RouteError
from backends.traffic.route53_client import Access, Route53Client, Route53Error
from backends.traffic.route53_records import Held, Raw, changes, held_of, same_name, wanted

TRIES = 4
YOUNG = 2.0  # seconds for which an answer of the API is not asked for anew while a change is waited for
PAGES = 10
TRIED_FOR = 3600.0
STALE = ("InvalidChangeBatch",)


class Route53Route(PlainRoute):
    """Weight by a pair of weighted records."""

    kind = "route53"
    look_every = 10.0

    def __init__(self, name: str, spec: Route53Spec, *, base: Path) -> None:
        self.name = name
        self._spec = spec
        self._base = base
        self._ttl = max(1, round(spec.ttl))
        self._record = full_record(spec.record, spec.legacy, spec.target)
        self._answerers = Answerers(self._record, None, spec.authorities, spec.resolvers, has_serial=False)
        self._served = Served(self._ttl)
        self._client: Route53Client | None = None
        self._change: str | None = None  # the last batch that Route 53 has not called INSYNC yet
        self._asked_at = 0.0
        self._held: tuple[float, Held] | None = None
        self._may_change_until = 0.0  # monotonic

    async def read(self) -> Observed:
        return self._observed(await self._look())

    async def set(self, weight: int, expected: int | None) -> None:
        for _ in range(TRIES):
            held = await self._look()
            after = self._wanted(held, weight)
            if not changes(held.raws, after):
                return
            if expected is not None and not self._is_one_of(held, weight, expected):
                raise ForeignChange(self.name, expected, held.weight, held.foreign)
            if await self._swap(held, after):
                return
        raise RouteError(f"route {self.name}: {self._record.name} was changed by others {TRIES} times while we set it")

    async def confirm(self, weight: int) -> Confirmation:
        held = await self._look(YOUNG)
        observed = self._observed(held)
        in_sync, told = await self._in_sync()
        seen = await weighted_seen(self._answerers, self._record, weight, self._served)
        words = "; ".join(w for w in (observed.detail, told, seen.detail) if w)
        return Confirmation(observed.is_at(weight) and in_sync, seen.is_there, seen.share, words)

    async def pin(self) -> dict[str, Any]:
        return {"ttl": (await self._look()).ttl}

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
        held = await self._look(YOUNG)
        if held.ttl is None:
            raise RouteError(f"route {self.name}: Route 53 gives no TTL of {self._record.name}")
        in_sync, told = await self._in_sync()
        if not in_sync:
            raise Route53Error(f"route {self.name}: {told}")
        return held.ttl, f"{self._record.name} is given out for {held.ttl} s"

    async def set_ttl(self, ttl: int) -> None:
        for _ in range(TRIES):
            held = await self._look()
            after = tuple(raw | {"TTL": ttl} if "TTL" in raw else raw for raw in held.raws)
            if not changes(held.raws, after) or await self._swap(held, after):
                return
        raise RouteError(f"route {self.name}: {self._record.name} was changed by others {TRIES} times while we set its TTL")

    async def preflight(self) -> tuple[Finding, ...]:
        held = await self._look()
        if held.foreign:
            return (
                Finding(False, f"{self._record.name} {held.foreign}", "make it a simple record, or a weighted pair, by hand"),
            )
        found = [Finding(True, self._observed(held).detail), await self._may_change(held)]
        if held.warning:
            cure = "take the health check away, or delete the record of weight 0: an advance makes it again"
            found.append(Finding(None, held.warning, cure))
        return tuple(found)

    async def _may_change(self, held: Held) -> Finding:
        """May we change the record? Tried with a batch that deletes and makes what is there, which is refused where something else is. Once
        it was taken it counts for an hour: the API is asked seldom."""
        if time.monotonic() < self._may_change_until:
            return Finding(True, "Route 53 takes our changes of it")
        if not held.raws:
            return Finding(None, f"{self._record.name} holds nothing: whether we may change it is not known")
        batch = {"Changes": [{"Action": act, "ResourceRecordSet": raw} for act in ("DELETE", "CREATE") for raw in held.raws]}
        try:
            await self._call("change_resource_record_sets", HostedZoneId=self._spec.zone, ChangeBatch=batch)
        except Route53Error as error:
            if error.aws_code in STALE:
                return Finding(None, f"{self._record.name} changed while a change was tried")
            return Finding(False, error.message, error.hint or "route53:ChangeResourceRecordSets on this zone")
        self._may_change_until = time.monotonic() + TRIED_FOR
        return Finding(True, "Route 53 takes our changes of it (tried with one that changes nothing)")

    async def close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def _wanted(self, held: Held, weight: int) -> tuple[Raw, ...]:
        """A simple record that says the weight already may stay one."""
        if held.is_simple and not held.foreign and held.weight == weight == 0:
            return tuple(raw | {"TTL": self._ttl} for raw in held.raws)
        return wanted(self._record, held, weight, self._ttl)

    def _is_one_of(self, held: Held, *weights: int) -> bool:
        return not held.foreign and held.weight in weights

    async def _swap(self, held: Held, after: tuple[Raw, ...]) -> bool:
        """False where something else stands there by now: nothing was changed."""
        batch = {"Changes": changes(held.raws, after)}
        self._held = None
        try:
            told = await self._call("change_resource_record_sets", HostedZoneId=self._spec.zone, ChangeBatch=batch)
        except Route53Error as error:
            if error.aws_code in STALE and (await self._look()).raws != held.raws:
                return False
            raise
        self._change, self._asked_at = str(told["ChangeInfo"]["Id"]), 0.0
        self._note(held)
        return True

    async def _look(self, max_age: float = 0.0) -> Held:
        if self._held is not None and time.monotonic() - self._held[0] < max_age:
            return self._held[1]
        raws: list[Raw] = []
        start: dict[str, Any] = {"StartRecordName": self._record.name}
        for _ in range(PAGES):
            told = await self._call("list_resource_record_sets", HostedZoneId=self._spec.zone, MaxItems="100", **start)
            page = list(told.get("ResourceRecordSets", ()))
            raws += [raw for raw in page if same_name(str(raw.get("Name", "")), self._record.name)]
            if not told.get("IsTruncated") or not same_name(str(told.get("NextRecordName", "")), self._record.name):
                break
            names = {"NextRecordName": "StartRecordName", "NextRecordType": "StartRecordType"}
            names["NextRecordIdentifier"] = "StartRecordIdentifier"
            start = {to: told[of] for of, to in names.items() if of in told}
        held = held_of(self._record, raws)
        self._held = (time.monotonic(), held)
        self._note(held)
        return held

    def _note(self, held: Held) -> None:
        self._served.note(held.weight > 0 or bool(held.foreign), held.ttl)

    def _observed(self, held: Held) -> Observed:
        what = "a simple record" if held.is_simple else "weighted records"
        ttl = f" for {held.ttl} s" if held.ttl is not None else ""
        said = held.foreign or f"says {held.weight} % by {what}{ttl}"
        return Observed(
            held.weight, f"Route 53: {self._record.name} {said}" + (f"; {held.warning}" if held.warning else ""), held.foreign
        )

    async def _in_sync(self) -> tuple[bool, str]:
        """Do all of Route 53's servers have our last change? After a restart that change is not known any more."""
        if self._change is None:
            return True, ""
        if time.monotonic() - self._asked_at < YOUNG:
            return False, "PENDING"
        self._asked_at = time.monotonic()
        told = await self._call("get_change", Id=self._change.rpartition("/")[2])
        if told["ChangeInfo"]["Status"] != "INSYNC":
            return False, "the change is PENDING, not yet at all of Route 53's servers"
        self._change = None
        return True, "INSYNC"

    async def _call(self, operation: str, **arguments: Any) -> dict[str, Any]:
        if self._client is None:
            spec = self._spec
            keys = [await self._secret(text) for text in (spec.access_key, spec.secret_key, spec.session_token)]
            self._client = Route53Client(Access(spec.endpoint, spec.region, spec.profile, *keys))
        await before_sending()  # here: the client has a thread of its own
        try:
            return await self._client.call(operation, **arguments)
        except Route53Error as error:
            raise Route53Error(f"route {self.name}: {error.message}", error.aws_code, error.hint) from error

    async def _secret(self, text: str | None) -> str | None:
        return None if text is None else await asyncio.to_thread(resolve, text, base=self._base)
