"""`cutover compare`: one metric, legacy against target, without a plan. The rules are in docs/judging.md."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING, Any

import click

from backends.errors import UsageError
from backends.escape import plain
from console.output import command_body, emit_json, json_option, say

if TYPE_CHECKING:
    from backends.validation.compare import Comparison, Judged
    from backends.validation.curve import Curve

_SHOWN = 40  # points of the table; JSON has all


class _ManySources(click.Command):
    """Lets `--legacy` and `--target` take several sources in a row: `--legacy run1 run2 --target run3`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        out: list[str] = []
        option = ""
        pending = False
        for arg in args:
            if arg.startswith("-") and arg != "-":
                name, equals, _ = arg.partition("=")
                option = name if name in ("--legacy", "--target") else ""
                pending = bool(option) and not equals
                out.append(arg)
                continue
            out += [arg] if pending or not option else [option, arg]
            pending = False
        return super().parse_args(ctx, out)


@click.command(
    "compare",
    cls=_ManySources,
    epilog="Example: cutover compare --legacy old.jsonl --target new.jsonl --metric loss --at 10,50,100 --by epoch\n\n"
    "Several sources a side are several runs: then the verdict is a test of equivalence.",
)
@click.option("--legacy", multiple=True, required=True, metavar="SOURCE...", help="Legacy's file, or several runs.")
@click.option("--target", multiple=True, required=True, metavar="SOURCE...", help="The target's file, or several runs.")
@click.option("--metric", required=True, metavar="NAME", help="The metric: name, dotted.path, mllog key[NAME].")
@click.option("--at", "at_text", metavar="10,50,100", help="The places; default: all that both sides have exactly.")
@click.option("--by", type=click.Choice(["epoch", "step", "samples", "tokens", "time"]), help="The axis; default: one all have.")
@click.option("--tolerance", default="0.5%", show_default=True, help="What may differ, relative to legacy.")
@click.option("--noise", help="How far two runs of one system are known to differ, such as 0.4%.")
@click.option("--higher-is-better", "higher", flag_value="higher", default=None, help="An accuracy, a throughput.")
@click.option("--lower-is-better", "higher", flag_value="lower", help="A loss, a time, an error rate.")
@click.option("--pattern", metavar="REGEX", help="Plain logs: named groups for the metric and its axes.")
@click.option("--one-sided", is_flag=True, help="Better by any amount passes.")
@click.option("--interpolate", is_flag=True, help="Interpolate linearly where grids do not meet; the answer says so.")
@json_option
@command_body
def command(
    legacy: tuple[str, ...],
    target: tuple[str, ...],
    metric: str,
    at_text: str | None,
    by: Any,
    tolerance: str,
    noise: str | None,
    higher: str | None,
    pattern: str | None,
    one_sided: bool,
    interpolate: bool,
    as_json: bool,
) -> int:
    """Compare one metric, legacy against target. Exit 0: PASS; 1: BREACH or INCONCLUSIVE; 4: unreadable."""
    from backends.validation.compare import compare_points
    from backends.validation.regexlog import compile_pattern
    from backends.validation.source import load_runs
    from backends.verdict import Verdict

    at, allowed = _places(at_text), _share("--tolerance", tolerance)
    known_noise = _share("--noise", noise) if noise is not None else None
    better = _direction(metric, higher)
    expression = compile_pattern(pattern) if pattern is not None else None
    old, new, axis = load_runs(legacy, target, metric, by, expression)
    found = compare_points(
        old,
        new,
        at=at,
        tolerance=allowed,
        higher_is_better=better,
        one_sided=one_sided,
        noise=known_noise,
        interpolate=interpolate,
    )
    notes = _notes(old, new)
    if as_json:
        emit_json(_as_json(found, metric, axis, allowed, better, notes, (old, new)))
    else:
        _print(found, metric, axis, notes, (old, new))
    return 0 if found.verdict is Verdict.PASS else 1


def _places(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        places = tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        places = ()
    if not places or not all(math.isfinite(p) for p in places):
        raise UsageError(f"--at `{plain(text, 80)}` is no list of places", hint="such as --at 10,50,100")
    return places


def _share(option: str, text: str) -> float:
    from backends.plan.units import UnitError, parse_share

    try:
        return parse_share(text)
    except UnitError as error:
        raise UsageError(f"{option}: {error}", hint=error.hint) from None


def _direction(metric: str, given: str | None) -> bool:
    from backends.validation.direction import direction_from_name

    if given is not None:
        return given == "higher"
    better = direction_from_name(metric)
    if better is None:
        message = f"the name `{plain(metric, 80)}` does not tell for sure whether higher or lower is better"
        raise UsageError(message, hint="say --higher-is-better or --lower-is-better; eval_accuracy often holds a loss")
    return better


def _notes(old: list[Curve], new: list[Curve]) -> list[str]:
    notes: list[str] = []
    for name, runs in (("legacy", old), ("target", new)):
        for run in runs:
            notes += [f"{name}: {note}" + (f" ({run.where})" if len(runs) > 1 else "") for note in run.notes]
    return notes


def _as_json(
    found: Comparison,
    metric: str,
    axis: str,
    tolerance: float,
    better: bool,
    notes: list[str],
    runs: tuple[list[Curve], list[Curve]],
) -> dict[str, Any]:
    return {
        "metric": metric,
        "by": axis,
        "tolerance": tolerance,
        "higher_is_better": better,
        "runs": {"legacy": len(runs[0]), "target": len(runs[1])},
        "points": [_point(j) for j in found.judged],
        "verdict": found.verdict.value,
        "reason": found.reason,
        "notes": notes,
    }


def _point(j: Judged) -> dict[str, Any]:
    verdict = j.verdict.value if j.verdict is not None else "INCONCLUSIVE"
    point: dict[str, Any] = {"at": j.at, "legacy": j.legacy, "target": j.target, "delta": j.delta, "verdict": verdict}
    point |= {"too_good": j.too_good, "note": j.note}
    if j.interval is not None:
        point["interval"] = list(j.interval)
    return point


def _print(found: Comparison, metric: str, axis: str, notes: list[str], runs: tuple[list[Curve], list[Curve]]) -> None:
    from backends.validation.compare import number, percent
    from backends.validation.series import thinned
    from console.commands.compare_plot import draw_curves

    say(f"{plain(metric, 60)} by {axis}, legacy against target")
    say("")
    say(f"{axis:>12}  {'legacy':>12}  {'target':>12}  {'delta':>9}  verdict")
    for j in _chosen(found.judged):
        delta = percent(j.delta, signed=True) if j.delta is not None else "-"
        verdict = j.verdict.value if j.verdict is not None else "waiting"
        words = f"  {plain(j.note)}" if j.note else ("  too good" if j.too_good else "")
        say(f"{number(j.at):>12}  {number(j.legacy):>12}  {number(j.target):>12}  {delta:>9}  {verdict}{words}")
    if len(found.judged) > _SHOWN:
        say(f"{'':>12}  {len(found.judged) - _SHOWN} more points: --json has them all")
    picture = draw_curves(
        *(thinned(side[0].drawn()) for side in runs),
        unicode="utf" in (sys.stdout.encoding or "").lower(),
    )
    for line in ["", *picture, "", *notes]:
        say(line)
    say(f"{found.verdict.value}: {plain(found.reason)}")


def _chosen(judged: tuple[Judged, ...]) -> list[Judged]:
    """What a person wants to see of many points: those that are not PASS first, all in order of place."""
    if len(judged) <= _SHOWN:
        return list(judged)
    from backends.verdict import Verdict

    odd = [j for j in judged if j.verdict is not Verdict.PASS][:_SHOWN]
    rest = [j for j in judged if j.verdict is Verdict.PASS]
    every = max(1, len(rest) // max(1, _SHOWN - len(odd)))
    return sorted(odd + rest[::every][: _SHOWN - len(odd)], key=lambda j: j.at)
