"""`cutover sync PLAN`: rounds of sync without an engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backends.escape import plain
from console.commands.transfer_bar import (
    Bar,
    Interrupted,
    Watch,
    connecting,
    nothing_collected,
    open_pool,
    run,
    watching,
    with_ssh,
)
from console.output import command_body, emit_json, fail, json_option, say, state_option, tell
from console.sync_text import as_object, result_lines, unfinished_object

if TYPE_CHECKING:
    from collections.abc import Callable

    from backends.plan.load import CheckedPlan
    from backends.snapshot import DatasetView
    from backends.transfer.models import RoundResult
    from backends.transfer.rounds import SyncReport, SyncRequest


@click.command(
    "sync",
    epilog="Example: cutover sync plan.yaml --dataset corpus\n\nExit code: 0 in sync, 1 an object failed, 4 a listing was denied.",
)
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--dataset", metavar="NAME", help="Only this one; otherwise all of the plan.")
@click.option("--once/--follow", "once", default=True, help="One round (the default), or rounds until stopped.")
@click.option("--reverse", is_flag=True, help="From target back to legacy.")
@click.option("--dry-run", is_flag=True, help="List and compare only; nothing is copied or changed.")
@click.option("--retry-failed", is_flag=True, help="Only what failed last time, without listing.")
@click.option("--accept-empty", is_flag=True, help="A side that is suddenly empty is meant to be so.")
@json_option
@state_option
@with_ssh
@command_body
@nothing_collected()
def command(
    plan: Path,
    dataset: str | None,
    once: bool,
    reverse: bool,
    dry_run: bool,
    retry_failed: bool,
    accept_empty: bool,
    as_json: bool,
    state_dir: str | None,
    ssh_config: str | None,
    known_hosts: str | None,
) -> int:
    """Copy what the target lacks, and prove it object by object.

    Nothing is copied when a listing failed, ended early, or is empty where the last was not. After a kill it goes on where it
    was: parts and objects that arrived are not sent again.
    """
    from backends.plan.load import load_plan
    from backends.transfer.rounds import SyncRequest, chosen_datasets

    checked = load_plan(plan)
    request = SyncRequest(
        dataset=dataset,
        direction="reverse" if reverse else "forward",
        follow=not once,
        dry_run=dry_run,
        retry_failed=retry_failed,
        accept_empty=accept_empty,
    )
    assert checked.plan is not None
    chosen_datasets(checked.plan, request)
    return sync(checked, request, state_dir, (ssh_config, known_hosts), as_json=as_json)


def sync(
    checked: CheckedPlan,
    request: SyncRequest,
    state: str | None,
    ssh: tuple[str | None, str | None],
    *,
    as_json: bool,
) -> int:
    """Run the rounds here, print what came of them; the exit code."""
    from backends.statedir import state_dir
    from backends.transfer.rounds import SyncReport, chosen_datasets, run_rounds
    from console.sync_turn import engine_runs, hand_over, no_engine_elsewhere, our_turn

    plan = checked.plan
    assert plan is not None
    report, bar = SyncReport(), Bar()
    watch = Watch(chosen_datasets(plan, request), follows=request.follow)
    folder = state_dir(state, plan.name)
    told: set[str] = set()

    def done(result: RoundResult) -> None:
        watch.ended(result)
        notes = [note for note in watch.progress[result.dataset].notes if note not in told]
        told.update(notes)
        if not as_json:
            bar.aside(say, "\n".join(result_lines(result, watch.trends[result.dataset], notes)))

    def failed(name: str, error: Exception) -> None:
        watch.trends[name].broke_off()
        if request.follow or len(watch.datasets) > 1:
            bar.aside(tell, f"cutover: {name}: {plain(str(error))}")

    if engine_runs(folder):
        hand_over(folder, plan, request, report, done=done)
        return _print_end(report, watch, as_json=as_json)

    async def main(barred: Callable[[str], str]) -> None:
        async with (
            open_pool(plan, checked.base, *ssh) as pool,
            connecting(pool, plan, watch.datasets.values()),
            no_engine_elsewhere(folder, checked, request, ssh, pool),
            watching(bar, watch),
        ):
            shown: dict[str, Any] = {"progress": watch.progress, "done": done, "failed": failed}
            await run_rounds(plan, checked.base, folder, pool, request, report, delete_barred=barred, **shown)

    interrupted = False
    try:
        with our_turn(folder, plan, request) as barred:
            run(main(barred))
    except Interrupted:
        interrupted = True
    code = _print_end(report, watch, as_json=as_json)
    if interrupted:
        tell("cutover: interrupted; run it again to go on where it was")
        return 130
    return code


def _print_end(report: SyncReport, watch: Watch, *, as_json: bool) -> int:
    told = [_told(view, report, watch) for view in watch.views()] if as_json else []
    out: dict[str, Any] = {"datasets": [dataset for dataset in told if dataset is not None]}
    for error in report.errors.values():
        if as_json:
            emit_json({**out, **error.as_json()})
        return fail(error, as_json=False)
    if as_json:
        emit_json(out)
    return report.exit_code


def _told(view: DatasetView, report: SyncReport, watch: Watch) -> dict[str, Any] | None:
    """A dataset's object: of its rounds, or of one that was cut off. None where none has begun."""
    result = report.results.get(view.name)
    if result is not None:
        return as_object(result, view, watch.trends[view.name])
    return unfinished_object(view, watch.progress[view.name]) if watch.progress[view.name].began_at else None
