"""`cutover probe --endpoint URL`: endpoints, phase by phase, from here and from hosts."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from backends.escape import plain
from console.commands.transfer_bar import run
from console.output import emit_json

if TYPE_CHECKING:
    from backends.probes.endpoints import EndpointSeen
    from backends.ssh.models import SshHost, SshSettings
    from backends.vocabulary import SideName


def ask_endpoints(
    urls: tuple[str, ...], timeout: float, settings: SshSettings, hosts: tuple[tuple[SideName, SshHost], ...], *, as_json: bool
) -> int:
    """Exit code: 0 where every one answers as it should and no certificate ends within 14 days, else 1."""
    found: list[EndpointSeen] = []

    async def main() -> None:
        import asyncio

        from backends.probes.endpoints import look, look_from
        from backends.ssh.pool import SshPool

        found.extend(await look(urls, timeout))
        if hosts:
            async with SshPool(settings, [host for _, host in hosts]) as pool, asyncio.TaskGroup() as group:
                tasks = [group.create_task(look_from(pool, host.name, urls, timeout)) for _, host in hosts]
            found.extend(seen for task in tasks for seen in task.result())

    run(main())
    now = time.time()
    if as_json:
        emit_json({"endpoints": [_object(seen, now) for seen in found]})
    else:
        _print(found, now)
    return 0 if all(seen.ok and seen.warning(now) is None for seen in found) else 1


def _object(seen: EndpointSeen, now: float) -> dict[str, Any]:
    from datetime import UTC, datetime

    ends = seen.certificate_ends
    return {
        "url": seen.url,
        "from": seen.seen_from,
        "ok": seen.ok and seen.warning(now) is None,
        "error": seen.error or seen.warning(now),
        "status": seen.status,
        "seconds": seen.seconds,
        "addresses": list(seen.addresses),
        "certificate_ends": datetime.fromtimestamp(ends, UTC).isoformat() if ends is not None else None,
    }


def _print(found: list[EndpointSeen], now: float) -> None:
    import sys

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from backends.probes.endpoints import PHASES

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("ENDPOINT", "FROM", "STATUS", *(phase.replace("_", " ").upper() for phase in PHASES), "CERTIFICATE", ""):
        table.add_column(title, justify="right" if title.lower().replace(" ", "_") in PHASES else "left")
    for seen in found:
        phases = [f"{seen.seconds[p] * 1000:.1f} ms" if p in seen.seconds else "-" for p in PHASES]
        ends = f"{(seen.certificate_ends - now) / 86400:.0f} days" if seen.certificate_ends is not None else "-"
        words = seen.error or seen.warning(now) or ""
        cells = (seen.url, seen.seen_from or "here", seen.status or "-", *phases, ends, words)
        table.add_row(*(Text(plain(cell, 200)) for cell in cells))
    Console(width=None if sys.stdout.isatty() else 400).print(table)
