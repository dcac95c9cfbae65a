"""`cutover approve`: the second person's yes."""

from __future__ import annotations

import os

import click

from backends.errors import RefusedByRule
from backends.escape import plain
from console.output import command_body, emit_json, json_option, key_option, name_argument, say, state_option


@click.command("approve")
@name_argument
@click.option("--as", "person", default="", help="Your name, where you share a uid with who asked: shown as unverified.")
@click.option("--dry-run", "only_look", is_flag=True, help="Show what was asked for, and change nothing.")
@click.option("--preview-hash", help="Only if it is still what a dry run with this hash has shown.")
@click.option("--reason", default="", help="Into the journal.")
@key_option
@state_option
@json_option
@command_body
def command(
    name: str | None,
    person: str,
    only_look: bool,
    preview_hash: str | None,
    reason: str,
    key: str,
    state_dir: str | None,
    as_json: bool,
) -> int:
    """Approve what another operator has asked for; it is then done, to CONFIRMED, or refused (exit 3).

    Example: cutover approve chat-2026 --dry-run
    """
    from console.engine import command as give
    from console.engine import folder, talk

    path = folder(state_dir, name)
    if person:
        os.environ["CUTOVER_ACTOR"] = person
    if only_look:
        preview = talk(path, lambda client: client.preview("approve"))
        if as_json:
            emit_json(preview)
            return 0 if preview.allowed else 3
        if not preview.allowed:
            raise RefusedByRule(preview.refused_by or "APPROVAL", preview.reason, hint=preview.would_allow)
        say(plain(preview.reason))
        for number, step in enumerate(preview.steps, 1):
            say(f"  {number}. {plain(step.text)}")
        say(f"  hash {preview.hash}")
        return 0
    answer = give(path, "approve", {"reason": reason, "preview_hash": preview_hash}, key=key)
    if as_json:
        emit_json(answer)
    else:
        say(f"{plain(answer['moved'])}: {answer['state']}")
    return 0
