"""`cutover status`: the state without a console."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from console.output import command_body, emit_json, json_option, say, state_option


@click.command("status")
@click.argument("name", required=False)
@click.option("--watch", is_flag=True, help="Print again whenever something has changed.")
@state_option
@json_option
@command_body
def command(name: str | None, watch: bool, state_dir: str | None, as_json: bool) -> int:
    """State, weights, gates, triggers, lag, GPUs and rollback readiness; with no engine the journal's last word.

    Example: cutover status chat-2026
    """
    from console.engine import folder, snapshot
    from console.status_text import status_lines

    path = folder(state_dir, name)
    if watch:
        return asyncio.run(_watch(path, as_json))
    now = snapshot(path)
    if as_json:
        emit_json(now)
    else:
        for line in status_lines(now):
            say(line)
    return 0


async def _watch(path: Path, as_json: bool) -> int:
    """Lines that changed since they were last printed, until interrupted or the engine ends."""
    from backends.engine.client import EngineClient
    from backends.engine.paths import socket_of
    from console.status_text import status_lines

    shown: set[str] = set()
    async with EngineClient(socket_of(path)) as client:
        async for now in client.events():
            if as_json:
                sys.stdout.write(now.model_dump_json() + "\n")
                sys.stdout.flush()
                continue
            lines = list(status_lines(now))
            for line in lines:
                if line not in shown:
                    say(f"{now.at:%H:%M:%S} {line}")
            shown = set(lines)
    return 0
