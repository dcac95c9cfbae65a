"""`cutover up`: start the engine, or find it, and open the console."""

from __future__ import annotations

from pathlib import Path

import click

from console.output import command_body, emit_json, json_option, say, state_option


@click.command("up")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--detach", is_flag=True, help="Return when the engine answers, with what `status` prints.")
@click.option("--observe", is_flag=True, help="Only watch.")
@state_option
@json_option
@command_body
def command(plan: Path, detach: bool, observe: bool, state_dir: str | None, as_json: bool) -> int:
    """Start the engine of PLAN (or find it) and open the console.

    Example: cutover up plan.yaml
    """
    from backends.plan.load import load_plan
    from backends.statedir import state_dir as folder_of
    from console.engine import ensure_engine, snapshot
    from console.status_text import status_lines

    checked = load_plan(plan)
    assert checked.plan is not None
    path = folder_of(state_dir, checked.plan.name)
    ensure_engine(path, plan)
    if detach or as_json:
        now = snapshot(path)
        if as_json:
            emit_json(now)
        else:
            for line in status_lines(now):
                say(line)
        return 0
    from console.attach import run_console
    from console.engine import starter

    return run_console(path, checked.plan.name, observe=observe, start_engine=starter(path))
