"""`cutover estimate PLAN`: how long and what it costs, before a byte moves."""

from __future__ import annotations

import contextlib
import re
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from backends.errors import UsageError
from backends.escape import plain
from console.commands.transfer_bar import Interrupted, open_pool, run, with_ssh
from console.output import command_body, emit_json, json_option, say, state_option, tell

if TYPE_CHECKING:
    from backends.catalog.estimate import DatasetEstimate, Estimate, Measured, Range, Size
    from backends.plan.load import CheckedPlan


@click.command(
    "estimate",
    epilog="Example: cutover estimate plan.yaml --set transfer.bandwidth='10 Gbps'\n\nExit code: 0, 1 where a size stays unknown, 4 where a listing was denied.",
)
@click.argument("plan", type=click.Path(path_type=Path))
@click.option("--no-listing", is_flag=True, help="Only the plan's own size and objects; nothing is contacted.")
@click.option("--measure", is_flag=True, help="Copy a bounded sample over the real route, and remove it again.")
@click.option(
    "--set", "changes", multiple=True, metavar="FIELD=VALUE", help="What if: a field of the plan, such as transfer.parallel=32."
)
@click.option("--start", type=click.DateTime(["%Y-%m-%d"]), help="The first day of development; otherwise next Monday.")
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "html"]),
    default="text",
    help="text (the default), markdown, html.",
)
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Write it there, whole or not at all.")
@json_option
@state_option
@with_ssh
@command_body
def command(
    plan: Path,
    no_listing: bool,
    measure: bool,
    changes: tuple[str, ...],
    start: datetime | None,
    form: str,
    output: Path | None,
    as_json: bool,
    state_dir: str | None,
    ssh_config: str | None,
    known_hosts: str | None,
) -> int:
    """Bytes, transfer time with and without parallelism, egress, requests, parallel runs, and the five phases on a calendar: in ranges
    that say what drives them. A dataset's size is the plan's, else it is listed.
    """
    from backends.catalog.egress import egress_of
    from backends.catalog.estimate import estimate
    from backends.transfer.sizing_plan import sizes_of
    from console.estimate_text import html_page, markdown_lines, text_lines

    if no_listing and measure:
        raise UsageError("--measure lists what it measures", hint="leave --no-listing out")
    checked = changed_plan(plan, changes)
    spec = checked.plan
    assert spec is not None
    sizes: dict[str, Size] = {}
    measured: dict[str, Measured] = {}
    failed: dict[str, str] = {}

    async def look() -> None:
        async with contextlib.AsyncExitStack() as stack:
            pool = None if no_listing else await stack.enter_async_context(open_pool(spec, checked.base, ssh_config, known_hosts))
            found = await sizes_of(spec, checked.base, pool, listing=not no_listing, measure=measure, told=_Told())
            sizes.update(found[0])
            measured.update(found[1])
            failed.update(found[2])

    try:
        run(look())
    except Interrupted:
        return 130
    today = datetime.now(UTC).date()
    first = start.date() if start is not None else today + timedelta(days=7 - today.weekday())
    found = estimate(spec, sizes, egress=egress_of(spec.legacy), start=first, measured=measured)
    if as_json:
        emit_json(as_object(found, failed))
    elif form == "html":
        _give("\n".join(html_page(spec, found, changes)), output)
    else:
        lines = (markdown_lines if form == "markdown" else text_lines)(spec, found, changes)
        _give("\n".join([*lines, *(f"{plain(name)}: {plain(why)}" for name, why in failed.items())]), output)
    return 1 if failed or any(d.bytes is None for d in found.datasets) else 0


class _Told:
    """Progress on stderr, at most once a second."""

    def __init__(self) -> None:
        self._last = 0.0

    def __call__(self, text: str) -> None:
        if time.monotonic() - self._last >= 1.0:
            self._last = time.monotonic()
            tell(plain(text))


def _give(text: str, output: Path | None) -> None:
    if output is None:
        say(text)
        return
    beside = output.with_name(f".{output.name}.part")
    beside.write_text(text + "\n", encoding="utf-8")
    beside.replace(output)
    tell(f"written to {plain(str(output))}")


def changed_plan(path: Path, changes: tuple[str, ...]) -> CheckedPlan:
    """The plan with some fields set to other values, judged as any plan. Raises `UsageError`, `PlanInvalid`, `PlanUnreadable`."""
    from backends.plan.load import load_plan, parse_plan, require_good

    checked = load_plan(path)
    if not changes:
        return checked
    import io

    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    yaml = YAML(typ="rt")
    document = yaml.load(checked.text)
    for change in changes:
        field, equals, text = change.partition("=")
        if not equals or not field:
            raise UsageError(f"found {plain(change, 80)}, expected FIELD=VALUE", where="--set", hint="--set transfer.parallel=32")
        try:
            value = YAML(typ="safe").load(text)
        except YAMLError as error:
            raise UsageError(f"found {plain(text, 80)}, expected a value", where=f"--set {plain(field, 80)}") from error
        _set(document, re.sub(r"\[(\d{1,6})\]", r".\1", field).split("."), value, change)
    out = io.StringIO()
    yaml.dump(document, out)
    changed = parse_plan(out.getvalue(), path)
    # The file itself has no error, and lines of what was dumped are none of its lines.
    told = tuple(replace(p, where=f"{path.name} with --set: {p.field}", line=0) for p in changed.problems)
    return require_good(replace(changed, problems=told))


def _set(document: Any, path: list[str], value: Any, change: str) -> None:
    """Into mappings by name, into lists by number or by the entry's `name`."""
    for i, step in enumerate(path):
        is_last = i == len(path) - 1
        if isinstance(document, list):
            found: Any = next((n for n, e in enumerate(document) if isinstance(e, dict) and e.get("name") == step), None)
            if found is None and step.isdigit() and int(step) < len(document):
                found = int(step)
            if found is None:
                raise UsageError(f"the plan has no {plain('.'.join(path[: i + 1]), 120)}", where=f"--set {plain(change, 80)}")
        elif isinstance(document, dict):
            found = step
            if not is_last and step not in document:
                document[step] = {}
        else:
            raise UsageError(f"{plain('.'.join(path[:i]), 120)} has no fields", where=f"--set {plain(change, 80)}")
        if is_last:
            document[found] = value
        else:
            document = document[found]


def as_object(found: Estimate, failed: dict[str, str]) -> dict[str, Any]:
    """The contract's object, and more."""

    def span(value: Range | None) -> dict[str, float] | None:
        return asdict(value) if value is not None else None

    def one(d: DatasetEstimate) -> dict[str, Any]:
        return {
            "name": d.name,
            "bytes": d.bytes,
            "objects": d.objects,
            "seconds": d.seconds,
            "seconds_expected": span(d.seconds_expected),
            "seconds_single_stream": span(d.seconds_single),
            "egress_usd": d.egress_usd,
            "requests_usd": span(d.requests_usd),
            "hub_usd": d.hub_usd,
            "compression_saves": span(d.saved),
            "source": d.source,
            "measured": d.is_measured,
        }

    return {
        "rate": found.rate,
        "datasets": [{**one(d), "error": failed.get(d.name, "")} for d in found.datasets],
        "total": one(found.total),
        "costs": [{"what": c.what, "usd": span(c.usd), "note": c.note} for c in found.costs],
        "calendar": [
            {"phase": s.phase, "begins": s.begins.isoformat(), "ends": s.ends.isoformat(), "note": s.note} for s in found.calendar
        ],
        "moves": [
            {"workload": m.workload, "after": list(m.after), "begins": m.begins.isoformat(), "ends": m.ends.isoformat()}
            for m in found.moves
        ],
        "drivers": [asdict(d) for d in found.drivers],
        "notes": list(found.notes),
    }
