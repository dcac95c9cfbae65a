"""Plain logs, read with a regular expression: each line that it finds itself in is a row.

Named groups are the metric and its axes: `epoch (?P<epoch>\\d+).* loss (?P<loss>\\S+)`. The metric's group has its name
(signs that a group cannot have are `_`), or is called `value`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from backends.errors import CutoverError, UsageError
from backends.escape import plain
from backends.validation.rows import AXIS_FIELDS, Names, Row, axis_fields, row_of, to_number

_LOOKED_AT = 16 << 10  # bytes of a line that the expression sees
_AXES = frozenset(name for names in AXIS_FIELDS.values() for name in names)


def group_of(pattern: re.Pattern[str], metric: str) -> str | None:
    """The group that holds the metric; None where there is none."""
    own = re.sub(r"\W", "_", metric)
    return next((g for g in (own, "value") if g in pattern.groupindex), None)


def compile_pattern(text: str) -> re.Pattern[str]:
    """The expression; raises `UsageError` where it is none or has no named group."""
    try:
        pattern = re.compile(text)
    except (re.error, RecursionError, OverflowError) as error:
        raise UsageError(f"`{plain(text, 120)}` is no regular expression: {plain(str(error), 200)}") from None
    if not pattern.groupindex:
        hint = r"such as epoch (?P<epoch>\d+).*loss (?P<loss>\S+)"
        raise UsageError(f"`{plain(text, 120)}` has no named group", hint=hint)
    return pattern


class RegexLog:
    """Reads one metric of a log."""

    def __init__(self, metric: str, pattern: re.Pattern[str]) -> None:
        self.metric = metric
        self.found = 0
        self.broken = 0
        self.is_ambiguous = False
        self._pattern = pattern
        self._group = group_of(pattern, metric)
        self._axes = axis_fields(pattern.groupindex)
        self._lines = 0
        self._seen = ""

    def read(self, lines: Iterable[bytes]) -> list[Row]:
        rows: list[Row] = []
        for line in lines:
            self._lines += 1
            match = self._pattern.search(line[:_LOOKED_AT].decode("utf-8", "replace"))
            if match is None or self._group is None or match[self._group] is None:
                self._seen = self._seen or line[:200].decode("utf-8", "replace")
                continue
            value = to_number(match[self._group].strip().rstrip(",;"))
            if value is None:
                self.broken += 1
                continue
            fields = {n: _place(t) for n, t in match.groupdict().items() if t is not None}
            rows.append(row_of(fields, _there(self._axes, fields), value))
        self.found += len(rows)
        return rows

    def why_absent(self) -> CutoverError:
        if self._group is None:
            names = Names()
            for name in self._pattern.groupindex:
                if name not in _AXES:
                    names.add(name)
            return names.absent(self.metric)
        message = f"none of {self._lines} lines matches `{plain(self._pattern.pattern, 120)}`"
        return UsageError(message, hint=f"a line there: {plain(self._seen, 160)}" if self._seen else "")


def _place(text: str) -> str:
    """A time of Python's logging has a comma before its milliseconds."""
    text = text.strip()
    return text.replace(",", ".") if ":" in text else text.replace(",", "")


def _there(axes: tuple[str | None, ...], fields: dict[str, str]) -> tuple[str | None, ...]:
    return tuple(name if name in fields else None for name in axes)
