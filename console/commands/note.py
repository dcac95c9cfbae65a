"""`cutover note`: what was learnt, for the report."""

from __future__ import annotations

import click

from console.output import command_body, emit_json, json_option, key_option, name_argument, say, state_option


@click.command("note")
@click.argument("text")
@name_argument
@key_option
@state_option
@json_option
@command_body
def command(text: str, name: str | None, key: str, state_dir: str | None, as_json: bool) -> int:
    """Write what was learnt into the journal; the report has it under lessons learned.

    Example: cutover note "the loss gate should have had epoch 5 as well" chat-2026
    """
    from console.engine import command as give
    from console.engine import folder

    answer = give(folder(state_dir, name), "note", {"text": text}, key=key)
    if as_json:
        emit_json(answer)
    else:
        say("noted")
    return 0
