"""`cutover load PLAN`: open-loop load on both sides, paired; latencies, errors, and whether the answers agree."""

from __future__ import annotations

import asyncio
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backends.errors import UsageError
from backends.escape import plain
from console.commands.transfer_bar import Interrupted, run
from console.output import command_body, emit_json, json_option, say, state_option

if TYPE_CHECKING:
    from backends.plan.models import Load, Plan, Workload
    from backends.probes.load.course import Course
    from backends.probes.load.run import LoadPlan, LoadRun, SliceDone
    from backends.probes.load.side import Slice
    from backends.vocabulary import SideName

SIDE_NAMES: tuple[SideName, ...] = ("legacy", "target")
LONGEST_SLICE, SHORTEST_SLICE = 10.0, 1.0  # seconds
SEED = 20260101
QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


@click.command(
    "load",
    epilog="Example: cutover load plan.yaml --workload chat --rate 200 --for 10min\n\n"
    "Exit code: 0 no error and all answers agree, 1 not so, 4 a side cannot be loaded.",
)
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--workload", metavar="NAME", help="Which; needed where the plan has more than one that can be loaded.")
@click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True, max=100_000), help="Requests a second (default: the plan's, 10)."
)
@click.option("--for", "length", metavar="TIME", help="How long, such as 10min or 24h (default: the plan's, 60s).")
@click.option("--count", type=click.IntRange(min=1), help="At most so many requests.")
@click.option("--side", type=click.Choice(["legacy", "target", "both"]), default="both", show_default=True)
@click.option("--constant", is_flag=True, help="Evenly spaced; the default is Poisson, as many clients arrive.")
@click.option(
    "--speed", type=click.FloatRange(min=0, min_open=True), default=1.0, help="Of recorded traffic: times its own timing."
)
@click.option("--resume", is_flag=True, help="Go on with a run that was ended.")
@json_option
@state_option
@command_body
def command(
    plan: Path,
    workload: str | None,
    rate: float | None,
    length: str | None,
    count: int | None,
    side: str,
    constant: bool,
    speed: float,
    resume: bool,
    as_json: bool,
    state_dir: str | None,
) -> int:
    """Send the same requests to both sides when they are due, whatever the answers do, and hold the answers against each other.

    A latency counts from when its request was due. How late requests left is told with every result.
    """
    from backends.plan.load import load_plan
    from backends.plan.units import parse_duration
    from backends.probes.load.kept import Kept
    from backends.probes.load.run import LoadRun
    from backends.statedir import state_dir as state_dir_of

    checked = load_plan(plan)
    assert checked.plan is not None
    spec = chosen(checked.plan, workload)
    load = load_of(checked.plan, spec)
    try:
        seconds = parse_duration(length) if length is not None else load.for_
    except ValueError as error:
        raise UsageError(f"--for {plain(length or '')}: {error}", hint="such as 30s, 10min, 24h") from None
    made = planned(load, checked.base, side, rate=rate, seconds=seconds, count=count)
    per_second = rate or load.rate
    requests = {name: asdict(r) | {"body": r.body.hex()} for name, r in made.requests.items()}
    asked = {"requests": requests, "rate": per_second, "constant": constant, "speed": speed, "replay": load.replay}
    kept = Kept(state_dir_of(state_dir, checked.plan.name) / f"load-{spec.name}.jsonl", asked, made.slice_seconds)
    course = kept.open(resume=resume)
    skip = course.last_at + made.slice_seconds if course.last_at is not None else 0.0
    schedule = _schedule(load, checked.base, per_second, constant=constant, speed=speed, skip=skip)
    loading = LoadRun(_with_skip(made, skip), schedule, SEED)
    began = time.monotonic()

    async def main() -> None:
        async for one in loading.run():
            await asyncio.to_thread(kept.add, one)
            course.add(one)
            _tell(one, skip + time.monotonic() - began, seconds)

    code = 0
    try:
        run(main())
    except Interrupted:
        code = 130
    finally:
        kept.close()
    result = as_object(spec.name, per_second, course, loading)
    if as_json:
        emit_json(result)
    else:
        say("\n".join(result_lines(result)))
    return code or (0 if result["ok"] else 1)


def chosen(plan: Plan, name: str | None) -> Workload:
    """The workload that is meant. Raises `UsageError` where that is not clear."""
    names = [w.name for w in plan.workloads]
    if name is not None:
        found = next((w for w in plan.workloads if w.name == name), None)
        if found is None:
            raise UsageError(f"the plan has no workload {plain(name)}", hint=f"one of {', '.join(names) or 'none'}")
        return found
    able = [w for w in plan.workloads if w.load is not None or _probes_of(plan, w) is not None]
    if len(able) == 1:
        return able[0]
    if not able:
        raise UsageError(
            "no workload says where it is to be loaded", hint="workloads[].load, or a route's probe.legacy and probe.target"
        )
    raise UsageError("more than one workload can be loaded", hint=f"--workload {' | '.join(w.name for w in able)}")


def load_of(plan: Plan, workload: Workload) -> Load:
    """The plan's own `load`, else its route's probes of each side."""
    from backends.plan.models import Load

    if workload.load is not None:
        return workload.load
    probes = _probes_of(plan, workload)
    if probes is None:
        raise UsageError(
            f"workload {workload.name}: nothing says where it is to be loaded",
            hint="workloads[].load: {legacy: URL, target: URL}",
        )
    return Load.model_construct(legacy=probes[0], target=probes[1])


def _probes_of(plan: Plan, workload: Workload) -> tuple[str, str] | None:
    for route in plan.routes:
        if route.workload == workload.name and route.probe is not None and route.probe.legacy and route.probe.target:
            return route.probe.legacy, route.probe.target
    return None


def planned(load: Load, base: Path, side: str, *, rate: float | None, seconds: float, count: int | None) -> LoadPlan:
    """What is sent where; references in headers and body are resolved here, late."""
    from backends.probes.load.answers import Sameness
    from backends.probes.load.run import LoadPlan
    from backends.probes.load.side import Request
    from backends.secrets.resolve import resolve

    headers = {name.lower(): (name, resolve(value, base=base)) for name, value in load.headers.items()}
    body = resolve(load.body, base=base).encode() if load.body is not None else b""
    if body and "content-type" not in headers:
        headers["content-type"] = ("Content-Type", "application/json" if body.lstrip().startswith(b"{") else "text/plain")
    requests = {
        name: Request(load.legacy if name == "legacy" else load.target, load.method, tuple(headers.values()), body)
        for name in SIDE_NAMES
        if side in ("both", name)
    }
    return LoadPlan(
        requests,
        seconds,
        count,
        timeout=load.timeout,
        stream=load.stream is not None,
        slice_seconds=min(LONGEST_SLICE, max(SHORTEST_SLICE, seconds / 20)),
        sameness=Sameness(frozenset(load.ignore), load.text, load.number),
    )


def _with_skip(plan: LoadPlan, skip: float) -> LoadPlan:
    from dataclasses import replace

    return replace(plan, skip=skip)


def _schedule(load: Load, base: Path, rate: float, *, constant: bool, speed: float, skip: float) -> Any:
    from backends.probes.load import schedule

    if load.replay is not None:
        path = base / load.replay
        if not path.is_file():
            raise UsageError(f"there is no recorded traffic at {plain(str(path))}", where="workloads[].load.replay")
        return schedule.recorded(path, speed)
    return schedule.constant(rate, since=skip) if constant else schedule.poisson(rate, SEED, since=skip)


def as_object(name: str, rate: float, course: Course, loading: LoadRun) -> dict[str, Any]:
    """The result, as JSON has it. Times in seconds, ratios target / legacy."""
    sides = {str(side): _side_object(course.whole[side]) for side in SIDE_NAMES if side in course.whole}
    answers = loading.answers
    good = all(not side["errors"] for side in sides.values()) and answers.differed == 0
    out: dict[str, Any] = {"workload": name, "rate": rate, "ok": good and bool(sides), "sides": sides}
    out["answers"] = {"compared": answers.agreed + answers.differed, "agreed": answers.agreed, "differed": answers.differed}
    out["answers"]["examples"] = list(answers.examples)
    if len(sides) == 2:
        pairs = ((sides[side]["latency"] or {}).get("p99") for side in ("legacy", "target"))
        old, new = pairs
        out["p99_ratio"] = new / old if old and new else None
    out["slices"] = course.slices_json()
    return out


def _side_object(whole: Slice) -> dict[str, Any]:
    answered = sum(whole.statuses.values())
    first = {name: whole.first_token.quantile(share) for name, share in QUANTILES.items()} if whole.first_token.count else None
    return {
        "sent": whole.sent,
        "answered": answered,
        "statuses": dict(sorted(whole.statuses.items())),
        "errors": dict(whole.errors),
        "latency": _times(whole.latency),
        "lateness": _times(whole.late),
        "first_token": first,
        "between_tokens": _times(whole.between_tokens) if whole.between_tokens.count else None,
        "tokens": whole.tokens or None,
    }


def _times(histogram: Any) -> dict[str, float | None] | None:
    if not histogram.count:
        return None
    quantiles = {name: histogram.quantile(share) for name, share in QUANTILES.items()}
    return quantiles | {"mean": histogram.mean, "max": histogram.most}


def result_lines(result: dict[str, Any]) -> list[str]:
    """For people."""
    lines = [f"{result['workload']}: {result['rate']:g} requests a second, {'good' if result['ok'] else 'NOT good'}"]
    for name, side in result["sides"].items():
        wrong = ", ".join(f"{n} {plain(kind)}" for kind, n in side["errors"].items()) or "no error"
        lines.append(f"  {name:<7} {side['sent']} sent, {side['answered']} answered, {wrong}")
        if side["latency"] is not None:
            lines.append(f"          latency  {_words(side['latency'])}")
        if side["first_token"] is not None:
            lines.append(f"          to the first token  {_words(side['first_token'])}; {side['tokens']} tokens")
        if side["between_tokens"] is not None:
            lines.append(f"          between tokens  {_words(side['between_tokens'])}")
        if side["lateness"] is not None:
            late = side["lateness"]
            lines.append(
                f"          sent late by {_ms(late['p50'])} at p50, {_ms(late['p99'])} at p99: by so much latencies may be off"
            )
    if result.get("p99_ratio") is not None:
        lines.append(f"  p99 of target is {result['p99_ratio']:.2f} x legacy's")
    answers = result["answers"]
    if answers["compared"]:
        lines.append(f"  answers: {answers['compared']} pairs compared, {answers['agreed']} agree, {answers['differed']} differ")
        lines += [f"    {plain(example)}" for example in answers["examples"]]
    return lines


def _words(times: dict[str, float | None]) -> str:
    return ", ".join(f"{name} {_ms(value)}" for name, value in times.items())


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value * 1000:.1f} ms"


def _tell(one: SliceDone, elapsed: float, seconds: float) -> None:
    if sys.stderr.isatty():
        parts = [
            f"{side}: {s.sent} sent, p99 {_ms(s.latency.quantile(0.99))}, {sum(s.errors.values())} errors"
            for side, s in one.sides.items()
        ]
        click.echo(f"{elapsed:6.0f} of {seconds:.0f} s  {'  '.join(parts)}", err=True)
