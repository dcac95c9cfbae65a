"""What a host says surrounds its work (`backends.probes.agent.around`, `growth`), parsed and never trusted."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from cryptography import x509

from backends.inventory.cron import Rhythm, rhythm_of
from backends.inventory.untyped import part, parts, text, texts

TLS_PORTS = (443, 8443)  # where HTTPS is usual; a port of some other protocol is not spoken to


@dataclass(frozen=True, slots=True)
class Cloud:
    """`is_spot` is None where it is not known; `by` says what told it, `error` why nothing did."""

    provider: str = ""
    region: str = ""
    machine: str = ""
    is_spot: bool | None = None
    by: str = ""
    error: str = ""


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is started (a script, or a unit of systemd), by what, and how often; None where the schedule tells no rhythm."""

    what: str
    schedule: str
    source: str
    rhythm: Rhythm | None


@dataclass(frozen=True, slots=True)
class Growth:
    """Bytes in `files` files, all or the first of them, that were written in the last `days`."""

    files: int
    recent: int
    days: int
    is_all: bool


@dataclass(frozen=True, slots=True)
class Around:
    cloud: Cloud
    schedules: tuple[Schedule, ...] = ()
    own_names: tuple[str, ...] = ()
    host_lines: tuple[str, ...] = ()  # of /etc/hosts, other machines' addresses and names
    certificates: tuple[tuple[int, tuple[str, ...]], ...] = ()  # port and the names in its certificate


def parse_around(value: Any) -> Around:
    """From what the host printed; what does not fit is left out."""
    cloud = part(value, "cloud")
    return Around(
        cloud=Cloud(
            text(cloud, "provider"),
            text(cloud, "region"),
            text(cloud, "machine"),
            {"spot": True, "on-demand": False}.get(text(cloud, "life")),
            text(cloud, "by"),
            text(cloud, "error"),
        ),
        schedules=tuple(_schedules(value)),
        own_names=tuple(texts(value, "names", "own")),
        host_lines=tuple(texts(value, "names", "hosts")),
        certificates=tuple(_certificates(part(value).get("certificates"))),
    )


def parse_growth(value: Any) -> dict[str, Growth]:
    """By path."""
    out = {}
    for path, told in part(value, "paths").items():
        if isinstance(told, list) and len(told) == 4 and all(isinstance(n, int) and n >= 0 for n in told[:3]) and told[2]:
            out[path] = Growth(told[0], told[1], told[2], told[3] is True)
    return out


def _schedules(value: Any) -> Iterator[Schedule]:
    for one in parts(value, "schedules"):
        what, schedule = text(one, "what"), text(one, "schedule")
        gaps = one.get("gaps")
        if isinstance(gaps, list) and len(gaps) == 2 and all(isinstance(gap, int | float) and 0 < gap < 1e10 for gap in gaps):
            rhythm: Rhythm | None = Rhythm(float(gaps[0]), float(gaps[1]))
        else:
            rhythm = rhythm_of(schedule)
        if what and schedule:
            yield Schedule(what, schedule, text(one, "from"), rhythm)


def _certificates(value: Any) -> Iterator[tuple[int, tuple[str, ...]]]:
    for one in value if isinstance(value, list) else ():
        if not isinstance(one, list) or len(one) != 2 or not isinstance(one[0], int) or not isinstance(one[1], str):
            continue
        try:
            found = x509.load_der_x509_certificate(base64.b64decode(one[1], validate=True))
            named = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
            names = [*named.get_values_for_type(x509.DNSName), *map(str, named.get_values_for_type(x509.IPAddress))]
        except (ValueError, TypeError, binascii.Error, x509.ExtensionNotFound, x509.DuplicateExtension):
            continue
        yield one[0], tuple(names)
