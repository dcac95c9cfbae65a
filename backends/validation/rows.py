"""What every reader makes of a line: a row of one metric with its places on all axes; and how odd figures are read.

Figures come as numbers, `NaN`, `nan`, `null`, `"inf"`, `Infinity`, true and false (1 and 0: an error or none), or as text
of a number. Instants come as unix seconds, milliseconds, microseconds or nanoseconds, told by their size, or as ISO 8601.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol

from backends.errors import CutoverError
from backends.escape import plain
from backends.plan.models import Axis
from backends.plan.nearest import nearest_name
from backends.validation.errors import AxisAbsent, MetricAbsent
from backends.validation.series import Sample

LONGEST_LINE = 1 << 20
_MOST_NAMES = 200
_MOST_SHOWN = 12
_EXACT = 1 << 53


class Row(NamedTuple):
    """One value and where it stands; None: the line does not say. `time` in unix seconds."""

    epoch: float | None
    step: float | None
    samples: float | None
    time: float | None
    value: float
    tokens: float | None = None


AXIS_FIELDS: dict[Axis, tuple[str, ...]] = {
    "epoch": ("epoch", "epoch_num"),
    "step": ("step", "global_step", "step_num", "iteration", "iter", "_step", "trainer/global_step", "train/global_step"),
    "samples": ("samples", "samples_count", "num_samples", "consumed_samples"),
    "tokens": ("tokens", "consumed_tokens", "tokens_seen", "num_input_tokens_seen", "total_tokens", "num_tokens"),
    "time": ("time", "timestamp", "ts", "time_ms", "wall_time", "_timestamp", "@timestamp"),
}
AXES: tuple[Axis, ...] = ("epoch", "step", "samples", "tokens", "time")
_PLACE_IN: dict[Axis, int] = {"epoch": 0, "step": 1, "samples": 2, "time": 3, "tokens": 5}  # of a row


class Reader(Protocol):
    """Rows of one metric out of lines. Keeps what it has seen, so that an absent metric can be answered for."""

    found: int  # lines that hold the metric
    broken: int  # lines that could not be read
    is_ambiguous: bool  # the name stands for two metrics, told apart by metadata

    def read(self, lines: Iterable[bytes]) -> list[Row]:
        """Rows of these lines, in their order. Lines that are broken are counted and left out."""

    def why_absent(self) -> CutoverError:
        """Why no row came: the metric is not there (and which are), is ambiguous, or names an object."""


def to_number(value: Any) -> float | None:
    """A figure, NaN and infinities as such; None where it is none. `null` is NaN: that is how JSON writers spell it."""
    if value is None:
        return math.nan
    if isinstance(value, int | float):
        try:
            return float(value)
        except OverflowError:
            return math.inf if value > 0 else -math.inf
    if isinstance(value, str) and 0 < len(value) < 400 and "_" not in value:
        try:
            return float(value)
        except ValueError:
            return None
    return None


def to_place(value: Any) -> float | None:
    """A place on an axis: a finite number."""
    if type(value) is int and -_EXACT < value < _EXACT:
        return float(value)
    number = to_number(value)
    return number if number is not None and math.isfinite(number) else None


def to_time(value: Any) -> float | None:
    """An instant as unix seconds."""
    if type(value) is float and -1e11 < value < 1e11:
        return value
    if isinstance(value, str) and "-" in value[1:]:
        return _iso_seconds(value)
    seconds = to_place(value)
    if seconds is None:
        return None
    for _ in range(3):
        if abs(seconds) < 1e11:
            break
        seconds /= 1000.0
    return seconds


def _iso_seconds(text: str) -> float | None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)).timestamp()


AxisFields = tuple[str | None, ...]  # by AXES


def axis_fields(names: Collection[str]) -> AxisFields:
    """Which of a line's fields hold its places, by AXES."""
    return tuple(next((n for n in AXIS_FIELDS[axis] if n in names), None) for axis in AXES)


def row_of(fields: Mapping[str, Any], where: AxisFields, value: float) -> Row:
    """The row of a line whose axes are in these fields."""
    epoch, step, samples, tokens, time = where
    return Row(
        to_place(fields[epoch]) if epoch is not None else None,
        to_place(fields[step]) if step is not None else None,
        to_place(fields[samples]) if samples is not None else None,
        to_time(fields[time]) if time is not None else None,
        value,
        to_place(fields[tokens]) if tokens is not None else None,
    )


def samples_of(rows: Iterable[Row], by: Axis, arrived: float | None) -> list[Sample]:
    """The rows that have a place on the axis, as samples. `arrived` stands in for the time of lines that have none;
    without it they stand at their number in the source."""
    out: list[Sample] = []
    index = _PLACE_IN[by]
    for i, row in enumerate(rows):
        time = row.time if row.time is not None else (arrived if arrived is not None else float(i))
        if by == "time":
            if row.time is not None or arrived is not None:
                out.append(Sample(time, time, row.value))
            continue
        x = row[index]
        if x is not None:
            out.append(Sample(x, time, row.value))
    return out


def axes_of(rows: Sequence[Row]) -> tuple[Axis, ...]:
    """The axes on which all these rows have a place."""
    return tuple(axis for axis in AXES if rows and all(row[_PLACE_IN[axis]] is not None for row in rows))


def axis_absent(metric: str, by: Axis, rows: Sequence[Row]) -> AxisAbsent:
    """The metric is there, but not by this axis: says by which it is."""
    have = [axis for axis in AXES if any(row[_PLACE_IN[axis]] is not None for row in rows)]
    hint = f"it has {', '.join(have)}: use --by {have[0]}, or `by: {have[0]}` in the plan" if have else "it has none"
    return AxisAbsent(f"`{plain(metric, 80)}` has no place by {by}", hint=hint)


class Names:
    """The metrics that a source holds, a bounded number of them, for the answer when one is absent."""

    def __init__(self) -> None:
        self.seen: dict[str, None] = {}
        self.more = False
        self.odd: str | None = None  # what the metric itself holds, where that is no figure

    def add(self, name: str) -> None:
        if name not in self.seen:
            if len(self.seen) < _MOST_NAMES:
                self.seen[name] = None
            else:
                self.more = True

    def absent(self, metric: str) -> MetricAbsent:
        """The error that lists what there is, the nearest name first; of a metric that is there it says what it holds."""
        if self.odd is not None:
            message = f"`{plain(metric, 80)}` is there, but holds no figure that can be read, such as `{plain(self.odd, 40)}`"
            return MetricAbsent(message, hint="a figure is written as 2.5: no decimal comma, no % or unit beside it")
        near = nearest_name(metric, self.seen)
        names = sorted(self.seen, key=lambda n: (n != near, n))
        if not names:
            return MetricAbsent(f"`{plain(metric, 80)}` is not there, nor any other metric")
        listed = ", ".join(plain(n, 80) for n in names[:_MOST_SHOWN])
        rest = len(names) - _MOST_SHOWN
        more = f" and {rest}{' or more' if self.more else ''} more" if rest > 0 else ""
        return MetricAbsent(f"`{plain(metric, 80)}` is not there; there are {listed}{more}", hint=_hint(near))


def _hint(near: str | None) -> str:
    return f"did you mean {plain(near, 80)}?" if near is not None else "name one of these"
