"""`cutover status`: the state without a console."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from console.output import command_body, emit_json, json_option, name_argument, say, state_option

if TYPE_CHECKING:
    from backends.snapshot import Snapshot

LOOK_AGAIN = 1.0  # seconds between two looks for an engine that is gone


@click.command("status")
@name_argument
@click.option("--watch", is_flag=True, help="Go on until interrupted: what has changed, as lines; with --json a snapshot a line.")
@state_option
@json_option
@command_body
def command(name: str | None, watch: bool, state_dir: str | None, as_json: bool) -> int:
    """State, weights, gates, triggers, lag, GPUs and rollback readiness; with no engine the journal's last word.

    Example: cutover status chat-2026
    """
    from console.commands.transfer_bar import run
    from console.engine import folder, snapshot
    from console.status_text import status_lines

    path = folder(state_dir, name)
    if watch:
        run(_watch(path, as_json))
        return 0
    now = snapshot(path)
    if as_json:
        emit_json(now)
    else:
        for line in status_lines(now):
            say(line)
    return 0


async def _watch(path: Path, as_json: bool) -> None:
    """Every change, until interrupted; an engine that goes is told, and followed again when it is back."""
    from backends.engine.client import EngineClient
    from backends.engine.errors import EngineGone
    from backends.engine.paths import socket_of
    from console.engine import journal_snapshot

    printer = _Printer(as_json)
    told_gone = False
    while True:
        try:
            async with EngineClient(socket_of(path)) as client:
                async for now in client.events():
                    printer.show(now)
                    told_gone = False
        except EngineGone:
            if not told_gone:
                printer.show(await asyncio.to_thread(journal_snapshot, path))
                told_gone = True
        await asyncio.sleep(LOOK_AGAIN)


class _Printer:
    """Prints the lines that were not there before; with JSON each snapshot on a line of its own."""

    def __init__(self, as_json: bool) -> None:
        self._as_json = as_json
        self._shown: set[str] = set()

    def show(self, now: Snapshot) -> None:
        from console.status_text import status_lines

        if self._as_json:
            sys.stdout.write(now.model_dump_json() + "\n")
            sys.stdout.flush()
            return
        lines = list(status_lines(now))
        for line in lines:
            if line not in self._shown:
                say(f"{now.at:%H:%M:%S} {line}")
        self._shown = set(lines)
