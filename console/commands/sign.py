"""`cutover sign`: answer for an item that no machine can check."""

from __future__ import annotations

import click

from console.output import command_body, emit_json, json_option, key_option, name_argument, say, state_option


@click.command("sign")
@click.argument("item")
@name_argument
@click.option("--reason", default="", help="Why: into the journal, and shown beside the item.")
@click.option("--withdraw", is_flag=True, help="Take the signature back.")
@key_option
@state_option
@json_option
@command_body
def command(item: str, name: str | None, reason: str, withdraw: bool, key: str, state_dir: str | None, as_json: bool) -> int:
    """Sign ITEM: what was done that no machine can check, or a preflight item that is waived (preflight:NAME).

    Example: cutover sign preflight:clocks --reason "the hosts have no date; checked by hand"
    """
    from console.engine import command as give
    from console.engine import folder

    answer = give(folder(state_dir, name), "sign", {"item": item, "reason": reason, "withdraw": withdraw}, key=key)
    if as_json:
        emit_json(answer)
    else:
        say(f"{answer['item']} {'signed' if answer['signed'] else 'is signed no longer'}")
    return 0
