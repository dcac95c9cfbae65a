"""Measured throughput of cards, as an operator has it: `gpu,value`, one unit for all; it outranks what sheets promise. `cutover baseline` adds what
it measured on legacy's."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from backends.catalog.tables import find_gpu
from backends.errors import CouldNot, UsageError
from backends.escape import plain
from backends.plan.models import Plan, Workload

_LONGEST = 1 << 20


def read_benchmarks(path: Path) -> dict[str, float]:
    """Throughput by the catalogue's name; of two lines for one card the last. Raises `UsageError` naming the line, `UnknownGpu`, `CouldNot`."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            text = file.read(_LONGEST + 1)
    except (OSError, UnicodeDecodeError) as error:
        raise CouldNot(f"cannot read {plain(str(path), 200)}", where=str(path)) from error
    if len(text) > _LONGEST:
        raise CouldNot(f"{plain(str(path), 200)} has more than {_LONGEST} bytes", where=str(path))
    rows = csv.DictReader(text.splitlines())
    if not {"gpu", "value"} <= set(rows.fieldnames or ()):
        raise UsageError("expected the columns gpu and value", where=f"{path}:1", hint="the first line is gpu,value")
    found: dict[str, float] = {}
    for row in rows:
        where = f"{path}:{rows.line_num}"
        try:
            value = float(row["value"] or "")
        except ValueError:
            value = math.nan
        if not (0 < value < math.inf):
            raise UsageError(f"found {plain(str(row['value']), 40)}, expected a throughput above 0", where=f"{where}:value")
        found[find_gpu(row["gpu"] or "").name] = value
    return found


@dataclass(frozen=True, slots=True)
class Benchmark:
    """What a measure found on one card of a workload: throughput, or steps a second where it measures what a step takes."""

    gpu: str
    value: float
    measure: str


def benchmark_of(plan: Plan, recorded: Iterable[Mapping[str, Any]]) -> Benchmark:
    """Of the one throughput or step time among the baseline's measures, divided by the cards of the hosts that its workload runs on. Raises
    `UsageError` where it is not one, or the plan does not say on which cards; `UnknownGpu`."""
    speeds = [m for m in recorded if m["recorded"] and m["kind"] in ("throughput", "step_time")]
    if len(speeds) != 1:
        found = ", ".join(plain(m["measure"], 60) for m in speeds) or "none"
        hint = "--workload NAME" if speeds else "give the workload a measure of kind throughput or step_time"
        raise UsageError(f"found {found}, expected one measure of a speed", where="--benchmarks", hint=hint)
    [one] = speeds
    work = next(w for w in plan.workloads if w.name == one["workload"])
    card, count = _cards(plan, work)
    value = median(y for _, y in one["points"]) if one["points"] else float(one["value"])
    value = value if one["kind"] == "throughput" else 1 / value if value > 0 else math.nan
    if not 0 < value / count < math.inf:
        raise UsageError(
            f"found {plain(one['measure'], 60)} at {one['value']:g}, which is no speed",
            where="--benchmarks",
            hint="look at its source",
        )
    return Benchmark(card, value / count, one["measure"])


def _cards(plan: Plan, work: Workload) -> tuple[str, int]:
    hosts = [h for h in plan.legacy.hosts if h.name in work.runs_on.legacy]
    types = {h.gpus.type for h in hosts if h.gpus is not None}
    count = work.gpus.count if work.gpus is not None else sum(h.gpus.count for h in hosts if h.gpus is not None)
    card = types.pop() if len(types) == 1 else None
    if card is None or any(h.gpus is None for h in hosts):
        message = f"the plan does not say on which card {plain(work.name, 60)} runs on legacy"
        raise UsageError(
            message,
            where="--benchmarks",
            hint="its runs_on.legacy, and gpus: {type: …, count: …} of those hosts, one type for all",
        )
    return find_gpu(card).name, count


def add_benchmark(path: Path, found: Benchmark) -> None:
    """Into the file, in the place of what it had of that card; it is made where there is none. Raises what `read_benchmarks` does."""
    known = read_benchmarks(path) if path.exists() else {}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerows([("gpu", "value"), *((gpu, f"{value:.6g}") for gpu, value in (known | {found.gpu: found.value}).items())])
    beside = path.with_name(f".{path.name}.part")
    try:
        beside.write_text(out.getvalue(), encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise CouldNot(f"cannot write {plain(str(path), 200)}: {error.strerror}", where=str(path)) from error
