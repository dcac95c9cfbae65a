"""`cutover seat`: who may command, and taking it over."""

from __future__ import annotations

import click

from backends.errors import UsageError
from backends.escape import plain
from console.output import command_body, emit_json, json_option, key_option, name_argument, say, state_option


@click.command("seat")
@name_argument
@click.option("--take", is_flag=True, help="Take it, also from somebody else; both are told.")
@click.option("--release", is_flag=True, help="Leave it free: it goes to whoever commands next.")
@key_option
@state_option
@json_option
@command_body
def command(name: str | None, take: bool, release: bool, key: str, state_dir: str | None, as_json: bool) -> int:
    """Who holds the seat, which advance, resume and override need. A hold, a rollback and an evacuation need none.

    Example: cutover seat chat-2026 --take
    """
    from console.engine import command as give
    from console.engine import folder, snapshot

    if take and release:
        raise UsageError("--take and --release are the opposite of each other", hint="one of them")
    path = folder(state_dir, name)
    if take or release:
        give(path, "seat", {"take": take}, key=key)
    seat = snapshot(path).seat
    if as_json:
        emit_json(seat)
    else:
        say(
            f"the seat is held by {plain(seat.holder)}, since {seat.since:%Y-%m-%d %H:%M:%S} UTC"
            if seat.holder
            else "the seat is free"
        )
    return 0
