"""What Route 53 has at a name, in our words: a pair of weighted records, one simple record, or something that is neither. Pure.

A record of weight 0 is answered with when all others are unhealthy, and where all weights are 0 all are answered with alike (Route 53's
developer guide, "Weighted routing"): both are told, neither is taken for a weight of ours.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backends.escape import plain
from backends.plan.records import Record, RecordForm, canonical_value

SET_IDS = {"legacy": "cutover-legacy", "target": "cutover-target"}
_POLICIES = {
    "Region": "latency", "GeoLocation": "geolocation", "Failover": "failover", "MultiValueAnswer": "multivalue",
    "GeoProximityLocation": "geoproximity", "CidrRoutingConfig": "address block",
}  # fmt: skip
_ESCAPE = re.compile(r"\\([0-7]{3})")

Raw = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Held:
    """All that stands at the name and type, and a CNAME there. `foreign` says what is not ours, empty where it is the weight that it says."""

    raws: tuple[Raw, ...]
    weight: int
    ttl: int | None
    sides: Mapping[str, Raw] = field(default_factory=dict)  # `legacy` and `target` of a weighted pair
    is_simple: bool = False
    foreign: str = ""
    warning: str = ""


def same_name(told: str, name: str) -> bool:
    """Does Route 53's `told` (octal escapes, a last dot) mean this name?"""
    plain_name = _ESCAPE.sub(lambda m: chr(int(m[1], 8)), told)
    return plain_name.removesuffix(".").lower() == name


def held_of(record: Record, raws: Sequence[Raw]) -> Held:
    """What these record sets, all at the record's name, are to us."""
    ours = tuple(r for r in raws if r.get("Type") in (record.type, "CNAME"))
    ttl = max((int(r["TTL"]) for r in ours if "TTL" in r), default=None)
    odd = _oddity(record, ours)
    if odd:
        return Held(ours, 0, ttl, foreign=odd)
    if "SetIdentifier" not in ours[0]:
        side = _side_of(record, ours[0])
        if side is None:
            return Held(ours, 0, ttl, is_simple=True, foreign=f"holds {_shown(ours[0])}")
        return Held(ours, 100 if side == "target" else 0, ttl, is_simple=True)
    return _weighted(record, ours, ttl)


def _oddity(record: Record, raws: Sequence[Raw]) -> str:
    if not raws:
        return "holds nothing"
    for raw in raws:
        if raw["Type"] != record.type:
            return f"is an alias of {_shown(raw)}"
        if "AliasTarget" in raw:
            return f"is an alias record ({plain(str(raw['AliasTarget'].get('DNSName', '')), 100)}), which is not supported"
        policy = next((word for key, word in _POLICIES.items() if key in raw), None)
        if policy is not None:
            return f"is routed by {policy}, not by weight"
    if len(raws) > 1 and any("SetIdentifier" not in r for r in raws):
        return "has a simple record beside weighted ones"
    return ""


def _weighted(record: Record, raws: tuple[Raw, ...], ttl: int | None) -> Held:
    sides: dict[str, Raw] = {}
    for raw in raws:
        side = _side_of(record, raw)
        if side is None or side in sides:
            text = f"has a record beside ours: {_shown(raw)} of weight {raw.get('Weight')}"
            return Held(raws, 0, ttl, sides, foreign=text)
        sides[side] = raw
    old, new = (int(sides[s]["Weight"]) if s in sides else 0 for s in ("legacy", "target"))
    if old + new == 0:
        both = len(sides) == 2
        text = (
            "has weight 0 everywhere, which Route 53 answers with alike"
            if both
            else "has one record, of weight 0, that gets everybody"
        )
        return Held(raws, 50 if both else 100 * ("target" in sides), ttl, sides, foreign=text)
    weight, rest = divmod(100 * new, old + new)
    foreign = f"has weights {old} and {new}, {100 * new / (old + new):.1f} % on target" if rest else ""
    return Held(raws, weight, ttl, sides, foreign=foreign, warning=trap(sides))


def trap(sides: Mapping[str, Raw]) -> str:
    """A record of weight 0 that Route 53 answers with when the other is unhealthy, in words."""
    for zero, other in (("target", "legacy"), ("legacy", "target")):
        if zero in sides and other in sides and int(sides[zero]["Weight"]) == 0 and "HealthCheckId" in sides[other]:
            return f"when the health check of {other} fails Route 53 answers with {zero}, whose weight is 0"
    return ""


def wanted(record: Record, held: Held, weight: int, ttl: int) -> tuple[Raw, ...]:
    """The record sets that say this weight, made of those that are there: their identifiers and health checks stay. At 0 target's
    goes, unless a health check of its own would be lost with it."""
    out = []
    for side, share in (("legacy", 100 - weight), ("target", weight)):
        raw = held.sides.get(side)
        if side == "target" and share == 0 and (raw is None or "HealthCheckId" not in raw):
            continue
        made: Raw = dict(raw) if raw is not None else _new(record, side)
        out.append(made | {"Weight": share, "TTL": ttl})
    return tuple(out)


def changes(before: Iterable[Raw], after: Iterable[Raw]) -> list[dict[str, Any]]:
    """One batch: DELETE of exactly what was read, CREATE of what is wanted. It is taken whole or not at all, and refused where what is
    to be deleted is no longer there: a compare-and-swap."""
    old, new = list(before), list(after)
    gone = [{"Action": "DELETE", "ResourceRecordSet": raw} for raw in old if raw not in new]
    return gone + [{"Action": "CREATE", "ResourceRecordSet": raw} for raw in new if raw not in old]


def _new(record: Record, side: str) -> Raw:
    values = record.legacy if side == "legacy" else record.target
    dot = "." if record.type == "CNAME" else ""
    return {
        "Name": f"{record.name}.",
        "Type": record.type,
        "SetIdentifier": SET_IDS[side],
        "ResourceRecords": [{"Value": f"{v}{dot}"} for v in values],
    }


def values_of(raw: Raw) -> frozenset[str]:
    """The values of a record set, as we write them; one that cannot be read is kept as it is."""
    out = set()
    for item in raw.get("ResourceRecords", ()):
        text = str(item.get("Value", ""))
        try:
            out.add(canonical_value(text))
        except RecordForm:
            out.add(plain(text, 100))
    return frozenset(out)


def _side_of(record: Record, raw: Raw) -> str | None:
    found = values_of(raw)
    if found == frozenset(record.legacy):
        return "legacy"
    return "target" if found == frozenset(record.target) else None


def _shown(raw: Raw) -> str:
    return ", ".join(sorted(values_of(raw))) or "nothing"
