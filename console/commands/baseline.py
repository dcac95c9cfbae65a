"""`cutover baseline PLAN`: legacy's figures into the journal, the yardstick of later gates and triggers."""

from __future__ import annotations

import asyncio
import getpass
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from backends.errors import UsageError
from backends.escape import plain
from console.commands.transfer_bar import with_ssh
from console.output import command_body, emit_json, json_option, say, state_option


@click.command(
    "baseline",
    epilog="Example: cutover baseline plan.yaml --run loss=runs/seed2.jsonl --run loss=runs/seed3.jsonl\n\n"
    "Exit code: 0 every measure recorded, 1 some were not, 4 none.",
)
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--workload", metavar="NAME", help="Only this one's measures; otherwise all of the plan.")
@click.option(
    "--run",
    "runs",
    multiple=True,
    metavar="MEASURE=RUN",
    help="A further run of legacy, a file or an id of MLflow's: how far two runs of it differ is its noise.",
)
@click.option(
    "--benchmarks",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Add legacy's speed a card to it: `cutover gpus --benchmarks FILE` believes it before any sheet.",
)
@json_option
@state_option
@with_ssh
@command_body
def command(
    plan: Path,
    workload: str | None,
    runs: tuple[str, ...],
    benchmarks: Path | None,
    as_json: bool,
    state_dir: str | None,
    ssh_config: str | None,
    known_hosts: str | None,
) -> int:
    """Record legacy's figures from the sources of the plan's measures, with their spread. An engine that runs reads them itself; otherwise
    it is done here, under the migration's lock.
    """
    from backends.catalog.benchmarks import add_benchmark, benchmark_of
    from backends.engine.ssh_choice import keep_choice
    from backends.plan.load import load_plan
    from backends.statedir import make_state_dir
    from backends.statedir import state_dir as folder_of
    from console.engine import command as give
    from console.sync_turn import engine_runs

    checked = load_plan(plan)
    assert checked.plan is not None
    folder = folder_of(state_dir, checked.plan.name)
    further = _runs(runs, {m.name for m in checked.plan.measures if m.legacy.mlflow is not None})
    if ssh_config or known_hosts:
        keep_choice(make_state_dir(folder), ssh_config, known_hosts)
    if engine_runs(folder):
        measures = give(folder, "baseline", {"workload": workload, "runs": further})["measures"]
    else:
        measures = asyncio.run(_here(folder, plan, workload, further))
    found = benchmark_of(checked.plan, measures) if benchmarks is not None else None
    if benchmarks is not None and found is not None:
        add_benchmark(benchmarks, found)
    if as_json:
        emit_json({"measures": measures, "benchmark": asdict(found) if found is not None else None})
    else:
        _print(measures)
        if found is not None:
            say(f"{plain(found.gpu)}: {found.value:.4g} a card by {plain(found.measure, 60)}, in {plain(str(benchmarks), 200)}")
    recorded = sum(1 for m in measures if m["recorded"])
    return 0 if recorded == len(measures) else 1 if recorded else 4


def _runs(given: tuple[str, ...], of_mlflow: set[str]) -> dict[str, list[str]]:
    """Further runs by measure: files with their whole path, ids of MLflow's as they are."""
    out: dict[str, list[str]] = {}
    for text in given:
        name, equals, run = text.partition("=")
        if not equals or not name or not run:
            raise UsageError(f"--run {plain(text, 100)} is not MEASURE=RUN", hint="such as --run loss=runs/seed2.jsonl")
        out.setdefault(name, []).append(run if "://" in run or name in of_mlflow else str(Path(run).absolute()))
    return out


async def _here(folder: Path, plan: Path, workload: str | None, runs: dict[str, list[str]]) -> list[dict[str, Any]]:
    from backends.engine.baseline import take_baseline
    from backends.engine.process import alone

    async with alone(folder, plan, "cutover baseline") as engine:
        return [t.as_json() for t in await take_baseline(engine, workload, runs, getpass.getuser())]


def _print(measures: list[dict[str, Any]]) -> None:
    workload = None
    for measure in sorted(measures, key=lambda m: (m["workload"], m["measure"])):
        if measure["workload"] != workload:
            workload = measure["workload"]
            say(plain(workload))
        text = measure["text"] if measure["recorded"] else f"not recorded: {measure['reason']}"
        say(f"  {plain(measure['measure'], 40):<23} {plain(text, 400)}")
