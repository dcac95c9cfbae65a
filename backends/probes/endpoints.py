"""Endpoints as they are seen from here and from hosts of either side: which phase takes how long, when certificates end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from backends.errors import CutoverError
from backends.escape import plain
from backends.probes.agent.ask import AT_ONCE, KINDS, ask
from backends.probes.agent_link import BOOT, program
from backends.ssh.pool import SshPool

SOON = 14 * 86400.0  # a certificate that ends within it is told
PHASES = ("resolve", "connect", "tls", "first_byte", "total")


@dataclass(frozen=True, slots=True)
class EndpointSeen:
    """`seen_from` is None for the engine's machine. `seconds` by phase; `certificate_ends` in unix seconds; `kind` of the error, one of `KINDS`."""

    url: str
    seen_from: str | None
    ok: bool
    error: str | None
    status: str | None
    seconds: dict[str, float]
    addresses: tuple[str, ...]
    certificate_ends: float | None
    kind: str | None = None

    def warning(self, now: float) -> str | None:
        """A certificate that ends soon, in words."""
        if self.certificate_ends is None or self.certificate_ends - now > SOON:
            return None
        left = (self.certificate_ends - now) / 86400
        return f"its certificate ends in {left:.0f} days" if left > 0 else "its certificate has ended"


async def look(urls: Sequence[str], timeout: float) -> list[EndpointSeen]:
    """From here, all at once. Never raises for what an endpoint does."""
    found = await asyncio.gather(*(asyncio.to_thread(ask, url, timeout) for url in urls))
    return [_seen(url, None, value) for url, value in zip(urls, found, strict=True)]


async def look_from(pool: SshPool, host: str, urls: Sequence[str], timeout: float) -> list[EndpointSeen]:
    """From a host, by its own `python3`, some at once; a host that cannot be asked has that as every endpoint's error."""
    argv = ["python3", "-BISuc", BOOT, f"{timeout:g}", json.dumps(list(urls))]
    try:
        result = await pool.run(host, argv, input=program("ask"), timeout=(timeout + 1) * -(-len(urls) // AT_ONCE) + 10)
    except CutoverError as error:
        return [_failed(url, host, error.message) for url in urls]
    values = {}
    for line in result.stdout.splitlines():
        try:
            value = orjson.loads(line)
            values[value["url"]] = value
        except (orjson.JSONDecodeError, KeyError, TypeError):
            continue  # a banner
    said = plain(result.stderr.strip()[-200:], 200)
    missing = f"{plain(host)} could not ask: {said or f'it ended with {result.exit_status}'}"
    return [_seen(url, host, values[url]) if url in values else _failed(url, host, missing) for url in urls]


def _failed(url: str, host: str | None, error: str) -> EndpointSeen:
    return EndpointSeen(url, host, False, error, None, {}, (), None)


def _seen(url: str, host: str | None, value: dict[str, Any]) -> EndpointSeen:
    seconds, addresses = value.get("seconds"), value.get("addresses")
    error, status, ends = value.get("error"), value.get("status"), value.get("certificate_ends")
    return EndpointSeen(
        url=url,
        seen_from=host,
        ok=value.get("ok") is True,
        error=plain(error, 200) if isinstance(error, str) else None,
        status=plain(str(status), 40) if status is not None else None,
        seconds={p: float(s) for p in PHASES if isinstance(s := seconds.get(p), (int, float))}
        if isinstance(seconds, dict)
        else {},
        addresses=tuple(plain(str(a), 60) for a in addresses[:16]) if isinstance(addresses, list) else (),
        certificate_ends=float(ends) if isinstance(ends, (int, float)) and 0 < ends < 1e12 else None,
        kind=kind if (kind := value.get("kind")) in KINDS else None,
    )
