"""`cutover advance`: one step forward."""

from __future__ import annotations

import click

from console.output import command_body, emit_json, json_option, name_argument, say, state_option


@click.command("advance")
@name_argument
@click.option("--reason", default="", help="Into the journal.")
@click.option("--route", help="Only this route.")
@state_option
@json_option
@command_body
def command(name: str | None, reason: str, route: str | None, state_dir: str | None, as_json: bool) -> int:
    """One step forward: the next phase, or the next weight of each route. Returns when it is CONFIRMED, or refused (exit 3).

    Example: cutover advance --reason "gates have passed"
    """
    from console.engine import command as give
    from console.engine import folder

    answer = give(folder(state_dir, name), "advance", {"reason": reason, "route": route})
    if as_json:
        emit_json(answer)
    else:
        say(f"{answer['moved']}: {answer['state']}")
    return 0
