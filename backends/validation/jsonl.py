"""JSON Lines: one object a line. A nested field is named by its dotted path, an exact key goes before a path.

`NaN`, `nan`, `Infinity` are no JSON, yet Python and NumPy write them: lines that orjson refuses get a second, slower look.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

import orjson

from backends.errors import CutoverError
from backends.escape import plain
from backends.plan.models import Axis
from backends.validation.errors import MetricAbsent
from backends.validation.rows import AXES, AXIS_FIELDS, AxisFields, Names, Row, axis_fields, row_of, to_number

_BARE = re.compile(rb"(?<=[:\[,\s])([+-]?)(nan|inf|infinity)(?=\s*[,}\]])", re.IGNORECASE)
_AXIS_NAMES = frozenset(name for names in AXIS_FIELDS.values() for name in names)
_MOST_SHAPES = 1000
_NAMED_LINES = 5000  # so many lines without the metric are looked at for the names of others


def load_object(line: bytes) -> Any:
    """The JSON value of a line, NaN and infinities spelt in any way; None where it is no JSON."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        pass
    try:
        return json.loads(_BARE.sub(_spell, line))
    except (ValueError, RecursionError):
        return None


def _spell(match: re.Match[bytes]) -> bytes:
    if match[2].lower() == b"nan":
        return b"NaN"
    return (b"-" if match[1] == b"-" else b"") + b"Infinity"


def field_of(value: Any, path: str) -> tuple[bool, Any]:
    """(is it there, its value) of a dotted path in an object; the exact key goes first."""
    if not isinstance(value, dict):
        return False, None
    if path in value:
        return True, value[path]
    head, dot, rest = path.partition(".")
    while dot:
        if head in value:
            found, inner = field_of(value[head], rest)
            if found:
                return True, inner
        more, dot, rest = rest.partition(".")
        head = f"{head}.{more}"
    return False, None


def collect_names(names: Names, value: Any, prefix: str = "", depth: int = 0) -> None:
    """Note the paths of all figures in an object."""
    if not isinstance(value, dict) or depth > 4:
        return
    for key, inner in value.items():
        if isinstance(inner, dict):
            collect_names(names, inner, f"{prefix}{key}.", depth + 1)
        elif isinstance(inner, int | float) and not (not prefix and key in _AXIS_NAMES):
            names.add(f"{prefix}{key}")


class JsonLines:
    """Reads one metric of JSON Lines."""

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.found = 0
        self.broken = 0
        self.is_ambiguous = False
        self._names = Names()
        self._axes: dict[tuple[str, ...], AxisFields] = {}  # by a line's field names: most lines have the same
        self._named = 0
        self._object: list[str] = []  # the metric's fields, where it turns out to be an object

    def read(self, lines: Iterable[bytes]) -> list[Row]:
        return self.read_objects(load_object(line) for line in lines if line.strip())

    def read_objects(self, values: Iterable[Any]) -> list[Row]:
        """Rows of objects that are parsed already; what is none counts as broken."""
        rows: list[Row] = []
        metric = self.metric
        for value in values:
            if not isinstance(value, dict):
                self.broken += 1
                continue
            there = metric in value
            raw = value[metric] if there else None
            if not there and "." in metric:
                there, raw = field_of(value, metric)
            number = to_number(raw) if there else None
            if number is None:
                self.broken += there and not isinstance(raw, dict)
                self._note(value, raw, there)
                continue
            names = tuple(value)
            where = self._axes.get(names)
            if where is None:
                if len(self._axes) > _MOST_SHAPES:
                    self._axes.clear()
                where = self._axes[names] = axis_fields(names)
            rows.append(row_of(value, where, number))
        self.found += len(rows)
        return rows

    def axis_field(self, by: Axis) -> str | None:
        """The field of this axis, where the lines so far agree on one and hold the metric as a field of their own."""
        at = AXES.index(by)
        fields = {where[at] for where in self._axes.values()}
        return fields.pop() if len(fields) == 1 and "." not in self.metric else None

    def _note(self, value: dict[str, Any], raw: Any, there: bool) -> None:
        if isinstance(raw, dict) and not self._object:
            self._object = [str(k) for k in list(raw)[:12]]
        elif there and self._names.odd is None:
            self._names.odd = str(raw)
        if self._named < _NAMED_LINES:
            self._named += 1
            collect_names(self._names, value)

    def why_absent(self) -> CutoverError:
        if self._object:
            return object_named(self.metric, self._object)
        return self._names.absent(self.metric)


def object_named(metric: str, fields: list[str]) -> MetricAbsent:
    """The name is an object's: one of its fields must be named."""
    name = plain(metric, 80)
    listed = ", ".join(f"{name}.{plain(f, 80)}" for f in fields)
    return MetricAbsent(f"`{name}` is an object; its fields are {listed}", hint=f"name one of them: {listed}")
