"""`cutover advance`: one step forward."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from backends.errors import RefusedByRule
from backends.escape import plain
from console.output import command_body, emit_json, json_option, key_option, name_argument, say, state_option


@click.command("advance")
@name_argument
@click.option("--reason", default="", help="Into the journal.")
@click.option("--route", help="Only this route.")
@click.option("--dry-run", is_flag=True, help="Print the executor's own steps, and their hash, and change nothing.")
@click.option("--preview-hash", help="Only if it is still what a dry run with this hash has shown.")
@key_option
@state_option
@json_option
@command_body
def command(
    name: str | None,
    reason: str,
    route: str | None,
    dry_run: bool,
    preview_hash: str | None,
    key: str,
    state_dir: str | None,
    as_json: bool,
) -> int:
    """One step forward: the next phase, or the next weight of each route. Returns when it is CONFIRMED, or refused (exit 3).

    Example: cutover advance --reason "gates have passed"
    """
    from console.engine import command as give
    from console.engine import folder

    path = folder(state_dir, name)
    if dry_run:
        return _dry_run(path, route, as_json)
    answer = give(path, "advance", {"reason": reason, "route": route, "preview_hash": preview_hash}, key=key)
    if as_json:
        emit_json(answer)
    else:
        say(f"{answer['moved']}: {answer['state']}")
    return 0


def _dry_run(path: Path, route: str | None, as_json: bool) -> int:
    from console.engine import talk

    args: dict[str, Any] = {"route": route}
    preview = talk(path, lambda client: client.preview("advance", args))
    if as_json:
        emit_json(preview)
        return 0 if preview.allowed else 3
    if not preview.allowed:
        raise RefusedByRule(preview.refused_by or "STATE", preview.reason, hint=preview.would_allow)
    for number, step in enumerate(preview.steps, 1):
        say(f"  {number}. {plain(step.text)}")
    say(f"  hash {preview.hash}")
    return 0
