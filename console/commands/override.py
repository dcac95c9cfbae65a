"""`cutover override`: lift one rule for a time."""

from __future__ import annotations

import click

from backends.errors import UsageError
from backends.escape import plain
from console.output import command_body, emit_json, json_option, key_option, name_argument, say, state_option


@click.command("override")
@click.argument("rule")
@name_argument
@click.option("--reason", default="", help="Into the journal, the console and the report; needed.")
@click.option("--for", "length", default="", help="How long, observed time: 2h, 30min; at most 72h.")
@click.option("--end", is_flag=True, help="Take an override back.")
@key_option
@state_option
@json_option
@command_body
def command(
    rule: str, name: str | None, reason: str, length: str, end: bool, key: str, state_dir: str | None, as_json: bool
) -> int:
    """Lift one rule (GATE, SOAK, WINDOW, NO_CHANGES, SR3, SR5) for a time; never SR1, SR2, SR4. It ends by itself. Needs the seat.

    Example: cutover override SOAK chat-2026 --reason "seen for a day in staging" --for 2h
    """
    from console.engine import command as give
    from console.engine import folder
    from widgets.figures import duration

    if not end and not (reason and length):
        raise UsageError("an override needs a reason and a time", hint="--reason TEXT --for 2h")
    args = {"rule": rule, "reason": reason, "end": end} | ({"for": length} if length else {})
    answer = give(folder(state_dir, name), "override", args, key=key)
    if as_json:
        emit_json(answer)
        return 0
    for held in answer["overrides"]:
        say(f"{plain(held['rule'])} is overridden for {duration(held['seconds_left'])} more: {plain(held['reason'])}")
    if not answer["overrides"]:
        say("no rule is overridden")
    return 0
