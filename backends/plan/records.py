"""What a plan says of a DNS record, read without asking anybody: its name, its type, and the weights that its addresses can say.

Plain DNS has no weights: an answer holds addresses, and clients take any one of them. So k of n distinct addresses say k / n, and
nothing else does.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from backends.escape import plain

RecordType = Literal["A", "AAAA", "CNAME"]
DNS_PORT = 53

_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_MAX_NAME = 253
_HOST = re.compile(r"[A-Za-z0-9.-]+")


class RecordForm(ValueError):
    """A name, an address or a list of them that no record can have. `hint` says how it may have been meant."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Record:
    """One record of a zone: full names in lower case without the last dot, values as the server will say them."""

    name: str
    zone: str
    type: RecordType
    legacy: tuple[str, ...]
    target: tuple[str, ...]

    @property
    def is_apex(self) -> bool:
        return self.name == self.zone


def parse_record(record: str, zone: str, legacy: Sequence[str], target: Sequence[str]) -> Record:
    """The record that a plan means. Raises `RecordForm`."""
    origin = full_name(zone)
    name = _owner(record, origin)
    types = {side: [value_type(v) for v in values] for side, values in (("legacy", legacy), ("target", target))}
    kinds = dict.fromkeys(t for found in types.values() for t in found)
    if not (types["legacy"] and types["target"]):
        raise RecordForm("found no address on one side, expected at least one on each", "legacy: ADDRESS and target: ADDRESS")
    if len(kinds) > 1:
        hint = "give each type a route of its own"
        raise RecordForm(f"found {' and '.join(kinds)} in one record, expected one type", hint)
    (kind,) = kinds
    ours = tuple(canonical_value(v) for v in legacy)
    theirs = tuple(canonical_value(v) for v in target)
    both = [*ours, *theirs]
    if len(set(both)) < len(both):
        twice = next(v for v in both if both.count(v) > 1)
        raise RecordForm(f"found `{twice}` twice, expected distinct addresses: equal ones collapse in an answer", "leave one out")
    if kind == "CNAME":
        if len(both) > 2:
            raise RecordForm(
                "found several names, expected one on each side: a CNAME has one value", "give addresses, or one name a side"
            )
        if name == origin:
            raise RecordForm("found a CNAME at the zone's apex, where none may be", "give addresses, or move another name")
        if name in both:
            raise RecordForm(f"found `{name}` as its own alias", "name the host that is meant")
    return Record(name, origin, kind, ours, theirs)


def full_record(record: str, legacy: Sequence[str], target: Sequence[str]) -> Record:
    """The same by the record's full name alone, where the zone is known by another name than its own. Raises `RecordForm`."""
    name = record.removesuffix(".")
    _, _, parent = name.partition(".")
    if not parent:
        raise RecordForm(f"found `{plain(record, 80)}`, expected a full name such as chat.example.net", f"{plain(name, 80)}.ZONE")
    return parse_record(f"{name}.", parent, legacy, target)


def full_name(text: str) -> str:
    """A domain name in lower case without its last dot. Raises `RecordForm`."""
    name = text.removesuffix(".")
    labels = name.split(".")
    for label in labels:
        if not label.isascii():
            raise RecordForm(f"found `{plain(text, 80)}`, expected a name in ASCII", "write it as xn--…")
        if not _LABEL.fullmatch(label):
            raise RecordForm(
                f"found `{plain(text, 80)}`, expected a domain name",
                "letters, digits and -, its parts joined by dots, such as lb.example.net",
            )
    if len(name) > _MAX_NAME:
        raise RecordForm(f"found a name of {len(name)} signs, expected at most {_MAX_NAME}", "a shorter name")
    return name.lower()


def _owner(record: str, origin: str) -> str:
    """`chat` in example.net, `chat.example.net`, `@`, and a wildcard: the full name."""
    if record == "@":
        return origin
    wild = record.startswith("*.") or record == "*"
    rest = record.removeprefix("*").removeprefix(".") if wild else record
    if wild and not rest:
        return f"*.{origin}"
    name = full_name(rest)
    if name != origin and not name.endswith(f".{origin}"):
        if record.endswith("."):
            raise RecordForm(f"found `{plain(record, 80)}`, expected a name in the zone {origin}", f"such as chat.{origin}.")
        name = full_name(f"{name}.{origin}")
    return f"*.{name}" if wild else name


def value_type(value: str) -> RecordType:
    """`A` or `AAAA` of an address, `CNAME` of a host's full name. Raises `RecordForm`."""
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        pass
    else:
        if getattr(address, "scope_id", None):
            raise RecordForm(
                f"found `{plain(value, 60)}`, expected an address without a zone index", f"{plain(value.partition('%')[0], 60)}"
            )
        return "A" if address.version == 4 else "AAAA"
    if "." not in value.removesuffix(".") or re.fullmatch(r"[\d.]+", value):
        hint = "an address such as 192.0.2.10, or a host's full name such as lb.example.net"
        raise RecordForm(f"found `{plain(value, 60)}`, expected an address or a host's full name", hint)
    full_name(value)
    return "CNAME"


def canonical_value(value: str) -> str:
    """An address in its shortest form; a name in lower case without its last dot."""
    try:
        return ipaddress.ip_address(value).compressed
    except ValueError:
        return full_name(value)


def shares(legacy: int, target: int) -> dict[int, tuple[int, int]]:
    """Which weights so many addresses can say: weight -> how many of legacy, how many of target. Of several ways the one with most."""
    out: dict[int, tuple[int, int]] = {}
    for old in range(legacy + 1):
        for new in range(target + 1):
            count = old + new
            if not count or 100 * new % count:
                continue
            weight = 100 * new // count
            if weight not in out or sum(out[weight]) < count:
                out[weight] = (old, new)
    return dict(sorted(out.items()))


def values_at(record: Record) -> dict[int, tuple[str, ...]]:
    """The values of the record at each weight that it can say, sorted."""
    if record.type == "CNAME":
        return {0: record.legacy, 100: record.target}
    counts = shares(len(record.legacy), len(record.target))
    return {w: tuple(sorted((*record.legacy[:old], *record.target[:new]))) for w, (old, new) in counts.items()}


def split_server(text: str) -> tuple[str, int]:
    """`10.0.0.53`, `10.0.0.53:5353`, `[2001:db8::1]:53`, `ns1.example.net`: host and port. Raises `RecordForm`."""
    host, port = text, str(DNS_PORT)
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise RecordForm(f"found `{plain(text, 80)}`, expected [address]:port", "such as [2001:db8::53]:53")
        port = rest[1:] or port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise RecordForm(
            f"found `{plain(text, 80)}`, expected a port from 1 to 65535", "such as 10.0.0.53:53, or leave the port out"
        )
    try:
        return ipaddress.ip_address(host).compressed, int(port)
    except ValueError:
        if ":" in host or not _HOST.fullmatch(host) or re.fullmatch(r"[\d.]+", host):
            raise RecordForm(
                f"found `{plain(text, 80)}`, expected a name server's address or name", "such as 10.0.0.53 or ns1.example.net"
            ) from None
        return full_name(host), int(port)
