"""`cutover hold`: stop forward movement."""

from __future__ import annotations

import click

from console.output import command_body, emit_json, json_option, key_option, name_argument, say, state_option


@click.command("hold")
@name_argument
@click.option("--reason", default="", help="Into the journal, and shown to all who watch.")
@key_option
@state_option
@json_option
@command_body
def command(name: str | None, reason: str, key: str, state_dir: str | None, as_json: bool) -> int:
    """Nothing moves forward until `cutover resume`; rollback stays possible.

    Example: cutover hold --reason "looking at latencies"
    """
    from console.engine import command as give
    from console.engine import folder

    answer = give(folder(state_dir, name), "hold", {"reason": reason}, key=key)
    if as_json:
        emit_json(answer)
    else:
        say(f"held in state {answer['state']}: cutover resume lifts it")
    return 0
