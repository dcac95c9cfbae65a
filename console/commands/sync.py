"""`cutover sync PLAN`: rounds of sync without an engine."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backends.escape import plain
from console.commands.transfer_bar import Bar, Interrupted, key_text, live_bar, open_pool, run, with_ssh
from console.output import command_body, emit_json, fail, json_option, say, state_option, tell

if TYPE_CHECKING:
    from backends.plan.load import CheckedPlan
    from backends.transfer.models import RoundResult
    from backends.transfer.rounds import SyncReport, SyncRequest

_NAMED_AT_MOST = 20
_PROOFS = ("stored_checksums", "combined_parts", "manifest", "re_read", "size_only")


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
    from backends.transfer.models import Progress
    from backends.transfer.rounds import SyncReport, chosen_datasets, run_rounds
    from console.sync_turn import engine_runs, hand_over, our_turn

    plan = checked.plan
    assert plan is not None
    report, bar = SyncReport(), Bar()
    progress = {d.name: Progress() for d in chosen_datasets(plan, request)}
    folder = state_dir(state, plan.name)

    def done(result: RoundResult) -> None:
        if not as_json:
            bar.aside(say, "\n".join(result_lines(result)))

    def failed(name: str, error: Exception) -> None:
        if request.follow or len(progress) > 1:
            bar.aside(tell, f"cutover: {name}: {plain(str(error))}")

    if engine_runs(folder):
        hand_over(folder, plan, request, report, done=done)
        return _print_end(report, as_json=as_json)

    async def main() -> None:
        async with open_pool(plan, checked.base, *ssh) as pool, live_bar(bar, progress):
            await run_rounds(plan, checked.base, folder, pool, request, report, progress=progress, done=done, failed=failed)

    interrupted = False
    try:
        with our_turn(folder, plan, request):
            run(main())
    except Interrupted:
        interrupted = True
    code = _print_end(report, as_json=as_json)
    if interrupted:
        tell("cutover: interrupted; run it again to go on where it was")
        return 130
    return code


def _print_end(report: SyncReport, *, as_json: bool) -> int:
    for error in report.errors.values():
        if not as_json:
            return fail(error, as_json=False)
        emit_json({"datasets": [as_object(r) for r in report.results.values()], **error.as_json()})
        fail(error, as_json=False)
        return error.exit_code
    if as_json:
        emit_json({"datasets": [as_object(r) for r in report.results.values()]})
    return report.exit_code


def as_object(result: RoundResult) -> dict[str, Any]:
    """The contract's object of one dataset, and what else there is to say."""
    return {
        "name": result.dataset,
        "direction": result.direction,
        "listed": result.listed,
        "copied": result.copied,
        "unchanged": result.unchanged,
        "deleted": result.deleted,
        "failed": result.failed,
        "bytes": result.bytes,
        "seconds": result.seconds,
        "proofs": {proof: result.proofs.get(proof, 0) for proof in _PROOFS},  # type: ignore[call-overload]
        "lag": {"objects": result.lag_objects, "bytes": result.lag_bytes, "seconds": result.lag_seconds},
        "resent_bytes": result.resent_bytes,
        "compared": result.compared,
        "vanished": result.vanished,
        "aborted_uploads": result.aborted_uploads,
        "dry_run": result.dry_run,
        "failures": [{"key": key_text(f.key), "reason": plain(f.reason)} for f in result.failures],
        "repaired": [{"key": key_text(f.key), "reason": plain(f.reason)} for f in result.repaired],
    }


def result_lines(result: RoundResult) -> list[str]:
    """What one round did, for people."""
    from widgets.figures import count, duration, rate, seconds, size

    lag = "lag none"
    if result.lag_objects:
        lag = f"lag {count(result.lag_objects)} objects, {size(result.lag_bytes)}, oldest {duration(result.lag_seconds)}"
    if result.dry_run:
        return [f"{result.dataset}: {count(result.listed)} listed, {count(result.unchanged)} unchanged; {lag} (dry run)"]
    speed = f" at {rate(result.bytes / result.seconds)}" if result.bytes and result.seconds else ""
    lines = [
        f"{result.dataset}: {count(result.listed)} listed, {count(result.copied)} copied ({size(result.bytes)} in "
        f"{seconds(result.seconds)}{speed}), {count(result.unchanged)} unchanged, {count(result.failed)} failed; {lag}"
    ]
    proofs = ", ".join(f"{proof.replace('_', ' ')} {count(result.proofs[proof])}" for proof in sorted(result.proofs))
    if proofs:
        lines.append(f"  proven by {proofs}")
    if result.resent_bytes:
        lines.append(f"  moved again of what an earlier run had begun: {size(result.resent_bytes)}")
    if result.aborted_uploads:
        lines.append(f"  ended {count(result.aborted_uploads)} uploads that an earlier run had left open")
    lines += [f"  repaired {plain(f.key)}: {plain(f.reason)}" for f in result.repaired[:_NAMED_AT_MOST]]
    lines += [f"  failed {plain(f.key)}: {plain(f.reason)}" for f in result.failures[:_NAMED_AT_MOST]]
    if len(result.failures) > _NAMED_AT_MOST:
        lines.append(f"  … and {count(len(result.failures) - _NAMED_AT_MOST)} more; --json has all")
    return lines
