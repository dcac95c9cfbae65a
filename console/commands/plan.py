"""`cutover plan PLAN`: the planning room."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from console.commands.attach import THEME_NAMES
from console.commands.transfer_bar import with_ssh
from console.output import command_body, emit_json, json_option

if TYPE_CHECKING:
    from backends.plan.load import CheckedPlan


@click.command("plan", epilog="Example: cutover plan plan.yaml\n\nExit code: 0 the plan is good, 1 it has errors.")
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--theme", type=click.Choice(THEME_NAMES), help="The colours; chosen by the terminal otherwise.")
@click.option("--mouse", is_flag=True, help="Mouse on, also over SSH.")
@click.option("--plain", is_flag=True, help="ASCII signs only.")
@json_option
@with_ssh
@command_body
def command(
    plan: Path, theme: str | None, mouse: bool, plain: bool, as_json: bool, ssh_config: str | None, known_hosts: str | None
) -> int:
    """Open the planning room: the plan's findings, worked down as the file is mended beside it; its workloads' GPUs on both sides; its
    estimate, with a what-if; both sides checked live. Contacts nobody before that is asked for, and needs no engine. With --json the same
    facts but the live ones (cutover check --live), and no screen.
    """
    from backends.plan.load import check_plan, require_read
    from console.terminal import check_can_draw, read_terminal

    checked = require_read(check_plan(plan))
    if as_json:
        emit_json(as_object(checked))
        return 0 if checked.is_good else 1
    check_can_draw(os.environ, is_tty=sys.stdin.isatty() and sys.stdout.isatty())
    terminal = read_terminal(os.environ, theme=theme, mouse=mouse, plain=plain)
    from console.live_view import LiveView, look_by_ssh
    from console.planning import PlanningApp

    look = partial(look_by_ssh, ssh_config=ssh_config, known_hosts=known_hosts)
    app = PlanningApp(plan, terminal=terminal, live=LiveView(look))
    code = app.run(mouse=terminal.mouse)
    return app.return_code or code or 0


def as_object(checked: CheckedPlan) -> dict[str, Any]:
    """What `check` and `estimate --no-listing` tell, and the cards of each workload; `estimate` is null where the plan has errors."""
    from datetime import UTC, datetime

    from backends.catalog.mapping import mapping_of
    from console.commands import check, estimate
    from console.what_if import estimated

    found: dict[str, Any] = {**check.as_object(checked), "mapping": [], "estimate": None}
    if checked.plan is None:
        return found
    for mapped in mapping_of(checked.plan):
        one = mapped.found
        found["mapping"].append(
            {
                "workload": mapped.workload,
                "kind": mapped.kind,
                "legacy": mapped.legacy,
                "target": mapped.target,
                "count": mapped.count,
                "problem": mapped.problem,
                "ratio": one.ratio if one is not None else None,
                "fits": one.fits if one is not None else None,
                "cost_change": one.cost_change if one is not None else None,
                "work_cost_change": one.work_change if one is not None else None,
                "warnings": list(one.warnings) if one is not None else [],
                "nearer": [other.gpu.name for other in mapped.nearer],
            }
        )
    found["estimate"] = estimate.as_object(estimated(checked.plan, datetime.now(UTC).date()), {})
    return found
