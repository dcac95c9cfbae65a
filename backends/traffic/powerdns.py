"""PowerDNS with LUA records, by its HTTP API: `pickwrandom` answers each question with one address, by weight.

PowerDNS has no compare-and-swap: a change is read, compared, written and read again, and somebody else's change within those milliseconds is
overwritten. Only a record in our own form is a weight; a plain record that holds exactly one side's addresses is 0 or 100. Written for
PowerDNS 4.7, whose zone has to allow LUA records (`enable-lua-records`).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from backends.escape import plain
from backends.plan.models import PowerdnsRoute as PowerdnsSpec
from backends.plan.records import Record, RecordForm, canonical_value, parse_record
from backends.secrets.resolve import resolve
from backends.sending import before_sending
from backends.traffic.answers import Answerers, Served, weighted_seen
from backends.traffic.base import Clients, Confirmation, Finding, ForeignChange, LongAnswer, Observed, PlainRoute, RouteError

SECONDS = 10.0
MAX_ANSWER = 16 << 20
_CONTENT = re.compile(r'(A|AAAA) "pickwrandom\(\{(.*)\}\)"')
_ENTRY = re.compile(r"\{([1-9][0-9]{0,5}),'([0-9A-Fa-f.:]{2,45})'\}")
_LUA = "LUA"
_COPIES = ("slave", "secondary", "consumer")  # kinds of zones whose data comes from elsewhere


class PowerdnsError(RouteError):
    """PowerDNS cannot be asked, or refuses."""

    code = "powerdns"


@dataclass(frozen=True, slots=True)
class Held:
    """What stands at the name: `values` of each type, as the API has them, without disabled ones."""

    values: Mapping[str, tuple[str, ...]]
    ttl: int | None


class PowerdnsRoute(PlainRoute):
    """Weight by a LUA record."""

    kind = "powerdns"

    def __init__(self, name: str, spec: PowerdnsSpec, *, base: Path) -> None:
        self.name = name
        self._spec = spec
        self._base = base
        self._ttl = max(1, round(spec.ttl))
        self._record = parse_record(spec.record, spec.zone, spec.legacy, spec.target)
        zone = quote(f"{self._record.zone}.", safe="")
        self._server = f"{spec.api.rstrip('/')}/api/v1/servers/localhost"
        self._url = f"{self._server}/zones/{zone}"
        self._answerers = Answerers(self._record, None, spec.authorities, spec.resolvers)
        self._served = Served(self._ttl)
        self._session: aiohttp.ClientSession | None = None

    async def read(self) -> Observed:
        return self._observed(await self._look())

    async def set(self, weight: int, expected: int | None) -> None:
        held = await self._look()
        observed = self._observed(held)
        content = lua_content(self._record, weight)
        if held.values == {_LUA: (content,)} and held.ttl == self._ttl:
            return
        if expected is not None and not (observed.is_at(weight) or observed.is_at(expected)):
            raise ForeignChange(self.name, expected, observed.weight, observed.foreign)
        await self._write(held, {_LUA: (content,)}, self._ttl)
        self._note(observed, held.ttl)
        after = await self._look()
        if after.values != {_LUA: (content,)}:
            found = self._observed(after)
            raise ForeignChange(self.name, weight, found.weight, found.foreign)

    async def confirm(self, weight: int) -> Confirmation:
        observed = await self.read()
        seen = await weighted_seen(self._answerers, self._record, weight, self._served)
        words = "; ".join(w for w in (observed.detail, seen.detail) if w)
        return Confirmation(observed.is_at(weight), seen.is_there, seen.share, words)

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
        held = await self._look()
        if held.ttl is None:
            raise PowerdnsError(f"route {self.name}: {self._record.name} holds nothing, so it has no TTL")
        return held.ttl, f"{self._record.name} is given out for {held.ttl} s"

    async def set_ttl(self, ttl: int) -> None:
        held = await self._look()
        if held.values and held.ttl != ttl:
            await self._write(held, held.values, ttl)

    async def preflight(self) -> tuple[Finding, ...]:
        """Is the record one of ours, is the zone's own data here, and may it hold LUA records? Nothing is changed: PowerDNS has no
        compare-and-swap, and a key of its API may either do all or nothing."""
        told = await self._call("GET")
        observed = self._observed(await self._look())
        if observed.foreign:
            cure = "let it hold one side's addresses alone, or nothing, by hand"
            return (Finding(False, f"{self._record.name} {observed.foreign}", cure),)
        found = [Finding(True, observed.detail), await self._may_hold_lua()]
        kind = plain(str(told.get("kind", "")), 40) if isinstance(told, dict) else ""
        if kind.lower() in _COPIES:
            text = f"{plain(self._spec.api, 200)} holds {self._record.zone} as a {kind}: what is set there is overwritten by its primary"
            found.append(Finding(False, text, "give the API of the primary"))
        return tuple(found)

    async def _may_hold_lua(self) -> Finding:
        """By the server's own settings. A zone may allow them where the server does not, which the API does not tell."""
        told = await self._call("GET", url=f"{self._server}/config")
        settings = (
            {str(s.get("name")): str(s.get("value")) for s in told if isinstance(s, dict)} if isinstance(told, list) else {}
        )
        if settings.get("enable-lua-records") in ("yes", "shared"):
            return Finding(True, "LUA records are allowed")
        cure = f"enable-lua-records=yes in pdns.conf, or pdnsutil set-meta {self._record.zone} ENABLE-LUA-RECORDS 1"
        return Finding(
            None, f"LUA records are not allowed by the server; whether by {self._record.zone} itself, nobody tells", cure
        )

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _observed(self, held: Held) -> Observed:
        weight = weight_of(self._record, held.values)
        said = "; ".join(f"{kind} {', '.join(values)}" for kind, values in sorted(held.values.items())) or "nothing"
        detail = f"PowerDNS says {plain(said, 300)}"
        if weight is None:
            return Observed(0, detail, f"holds {plain(said, 300)}, which is no weight of ours")
        return Observed(weight, f"{detail}: {weight} % on target")

    def _note(self, observed: Observed, ttl: int | None) -> None:
        self._served.note(observed.weight > 0 or bool(observed.foreign), ttl)

    async def _look(self) -> Held:
        told = await self._call("GET")
        sets = told.get("rrsets") if isinstance(told, dict) else None
        if not isinstance(sets, list):
            raise PowerdnsError(f"route {self.name}: {plain(self._url)} answers no zone")
        try:
            held = self._held(sets)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise PowerdnsError(f"route {self.name}: {plain(self._url)} answers a zone that cannot be read") from error
        self._note(self._observed(held), held.ttl)
        return held

    def _held(self, sets: list[dict[str, Any]]) -> Held:
        ours = [
            s for s in sets if s["name"].lower() == f"{self._record.name}." and s["type"] in (_LUA, self._record.type, "CNAME")
        ]
        values: dict[str, tuple[str, ...]] = {}
        for found in ours:
            contents = tuple(sorted(str(r["content"]) for r in found["records"] if not r.get("disabled")))
            if contents:
                values[found["type"]] = contents
        return Held(values, max((int(s["ttl"]) for s in ours if s["type"] in values), default=None))

    async def _write(self, held: Held, values: Mapping[str, tuple[str, ...]], ttl: int) -> None:
        """One PATCH, which PowerDNS takes whole or not at all."""
        name = f"{self._record.name}."
        sets: list[dict[str, Any]] = [
            {"name": name, "type": kind, "changetype": "DELETE"} for kind in held.values if kind not in values
        ]
        for kind, contents in values.items():
            records = [{"content": c, "disabled": False} for c in contents]
            sets.append({"name": name, "type": kind, "ttl": ttl, "changetype": "REPLACE", "records": records})
        await self._call("PATCH", {"rrsets": sets})

    async def _call(self, method: str, body: dict[str, Any] | None = None, *, url: str = "") -> Any:
        url = url or self._url
        if self._session is None:
            self._session = aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar())
        headers = {"X-API-Key": await asyncio.to_thread(resolve, self._spec.key, base=self._base)}
        timeout = aiohttp.ClientTimeout(total=SECONDS)
        where = f"route {self.name}: {plain(url)}"
        await before_sending()
        try:
            async with self._session.request(
                method, url, json=body, headers=headers, timeout=timeout, allow_redirects=False
            ) as answer:
                data = await answer.content.read(MAX_ANSWER)
                while not answer.content.at_eof() and len(data) < MAX_ANSWER:
                    data += await answer.content.read(MAX_ANSWER - len(data))
                status = answer.status
            if status == 401:
                raise PowerdnsError(f"{where} does not take the key", hint="look at the route's key and at api-key there")
            if status not in (200, 204):
                raise PowerdnsError(f"{where} answered {status} to {method}: {plain(data, 200)}")
            return json.loads(data) if data else None
        except TimeoutError as error:
            raise PowerdnsError(f"{where} does not answer within {SECONDS:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise PowerdnsError(f"{where} cannot be asked: {plain(str(error), 200)}") from error


def entries_at(record: Record, weight: int) -> tuple[tuple[int, str], ...]:
    """Each address with its weight: those of a side share what the side has, exactly."""
    sides = ((record.legacy, (100 - weight) * len(record.target)), (record.target, weight * len(record.legacy)))
    return tuple((each, address) for addresses, each in sides if each for address in addresses)


def lua_content(record: Record, weight: int) -> str:
    """The LUA record that says this weight."""
    inner = ",".join(f"{{{each},'{address}'}}" for each, address in entries_at(record, weight))
    return f'{record.type} "pickwrandom({{{inner}}})"'


def weight_of(record: Record, values: Mapping[str, tuple[str, ...]]) -> int | None:
    """The weight that the record's values say; None where they are in no form of ours."""
    if set(values) == {record.type}:
        try:
            plain_values = {canonical_value(v) for v in values[record.type]}
        except RecordForm:
            return None
        return 0 if plain_values == set(record.legacy) else 100 if plain_values == set(record.target) else None
    if set(values) != {_LUA} or len(values[_LUA]) != 1:
        return None
    found = _CONTENT.fullmatch(values[_LUA][0])
    if found is None or found[1] != record.type:
        return None
    entries = tuple((int(each), address) for each, address in _ENTRY.findall(found[2]))
    weight = next((w for w in range(101) if entries_at(record, w) == entries), None)
    return weight if weight is not None and lua_content(record, weight) == values[_LUA][0] else None
