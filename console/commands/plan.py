"""`cutover plan PLAN`: the planning room."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from console.commands.attach import THEME_NAMES
from console.output import command_body


@click.command("plan", epilog="Example: cutover plan plan.yaml\n\nExit code: 0 the plan is good, 1 it has errors.")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--theme", type=click.Choice(THEME_NAMES), help="The colours; chosen by the terminal otherwise.")
@click.option("--mouse", is_flag=True, help="Mouse on, also over SSH.")
@click.option("--plain", is_flag=True, help="ASCII signs only.")
@command_body
def command(plan: Path, theme: str | None, mouse: bool, plain: bool) -> int:
    """Open the planning room: the plan's findings, worked down as the file is mended beside it; its workloads' GPUs on both sides; its
    estimate, with a what-if. Contacts nobody and needs no engine.
    """
    from backends.plan.load import check_plan, require_read
    from console.terminal import check_can_draw, read_terminal

    require_read(check_plan(plan))
    check_can_draw(os.environ, is_tty=sys.stdin.isatty() and sys.stdout.isatty())
    terminal = read_terminal(os.environ, theme=theme, mouse=mouse, plain=plain)
    from console.planning import PlanningApp

    app = PlanningApp(plan, terminal=terminal)
    code = app.run(mouse=terminal.mouse)
    return app.return_code or code or 0
