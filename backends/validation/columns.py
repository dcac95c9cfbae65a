"""Many like lines of JSON Lines at once: a block is parsed as one list, and two of its fields become columns.

Only where that cannot read anything else than line by line: every line an object of its own, the metric and the axis plain
fields, all of them numbers. Any other block is refused, and its reader takes it line by line.
"""

from __future__ import annotations

from array import array
from typing import NamedTuple

import orjson

from backends.plan.models import Axis
from backends.validation.rows import AXIS_FIELDS


class Columns(NamedTuple):
    xs: array[float]
    ys: array[float]


class BlockReader:
    """Reads blocks of whole lines by one axis' field. `field` is the one that the first lines had."""

    def __init__(self, metric: str, by: Axis, field: str) -> None:
        self._metric = metric
        self._field = field
        names = AXIS_FIELDS[by]
        # A line with a name that goes before this one would be read by that.
        self._before = [b'"' + n.encode() + b'"' for n in names[: names.index(field)]]

    def read(self, block: bytes) -> Columns | None:
        """The columns of a block of whole lines, each with its LF; None where it must be read line by line."""
        if not block.startswith(b"{") or not block.endswith(b"}\n") or b"[" in block or b"\r" in block or b"\\" in block:
            return None
        lines = block.count(b"\n")
        if block.count(b"}\n{") != lines - 1:  # a line that is empty, or no object
            return None
        if any(name in block for name in self._before):
            return None
        # The LF stays: a text that is not closed on its line cannot go on in the next, for a text holds no LF.
        try:
            values = orjson.loads(b"[%b]" % block.replace(b"}\n{", b"},\n{"))
        except orjson.JSONDecodeError:
            return None
        if len(values) != lines:
            return None
        field, metric = self._field, self._metric
        try:
            return Columns(array("d", [v[field] for v in values]), array("d", [v[metric] for v in values]))
        except (KeyError, TypeError, OverflowError):
            return None
