"""`cutover evacuate`: all weight to a living target, legacy being dead."""

from __future__ import annotations

from typing import Any

import click

from console.commands.rollback import ask_name, may_begin, show_steps
from console.output import command_body, emit_json, json_option, key_option, name_argument, say, state_option, tell


@click.command("evacuate")
@name_argument
@click.option("--dry-run", "only_look", is_flag=True, help="Print the executor's own steps and what is lost, and change nothing.")
@click.option("--confirm", help="The migration's name; without it the name is asked for on the terminal.")
@click.option("--accept-unknown", is_flag=True, help="Legacy cannot be seen, and you know that it is dead.")
@click.option("--reason", default="", help="Into the journal.")
@key_option
@state_option
@json_option
@command_body
def command(
    name: str | None,
    only_look: bool,
    confirm: str | None,
    accept_unknown: bool,
    reason: str,
    key: str,
    state_dir: str | None,
    as_json: bool,
) -> int:
    """All weight to a living target when legacy has died; exempt from hold, soak and spacing. Starts the engine where none runs.

    Example: cutover evacuate chat-2026 --confirm chat-2026
    """
    from console.engine import command as give
    from console.engine import ensure_engine, folder

    path = folder(state_dir, name)
    args: dict[str, Any] = {"accept_unknown": accept_unknown}
    if only_look:
        return show_steps(path, "evacuate", args, as_json)
    may_begin(path, confirm, "evacuation")
    if ensure_engine(path):
        tell("no engine was running: started it")
    if confirm is None:
        confirm, args["preview_hash"] = ask_name(path, "evacuate", args)
    answer = give(path, "evacuate", args | {"confirm": confirm, "reason": reason}, key=key)
    if as_json:
        emit_json(answer)
    else:
        say(f"{answer['state']}, held: every route and every writer is on target")
    return 0
