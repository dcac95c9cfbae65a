"""`cutover backup`: take a backup of a dataset now, and try it."""

from __future__ import annotations

import click

from backends.escape import plain
from console.output import command_body, emit_json, json_option, key_option, name_argument, say, state_option


@click.command("backup")
@click.argument("dataset")
@name_argument
@key_option
@state_option
@json_option
@command_body
def command(dataset: str, name: str | None, key: str, state_dir: str | None, as_json: bool) -> int:
    """Take a backup of DATASET now, as `backups` of the plan says, and restore a sample of it on trial.

    Exit code: 0 where the trial was good, 1 where it was not.

    Example: cutover backup checkpoints
    """
    from console.engine import command as give
    from console.engine import folder
    from widgets.figures import size

    answer = give(folder(state_dir, name), "backup", {"dataset": dataset}, key=key)
    held = answer["backup"]
    if as_json:
        emit_json(answer)
    else:
        say(
            f"backup {held['number']} of {plain(dataset)}: {held['objects']} objects, {size(held['bytes'])}, {plain(held['where'])}"
        )
        say(f"  {plain(held['text'])}")
    return 0 if held["good"] else 1
