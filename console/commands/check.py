"""`cutover check PLAN`: every problem of a plan at once. Offline nothing is resolved, contacted or run; `--live` asks both sides."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from backends.errors import UsageError
from backends.escape import plain
from console.commands.accept_new import accept_keys, accept_option
from console.commands.transfer_bar import plan_pool, run, with_ssh
from console.output import command_body, emit_json, json_option, say, tell

if TYPE_CHECKING:
    from backends.live.found import LiveProblem
    from backends.live.look import Looked
    from backends.plan.excerpt import Excerpts
    from backends.plan.load import CheckedPlan
    from backends.plan.problems import Problem, Severity

_COLOURS = {"error": "red", "warning": "yellow", "note": "cyan"}


@click.command(
    "check",
    epilog="Example: cutover check plan.yaml --live\n\nExit code: 0 without errors (warnings may be there), 1 with errors.",
)
@click.argument("plan", type=click.Path(path_type=Path))
@click.option(
    "--live", is_flag=True, help="Ask both sides too: hosts, GPUs, drivers, stores, routes, secrets. Changes nothing there."
)
@accept_option
@json_option
@with_ssh
@command_body
def command(
    plan: Path, live: bool, accepted: tuple[str, ...], as_json: bool, ssh_config: str | None, known_hosts: str | None
) -> int:
    """Check the plan file PLAN: syntax, references, units, contradictions, all at once.

    Without --live no secret is resolved and nothing is contacted. With it a plan that has errors is not looked at any further.
    """
    if accepted and not live:
        raise UsageError(
            "--accept-new asks the host for its key: it goes with --live", hint=f"cutover check {plain(str(plan))} --live"
        )
    from backends.plan.load import check_plan, require_read

    checked = require_read(check_plan(plan))
    if accepted and checked.is_good:
        _accept(checked, accepted, ssh_config, known_hosts)
    looked = _look(checked, ssh_config, known_hosts) if live and checked.is_good else None
    if as_json:
        emit_json(as_object(checked, looked))
    else:
        for line in report_lines(checked, looked):
            say(line)
    if live and looked is None:
        tell("cutover: the plan has errors: neither side was asked")
    return 0 if checked.is_good and (looked is None or looked.is_good) else 1


def _accept(checked: CheckedPlan, accepted: tuple[str, ...], ssh_config: str | None, known_hosts: str | None) -> None:
    from backends.probes.hosts import ssh_hosts, ssh_settings

    assert checked.plan is not None
    settings = ssh_settings(checked.plan, checked.path.absolute().parent).over(ssh_config, known_hosts)
    run(accept_keys(settings, [host for _, host in ssh_hosts(checked.plan)], accepted))


def _look(checked: CheckedPlan, ssh_config: str | None, known_hosts: str | None) -> Looked:
    from backends.live.look import look_live

    plan, base = checked.plan, checked.path.absolute().parent
    assert plan is not None
    found: list[Looked] = []

    async def look() -> None:
        async with plan_pool(plan, base, ssh_config, known_hosts) as pool:
            found.append(await look_live(checked, pool))

    run(look())
    return found[0]


def as_object(checked: CheckedPlan, looked: Looked | None = None) -> dict[str, object]:
    """The contract's object: `ok` and `problems[]`, and which plan it was; of a live look how much was asked, too."""
    out: dict[str, object] = {
        "ok": checked.is_good and (looked is None or looked.is_good),
        "plan": str(checked.path),
        "hash": checked.hash,
        "problems": [problem.as_json() for problem in checked.problems],
    }
    if looked is not None:
        out["problems"] = [p.as_json() for p in checked.problems] + [p.as_json() for p in looked.problems]
        out["live"] = {
            "hosts": looked.hosts,
            "stores": looked.stores,
            "routes": looked.routes,
            "seconds": round(looked.seconds, 3),
        }
    return out


def report_lines(checked: CheckedPlan, looked: Looked | None = None) -> list[str]:
    """The report for people: errors first, each problem with its line of the plan, a count at the end."""
    from backends.plan.excerpt import Excerpts

    excerpts = Excerpts(checked.text)
    lines: list[str] = []
    severities: tuple[Severity, ...] = ("error", "warning", "note")
    live = looked.problems if looked is not None else ()
    for severity in severities:
        for problem in checked.problems:
            if problem.severity == severity:
                lines += [*_block(problem, excerpts), ""]
        for found in live:
            if found.problem.severity == severity:
                lines += [*_block(found.problem, excerpts, found), ""]
    return [*lines, _summary(checked, looked)]


def _block(problem: Problem, excerpts: Excerpts, live: LiveProblem | None = None) -> list[str]:
    word = click.style(problem.severity.upper(), fg=_COLOURS[problem.severity], bold=True)
    head = f"{word} {plain(problem.where)}" + click.style(f"  [{problem.code}]", dim=True)
    block = [head]
    text = excerpts.line(problem.line)
    if text:
        block.append(click.style(f"  {problem.line:>4} | ", dim=True) + text)
    block.append(f"  {plain(problem.message)}")
    if live is not None and live.evidence:
        block.append(f"  seen: {plain(live.evidence)}")
    return [*block, f"  cure: {plain(problem.hint)}"]


def _summary(checked: CheckedPlan, looked: Looked | None) -> str:
    problems = [*checked.problems, *(p.problem for p in (looked.problems if looked is not None else ()))]
    counts = []
    for severity, colour in _COLOURS.items():
        count = sum(p.severity == severity for p in problems)
        if count:
            counts.append(click.style(f"{count} {severity}{'s' if count > 1 else ''}", fg=colour, bold=True))
    name = plain(str(checked.path))
    asked = ""
    if looked is not None:
        asked = f" ({looked.hosts} hosts, {looked.stores} stores, {looked.routes} routes asked in {looked.seconds:.1f} s)"
    if any(p.severity == "error" for p in problems):
        return f"{name}: {', '.join(counts)}{asked}"
    good = click.style("good", fg="green", bold=True)
    return f"{name}: {good}" + (f", with {' and '.join(counts)}" if counts else "") + asked
