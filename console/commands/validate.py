"""`cutover validate PLAN`: the same training command on both sides, compared and journaled."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from backends.errors import CutoverError
from backends.escape import plain
from console.commands.transfer_bar import Interrupted, plan_pool, run, with_ssh
from console.output import command_body, emit_json, fail, json_option, say, state_option, tell

if TYPE_CHECKING:
    from backends.plan.load import CheckedPlan
    from backends.plan.models import TrialRun, Workload
    from backends.validation.trial.both import Trial


@click.command(
    "validate",
    epilog="Example: cutover validate plan.yaml --workload pretrain --seed 1 --seed 2\n\n"
    "Exit code: 0 PASS, 1 BREACH or INCONCLUSIVE, 4 a side could not be trained on.",
)
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--workload", metavar="NAME", help="Which; needed where several have `validate`.")
@click.option("--seed", "seeds", multiple=True, type=click.IntRange(min=0), help="Other seeds than the plan's (several times).")
@json_option
@state_option
@with_ssh
@command_body
def command(
    plan: Path,
    workload: str | None,
    seeds: tuple[int, ...],
    as_json: bool,
    state_dir: str | None,
    ssh_config: str | None,
    known_hosts: str | None,
) -> int:
    """Start the workload's `validate` command on a host of each side over SSH, with the same seeds; collect its figures, compare, and keep
    the verdict in the journal with both environments.
    """
    from backends.plan.load import load_plan
    from backends.statedir import state_dir as folder_of
    from backends.validation.trial.both import trial_of
    from backends.verdict import Verdict
    from console.keeping import keep, see_that_it_can_be_kept

    checked = load_plan(plan)
    assert checked.plan is not None
    chosen, spec = trial_of(checked.plan, workload)
    if seeds:
        spec = spec.model_copy(update={"seeds": seeds})
    folder = folder_of(state_dir, checked.plan.name)
    found: list[Trial] = []
    see_that_it_can_be_kept(folder, plan, "cutover validate")
    try:
        run(_train(checked, chosen, spec, (ssh_config, known_hosts), found))
    except Interrupted:
        tell("cutover: interrupted; what ran on the hosts was ended")
        return 130
    trial, unkept = found[0], None
    try:
        keep(folder, plan, "cutover validate", "validated", trial.as_json())
    except CutoverError as error:  # hours of training are told all the same
        unkept = error
    if as_json:
        emit_json(trial.as_json() | (unkept.as_json() if unkept is not None else {}))
    else:
        _print(trial)
    if unkept is not None:
        tell("cutover: the verdict is not in the journal:")
        return fail(unkept, as_json=False)
    return 0 if trial.verdict is Verdict.PASS else 4 if trial.verdict is Verdict.ERROR else 1


async def _train(
    checked: CheckedPlan, workload: Workload, spec: TrialRun, ssh_files: tuple[str | None, str | None], found: list[Trial]
) -> None:
    from backends.validation.trial.both import run_trial

    plan = checked.plan
    assert plan is not None
    async with plan_pool(plan, checked.base, *ssh_files) as pool:
        found.append(await run_trial(plan, workload, spec, pool, tell))


def _print(trial: Trial) -> None:
    from backends.validation.trial.environment import unlike

    for judged in trial.judged:
        say(f"{plain(judged.figure.value, 40):<19} {judged.verdict.value}: {plain(judged.reason, 400)}")
    for cause in trial.causes:
        say(f"  {plain(cause.cause)}: {plain(cause.evidence, 400)}")
    apart = unlike(trial.environments["legacy"], trial.environments["target"])
    if apart:
        say("")
        say("the two environments differ, the likeliest cause of a difference first:")
    width = max((len(name) for name, *_ in apart), default=0)
    for name, old, new in apart:
        say(f"  {name:<{width}}  {old or 'none'} → {new or 'none'}")
    say("")
    say(f"{trial.verdict.value}: {plain(trial.reason)}")
