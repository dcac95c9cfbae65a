"""`cutover restore`: bring back on legacy what is damaged there, from a backup."""

from __future__ import annotations

from typing import Any

import click

from backends.escape import plain
from console.output import command_body, emit_json, json_option, key_option, name_argument, say, state_option, tell


@click.command("restore")
@click.argument("dataset")
@name_argument
@click.option("--from", "number", type=click.IntRange(min=1), help="The number of the backup; the last one without it.")
@click.option("--whole", is_flag=True, help="All that legacy lacks or has otherwise than the backup; needs --confirm.")
@click.option("--confirm", default="", help="The migration's name, for --whole.")
@click.option("--dry-run", is_flag=True, help="Print the steps and change nothing.")
@key_option
@state_option
@json_option
@command_body
def command(
    dataset: str,
    name: str | None,
    number: int | None,
    whole: bool,
    confirm: str,
    dry_run: bool,
    key: str,
    state_dir: str | None,
    as_json: bool,
) -> int:
    """Restore DATASET on legacy where backup and target agree and legacy differs: into a side place, compared, then swapped.

    What stands on legacy is kept aside. Starts the engine where none runs, but for --dry-run. Exit code: 0 where nothing is left that differs, else 1.

    Example: cutover restore checkpoints --dry-run
    """
    from console.engine import command as give
    from console.engine import ensure_engine, folder

    path = folder(state_dir, name)
    if not dry_run and ensure_engine(path):
        tell("no engine was running: started it")
    args: dict[str, Any] = {"dataset": dataset, "whole": whole, "dry_run": dry_run, "confirm": confirm}
    answer = give(path, "restore", args | ({} if number is None else {"number": number}), key=key)
    told = answer["restore"]
    if as_json:
        emit_json(answer)
    else:
        for line in _steps(told) if dry_run else [plain(told["text"])]:
            say(line)
    return 1 if told["left"] else 0


def _steps(told: dict[str, Any]) -> list[str]:
    from widgets.figures import size

    head = f"restore {plain(told['dataset'])} from backup {told['number']}: {told['objects']} objects, {size(told['bytes'])}"
    lines = [head, *(f"  {i}. {plain(step, 600)}" for i, step in enumerate(told["steps"], 1))]
    return [*lines, *(f"  left as it is: {plain(left['key'])}: {plain(left['reason'])}" for left in told["left"])]
