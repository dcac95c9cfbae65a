"""`cutover resume`: lift the hold; after a rollback, arm anew."""

from __future__ import annotations

from typing import Any

import click

from backends.escape import plain
from console.output import command_body, emit_json, json_option, key_option, name_argument, say, state_option


@click.command("resume")
@name_argument
@click.option("--reason", default="", help="Into the journal; needed after a rollback.")
@key_option
@state_option
@json_option
@command_body
def command(name: str | None, reason: str, key: str, state_dir: str | None, as_json: bool) -> int:
    """Lift every hold. After rolled_back: back to phase staging, every gate anew.

    Example: cutover resume --reason "the driver is fixed"
    """
    from console.engine import command as give
    from console.engine import folder

    answer = give(folder(state_dir, name), "resume", {"reason": reason}, key=key)
    if as_json:
        emit_json(answer)
    else:
        say(_words(answer))
    return 0


def _words(answer: dict[str, Any]) -> str:
    held = "; ".join(f"{plain(h['by'])}: {plain(h['reason'])}" for h in answer["held"])
    phase = f", phase {answer['phase']}" if answer["phase"] else ""
    return f"resumed: state {answer['state']}{phase}" + (f", still held by {held}" if held else "")
