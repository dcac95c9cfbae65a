"""`cutover verify PLAN`: both sides proven equal, object by object."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backends.escape import plain
from console.commands.transfer_bar import (
    Bar,
    Interrupted,
    Watch,
    check_rows,
    nothing_collected,
    open_pool,
    run,
    watching,
    with_ssh,
)
from console.output import command_body, emit_json, fail, json_option, say, state_option
from console.sync_text import key_text

if TYPE_CHECKING:
    from backends.errors import CutoverError
    from backends.plan.models import Plan
    from backends.transfer.verify import VerifyResult

_NAMED_AT_MOST = 50


@click.command(
    "verify",
    epilog="Example: cutover verify plan.yaml --report evidence.jsonl\n\nExit code: 0 all equal, 1 any problem, 4 not listed.",
)
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--dataset", metavar="NAME", help="Only this one; otherwise all of the plan.")
@click.option("--re-read", is_flag=True, help="Read every object again on both sides, whatever the stores keep.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the evidence there, as JSON Lines.")
@json_option
@state_option
@with_ssh
@command_body
@nothing_collected()
def command(
    plan: Path,
    dataset: str | None,
    re_read: bool,
    report: Path | None,
    as_json: bool,
    state_dir: str | None,
    ssh_config: str | None,
    known_hosts: str | None,
) -> int:
    """Prove both sides equal: by the checksums that both stores keep where the object is what the copy left, else by reading it
    again.
    """
    from backends.errors import CouldNot
    from backends.plan.load import load_plan
    from backends.statedir import state_dir as state_dir_of
    from backends.transfer.rounds import SyncRequest, chosen_datasets
    from backends.transfer.session import TransferSession

    checked = load_plan(plan)
    assert checked.plan is not None
    spec: Plan = checked.plan
    watch = Watch(chosen_datasets(spec, SyncRequest(dataset=dataset)))
    names = list(watch.datasets)
    results: list[VerifyResult] = []
    errors: list[CutoverError] = []
    bar = Bar()

    async def main() -> None:
        async with (
            open_pool(spec, checked.base, ssh_config, known_hosts) as pool,
            TransferSession(spec, checked.base, state_dir_of(state_dir, spec.name), pool) as session,
            watching(bar, watch, check_rows),
        ):
            for name in names:
                try:
                    result = await session.verify(
                        name, re_read=re_read, report=report, progress=watch.progress[name], append=name != names[0]
                    )
                except CouldNot as error:
                    errors.append(error)
                    continue
                results.append(result)
                if not as_json:
                    bar.aside(say, "\n".join(result_lines(result)))

    try:
        run(main())
    except Interrupted:
        return 130
    return _print_end(results, errors, as_json=as_json)


def _print_end(results: list[VerifyResult], errors: list[CutoverError], *, as_json: bool) -> int:
    out: dict[str, Any] = {"datasets": [as_object(result) for result in results]}
    if errors:
        out.update(errors[0].as_json())
    if as_json:
        emit_json(out)
    for error in errors:
        fail(error, as_json=False)
    if errors:
        return errors[0].exit_code
    return 1 if any(result.problems for result in results) else 0


def as_object(result: VerifyResult) -> dict[str, Any]:
    """The contract's object of one dataset."""
    problems = [{"key": key_text(p.key), "problem": p.problem, "reason": plain(p.reason)} for p in result.problems]
    return {"name": result.dataset, "checked": result.checked, "equal": result.equal, "problems": problems}


def result_lines(result: VerifyResult) -> list[str]:
    """What was found, for people."""
    from widgets.figures import count

    end = "all equal" if not result.problems else f"{count(len(result.problems))} problems"
    lines = [f"{result.dataset}: {count(result.checked)} checked, {count(result.equal)} equal: {end}"]
    for problem in result.problems[:_NAMED_AT_MOST]:
        reason = f" ({plain(problem.reason)})" if problem.reason else ""
        lines.append(f"  {problem.problem} {plain(problem.key)}{reason}")
    if len(result.problems) > _NAMED_AT_MOST:
        lines.append(f"  … and {count(len(result.problems) - _NAMED_AT_MOST)} more; --json and --report have all")
    return lines
