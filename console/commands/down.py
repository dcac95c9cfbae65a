"""`cutover down`: end the engine."""

from __future__ import annotations

import time

import click

from backends.errors import CouldNot
from console.output import command_body, emit_json, json_option, name_argument, say, state_option

LIMIT = 30.0


@click.command("down")
@name_argument
@click.option("--anyway", is_flag=True, help="Although the target carries traffic that nobody would watch.")
@state_option
@json_option
@command_body
def command(name: str | None, anyway: bool, state_dir: str | None, as_json: bool) -> int:
    """End the engine when nothing is in flight; the journal stays, `cutover up` goes on from it.

    Example: cutover down chat-2026
    """
    from backends.engine.lock import is_locked
    from console.engine import command as give
    from console.engine import folder

    path = folder(state_dir, name)
    answer = give(path, "down", {"anyway": anyway})
    deadline = time.monotonic() + LIMIT
    while is_locked(path):
        if time.monotonic() > deadline:
            raise CouldNot("the engine has not ended yet", where=str(path), hint="engine.log there says why")
        time.sleep(0.05)
    if as_json:
        emit_json(answer)
    else:
        say("the engine has ended")
    return 0
