"""Measured throughput of cards, as an operator has it: `gpu,value`, one unit for all; it outranks what sheets promise."""

from __future__ import annotations

import csv
import math
from pathlib import Path

from backends.catalog.tables import find_gpu
from backends.errors import CouldNot, UsageError
from backends.escape import plain

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
