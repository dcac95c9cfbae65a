"""`cutover check PLAN`: every problem of a plan at once. Offline: nothing is resolved, contacted or run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from backends.errors import NotYetSupported
from backends.escape import plain
from console.output import command_body, emit_json, json_option, say

if TYPE_CHECKING:
    from backends.plan.excerpt import Excerpts
    from backends.plan.load import CheckedPlan
    from backends.plan.problems import Problem, Severity

_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.command(
    "check",
    epilog="Example: cutover check plan.yaml\n\nExit code: 0 without errors (warnings may be there), 1 with errors.",
)
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--live", is_flag=True, help="Ask both sides too (SSH, GPUs, stores, routes). Not yet supported.")
@json_option
@command_body
def command(plan: Path, live: bool, as_json: bool) -> int:
    """Check the plan file PLAN: syntax, references, units, contradictions, all at once.

    No secret is resolved and nothing is contacted.
    """
    from backends.plan.load import check_plan, require_read

    if live:
        raise NotYetSupported(
            "check --live is not yet supported", where="--live", hint="leave --live out: the plan itself is checked in full"
        )
    checked = require_read(check_plan(plan))
    if as_json:
        emit_json(as_object(checked))
    else:
        for line in report_lines(checked):
            say(line)
    return 0 if checked.is_good else 1


def as_object(checked: CheckedPlan) -> dict[str, object]:
    """The contract's object: `ok` and `problems[]`, and which plan it was."""
    return {
        "ok": checked.is_good,
        "plan": str(checked.path),
        "hash": checked.hash,
        "problems": [problem.as_json() for problem in checked.problems],
    }


def report_lines(checked: CheckedPlan) -> list[str]:
    """The report for people: errors first, each problem with its line of the plan, a count at the end."""
    from backends.plan.excerpt import Excerpts

    excerpts = Excerpts(checked.text)
    lines: list[str] = []
    severities: tuple[Severity, ...] = ("error", "warning", "note")
    for severity in severities:
        for problem in checked.problems:
            if problem.severity == severity:
                lines += [*_block(problem, excerpts), ""]
    return [*lines, _summary(checked)]


def _block(problem: Problem, excerpts: Excerpts) -> list[str]:
    word = click.style(problem.severity.upper(), fg=_COLOURS[problem.severity], bold=True)
    head = f"{word} {plain(problem.where)}" + click.style(f"  [{problem.code}]", dim=True)
    block = [head]
    text = excerpts.line(problem.line)
    if text:
        block.append(click.style(f"  {problem.line:>4} | ", dim=True) + text)
    block.append(f"  {plain(problem.message)}")
    if problem.hint:
        block.append(f"  hint: {plain(problem.hint)}")
    return block


def _summary(checked: CheckedPlan) -> str:
    counts = []
    for severity, colour in _COLOURS.items():
        count = sum(p.severity == severity for p in checked.problems)
        if count:
            counts.append(click.style(f"{count} {severity}{'s' if count > 1 else ''}", fg=colour, bold=True))
    name = plain(str(checked.path))
    if not checked.is_good:
        return f"{name}: {', '.join(counts)}"
    good = click.style("good", fg="green", bold=True)
    return f"{name}: {good}" + (f", with {' and '.join(counts)}" if counts else "")
