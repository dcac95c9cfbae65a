"""`cutover reconfigure PLAN`: legacy's environment and configuration for target, as a diff or as a new tree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backends.errors import UsageError
from backends.escape import plain
from console.commands.transfer_bar import Interrupted, plan_pool, run, with_ssh
from console.output import command_body, emit_json, json_option, say

if TYPE_CHECKING:
    from backends.plan.load import CheckedPlan
    from backends.plan.models import Plan
    from backends.reconfigure.mapping import Mapping
    from backends.reconfigure.processes import HostSeen
    from backends.reconfigure.tree import Outcome

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@click.command(
    "reconfigure",
    epilog="Example: cutover reconfigure plan.yaml --apply\n\nExit code: 0 nothing points at legacy any more, 1 something does, 3 it would be written over what is there.",
)
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--apply", "write", is_flag=True, help="Write the new tree. Otherwise only the diff is shown.")
@click.option("--replace", is_flag=True, help="With --apply: also files of the new tree that are there and differ.")
@click.option("--live", is_flag=True, help="Look at the processes on target's hosts too: whose environment still names legacy?")
@click.option("--rules", "only_rules", is_flag=True, help="Show the rules, the plan's and those that follow from it, and end.")
@json_option
@with_ssh
@command_body
def command(
    plan: Path,
    write: bool,
    replace: bool,
    live: bool,
    only_rules: bool,
    as_json: bool,
    ssh_config: str | None,
    known_hosts: str | None,
) -> int:
    """Map legacy's configuration to target by the plan's rules and by those that follow from its stores and hosts, never over the
    original, and tell what still points at legacy.
    """
    from backends.plan.load import load_plan
    from backends.reconfigure.mapping import Mapping
    from backends.reconfigure.tree import rewrite
    from backends.reconfigure.tree import write as write_tree

    if replace and not write:
        raise UsageError("--replace goes with --apply")
    checked = load_plan(plan)
    spec = checked.plan
    assert spec is not None
    mapping = Mapping(spec)
    if only_rules:
        return _say_rules(spec, mapping, as_json=as_json)
    if (spec.reconfigure is None or not spec.reconfigure.files) and not live:
        raise UsageError(
            "the plan names no files to reconfigure",
            where="reconfigure.files",
            hint="files: [{from: ./config, to: ./config-target}]",
        )
    outcome = rewrite(spec.reconfigure.files if spec.reconfigure else (), mapping, checked.base)
    written = write_tree(outcome, replace=replace) if write else 0
    try:
        hosts = _look(checked, mapping, ssh_config, known_hosts) if live else []
    except Interrupted:
        return 130
    if as_json:
        emit_json(_as_object(outcome, hosts, written))
    else:
        _say(outcome, hosts, written, applied=write)
    if any(host.error for host in hosts):
        return 4
    return 1 if outcome.left or any(host.found for host in hosts) else 0


def _look(checked: CheckedPlan, mapping: Mapping, ssh_config: str | None, known_hosts: str | None) -> list[HostSeen]:
    from backends.reconfigure.processes import look_at_hosts

    plan = checked.plan
    assert plan is not None
    found: list[HostSeen] = []

    async def main() -> None:
        async with plan_pool(plan, checked.base, ssh_config, known_hosts) as pool:
            found.extend(await look_at_hosts(plan, mapping, pool))

    run(main())
    return found


def _say_rules(plan: Plan, mapping: Mapping, *, as_json: bool) -> int:
    own = len(plan.reconfigure.rules) if plan.reconfigure else 0
    rows = [
        {"replace": r.replace, "match": r.match, "key": r.key, "with": r.with_, "from": "plan" if i < own else "derived"}
        for i, r in enumerate(mapping.rules)
    ]
    if as_json:
        emit_json({"rules": rows})
        return 0
    for row in rows:
        what = row["replace"] or row["match"] or ""
        where = f" in {plain(row['key'])}" if row["key"] else ""
        say(f"{row['from']:<8}{plain(what)}{where} -> {plain(row['with'] or '')}")
    return 0


def _as_object(outcome: Outcome, hosts: list[HostSeen], written: int) -> dict[str, Any]:
    return {
        "ok": not outcome.left and not any(host.found or host.error for host in hosts),
        "changed": outcome.changed,
        "written": written,
        "files": [
            {
                "source": str(f.source),
                "target": str(f.target),
                "format": f.format,
                "changed": f.is_changed,
                "reason": f.reason,
                "diff": f.diff(),
            }
            for f in outcome.files
        ],
        "left": [{"where": one.where, "kind": one.kind, "text": one.text} for one in outcome.left],
        "passed_over": [{"where": one.where, "kind": one.kind, "text": one.text} for one in outcome.passed_over],
        "hosts": [
            {
                "name": host.host,
                "error": host.error,
                "unseen": host.unseen,
                "processes": [
                    {"pid": p.pid, "command": p.command, "variable": p.variable, "kind": p.kind, "text": p.text}
                    for p in host.found
                ],
            }
            for host in hosts
        ],
    }


def _say(outcome: Outcome, hosts: list[HostSeen], written: int, *, applied: bool) -> None:
    for file in outcome.files:
        for line in file.diff():
            say(click.style(line, fg=_COLOURS.get(line[:1]), bold=line.startswith(("---", "+++"))))
    for one in outcome.passed_over:
        say(f"passed over  {plain(one.where)}  {plain(one.kind)}: {plain(one.text)}")
    for one in outcome.left:
        say(f"{click.style('legacy', fg='yellow')}  {plain(one.where)}  {plain(one.kind)}: {plain(one.text)}")
    for host in hosts:
        if host.error:
            say(f"{click.style('not asked', fg='red')}  {plain(host.host)}  {plain(host.error)}")
        for process in host.found:
            where = process.variable or "its command line"
            say(
                f"{click.style('legacy', fg='yellow')}  {plain(host.host)} pid {process.pid} {process.command}: {where} names {process.text}"
            )
        if host.unseen:
            say(f"{plain(host.host)}: the environment of {host.unseen} processes of others could not be read")
    done = f"{written} files written" if applied else "nothing was written: --apply does"
    say(
        f"{len(outcome.files)} files, {outcome.changed} changed, {len(outcome.left)} places still point at legacy or need a hand; {done}"
    )
