"""`cutover compare`: one metric, legacy against target, without a plan. The rules are in docs/judging.md."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backends.errors import CouldNot, NotGood, UsageError
from backends.escape import plain
from console.commands.compare_levels import (
    Given,
    Sides,
    asked_of,
    drawn_of,
    levels_json,
    load_sides,
    print_levels,
    share_of_option,
    tells_shares,
)
from console.commands.compare_text import comparison_json, emit_comparison, plan_json, print_comparison
from console.commands.transfer_bar import optional_plan, pool_to, with_ssh
from console.output import command_body, emit_json, json_option, say

if TYPE_CHECKING:
    from backends.validation.curve import Curve
    from backends.validation.far import FarFiles
    from backends.validation.levels import Asked, Found
    from backends.validation.load_slices import LoadReport

KINDS = ("throughput", "step_time", "latency", "error_rate", "memory")
UNITS = ("B", "MB", "MiB", "GB", "GiB", "share")


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
@click.option(
    "--legacy",
    multiple=True,
    required=True,
    metavar="SOURCE...",
    help="Legacy's file, here or at ssh://HOST/PATH, or several runs.",
)
@click.option("--target", multiple=True, metavar="SOURCE...", help="The target's file, or several runs.")
@click.option("--metric", required=True, metavar="NAME", help="The metric: name, dotted.path, mllog key[NAME].")
@click.option("--at", "at_text", metavar="10,50,100", help="The places; default: all that both sides have exactly.")
@click.option("--by", type=click.Choice(["epoch", "step", "samples", "tokens", "time"]), help="The axis; default: one all have.")
@click.option("--tolerance", help="What may differ, relative to legacy; default 0.5%, of --as what gates allow.")
@click.option(
    "--as", "kind", type=click.Choice(KINDS), help="Not place by place: medians and tails, quantiles, errors, the peak."
)
@click.option("--batch", is_flag=True, help="With --as: a batch workload, whose speed may fall by 20%.")
@click.option("--quantile", type=click.FloatRange(0, 1, min_open=True, max_open=True), help="With --as latency; default 0.99.")
@click.option("--loads-apart", metavar="SHARE", help="With --as latency: by how much loads may differ; default 10%.")
@click.option("--capacity", metavar="SIZE", help="With --as memory: what target's card has, or legacy's,target's.")
@click.option("--unit", type=click.Choice(UNITS), help="With --as memory: of its figures; with --as error_rate: share.")
@click.option("--noise", help="How far two runs of one system are known to differ, such as 0.4%.")
@click.option("--higher-is-better", "higher", flag_value="higher", default=None, help="An accuracy, a throughput.")
@click.option("--lower-is-better", "higher", flag_value="lower", help="A loss, a time, an error rate.")
@click.option("--shift", metavar="A,B", help="Added to legacy's and target's places: 1,0 where legacy counts from 0.")
@click.option("--pattern", metavar="REGEX", help="Plain logs: named groups for the metric and its axes.")
@click.option("--one-sided", is_flag=True, help="Better by any amount passes.")
@click.option("--interpolate", is_flag=True, help="Interpolate linearly where grids do not meet; the answer says so.")
@click.option("--runs-needed", is_flag=True, help="Only legacy's runs: how many a side would decide.")
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Draw both curves into this file.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="The comparison as one page.")
@click.option("--plan", type=click.Path(path_type=Path), help="Take the hosts of ssh:// sources from this plan.")
@json_option
@with_ssh
@command_body
def command(
    legacy: tuple[str, ...],
    target: tuple[str, ...],
    metric: str,
    at_text: str | None,
    by: Any,
    tolerance: str | None,
    kind: Any,
    batch: bool,
    quantile: float | None,
    loads_apart: str | None,
    capacity: str | None,
    unit: str | None,
    noise: str | None,
    higher: str | None,
    shift: str | None,
    pattern: str | None,
    one_sided: bool,
    interpolate: bool,
    runs_needed: bool,
    svg: Path | None,
    html: Path | None,
    plan: Path | None,
    as_json: bool,
    ssh_config: str | None,
    known_hosts: str | None,
) -> int:
    """Compare one metric, legacy against target. Exit 0: PASS; 1: BREACH or INCONCLUSIVE; 4: unreadable."""
    from backends.validation.compare import Rule, compare_points
    from backends.validation.direction import direction_from_name
    from backends.validation.levels import compare_levels
    from backends.validation.regexlog import compile_pattern
    from backends.validation.series import thinned
    from backends.validation.source import load_runs, open_runs
    from backends.verdict import Verdict
    from console.commands.compare_picture import html_of, svg_of

    given = Given(kind, tolerance, batch, quantile, loads_apart, capacity, unit)
    _see_what_goes_together(given, at_text or noise or shift or one_sided or interpolate or runs_needed)
    at, allowed = _places(at_text), share_of_option("--tolerance", tolerance or "0.5%")
    expression = compile_pattern(pattern) if pattern is not None else None
    far = partial(_far, (*legacy, *target), plan, ssh_config, known_hosts)
    is_share = tells_shares((*legacy, *target), kind)
    if runs_needed:
        return _say_runs(legacy, target, metric, by, expression, at, allowed, far, as_json=as_json)
    if not target:
        raise UsageError("nothing to compare with: no --target", hint="give --target SOURCE, or --runs-needed for legacy alone")
    if kind is not None:
        asked = asked_of(given, higher == "higher" if higher is not None else None, is_share=is_share)
        with far() as files:
            sides, axis = load_sides(legacy, target, metric, by, expression, files, kind)
        return _tell_levels(compare_levels(asked, *sides), asked, metric, axis, sides, (svg, html), as_json=as_json)
    if higher is None and direction_from_name(metric) is None:
        with far() as files:
            open_runs(
                (*legacy, *target), metric, expression, files
            )  # that the name is nowhere goes before the question which way is better
    known_noise = share_of_option("--noise", noise) if noise is not None else None
    rule = Rule(allowed, _direction(metric, higher), one_sided, known_noise)
    with far() as files:
        old, new, axis = load_runs(legacy, target, metric, by, expression, files)
    if shift is not None:
        _move(shift, old, new)
    found = compare_points(
        old,
        new,
        at=at,
        tolerance=rule.tolerance,
        higher_is_better=rule.higher_is_better,
        one_sided=rule.one_sided,
        noise=rule.noise,
        interpolate=interpolate,
    )
    notes = [*_notes(old, new), *_asks(metric, at)]
    said = comparison_json(found, metric, axis, rule, notes, (old, new), interpolate=interpolate)
    for path, draw in ((svg, svg_of), (html, html_of)):
        if path is not None:
            _write(path, draw(said, *(thinned(side[0].drawn(), 1200) for side in (old, new))))
    if as_json:
        emit_comparison(said, found, rule, (old, new))
    else:
        print_comparison(found, metric, axis, rule, notes, (old, new))
    return 0 if found.verdict is Verdict.PASS else 1


def _see_what_goes_together(given: Given, of_places: object) -> None:
    """Options of the one way to compare are none of the other."""
    if given.kind is None and (given.batch or any((given.quantile, given.loads_apart, given.capacity, given.unit))):
        raise UsageError("--batch, --quantile, --loads-apart, --capacity and --unit need --as", hint="such as --as throughput")
    if given.kind is not None and of_places:
        raise UsageError("--at, --noise, --shift, --one-sided, --interpolate and --runs-needed are for places, not for --as")


def _tell_levels(
    found: Found, asked: Asked, metric: str, axis: str, sides: Sides, pictures: tuple[Path | None, Path | None], *, as_json: bool
) -> int:
    from backends.plan.shares import is_share_name
    from backends.validation.series import thinned
    from backends.verdict import Verdict
    from console.commands.compare_picture import html_of, svg_of

    notes = _notes(*sides)
    if asked.kind == "error_rate" and not asked.is_share and is_share_name(metric) and "requests failed" in found.reason:
        notes.append("each figure, 0 or 1, is taken as a request; if they are shares of requests: --unit share")
    told = levels_json(found, asked, metric, axis, notes, sides)
    for path, draw in zip(pictures, (svg_of, html_of), strict=True):
        if path is not None:
            _write(path, draw(told, *(thinned(drawn_of(side), 1200) for side in sides)))
    if as_json:
        emit_json(told)
    else:
        print_levels(found, asked, metric, notes, sides)
    return 0 if found.verdict is Verdict.PASS else 1


def _asks(metric: str, at: tuple[float, ...] | None) -> list[str]:
    """Where a name speaks of a speed or a latency, and no place was asked for: it may be meant otherwise."""
    from backends.validation.direction import kind_from_name

    kind = kind_from_name(metric) if at is None else None
    return [f"compared place by place; --as {kind} holds medians, tails or quantiles against each other"] if kind else []


def _far(
    sources: tuple[str, ...], plan: Path | None, ssh_config: str | None, known_hosts: str | None
) -> AbstractContextManager[FarFiles | None]:
    """What reads sources on hosts: those of the plan, where one was named, else the ssh_config's. None where no source lies on one."""
    from backends.validation.addresses import is_far

    if not any(map(is_far, sources)):
        return nullcontext()
    from backends.validation.far import FarFiles  # asyncssh takes 0.1 s to import

    checked, base = optional_plan(plan)
    return FarFiles(lambda: pool_to(checked, base, ssh_config, known_hosts))


def _say_runs(
    legacy: tuple[str, ...],
    target: tuple[str, ...],
    metric: str,
    by: Any,
    expression: re.Pattern[str] | None,
    at: tuple[float, ...] | None,
    tolerance: float,
    far: Callable[[], AbstractContextManager[FarFiles | None]],
    *,
    as_json: bool,
) -> int:
    from backends.validation.planning import plan_runs, plan_words
    from backends.validation.several import ALPHA
    from backends.validation.source import common_axis, open_runs

    if target or len(legacy) < 2:
        raise UsageError("--runs-needed takes two of legacy's runs or more, and no target")
    with far() as files:
        runs = open_runs(legacy, metric, expression, files)
        axis = by or common_axis(runs)
        places = plan_runs([r.load(axis) for r in runs], tolerance, ALPHA, at)
    if not places:
        raise NotGood("legacy's runs have no place in common", hint="choose another axis with --by")
    said = plan_words(places, axis, tolerance)
    if as_json:
        emit_json(plan_json(places, axis, tolerance, said))
    else:
        say(said)
    return 0


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        raise CouldNot(f"cannot write it: {error.strerror or 'an error of the system'}", where=plain(str(path))) from error


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


def _move(text: str, old: list[Curve], new: list[Curve]) -> None:
    try:
        first, second = (float(part) for part in text.split(","))
    except ValueError:
        first = second = math.nan
    if not math.isfinite(first + second):
        raise UsageError(f"--shift `{plain(text, 80)}` is not two numbers", hint="such as --shift 1,0")
    for runs, shift in ((old, first), (new, second)):
        for run in runs:
            run.move(shift)


def _direction(metric: str, given: str | None) -> bool:
    from backends.validation.direction import direction_from_name

    if given is not None:
        return given == "higher"
    better = direction_from_name(metric)
    if better is None:
        message = f"the name `{plain(metric, 80)}` does not tell for sure whether higher or lower is better"
        raise UsageError(message, hint="say --higher-is-better or --lower-is-better; eval_accuracy often holds a loss")
    return better


def _notes(old: Sequence[Curve | LoadReport], new: Sequence[Curve | LoadReport]) -> list[str]:
    notes: list[str] = []
    for name, runs in (("legacy", old), ("target", new)):
        for run in runs:
            notes += [f"{name}: {note}" + (f" ({run.where})" if len(runs) > 1 else "") for note in run.notes]
    return notes
