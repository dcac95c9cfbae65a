"""One source read once from its beginning to its end, for a comparison without a plan. Pipes are read as well as files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from backends.errors import NotYetSupported, UsageError
from backends.escape import plain
from backends.plan.models import Axis
from backends.validation.errors import AxisAbsent, SourceUnreadable
from backends.validation.forms import Lines, reader_for
from backends.validation.rows import AXES, Reader, Row, axes_of, axis_absent, samples_of
from backends.validation.series import Series

_PIECE = 1 << 20
_LOOKED_AT = 1000  # rows that tell which axes a run has


class RunFile:
    """A run's metric in a file: `axes` after the first rows, `load` the rest. Raises what `why_absent` says."""

    def __init__(self, source: str, metric: str) -> None:
        self.where = plain(source)
        self.metric = metric
        self._rows = _rows(_local_path(source), metric, self.where)
        self._first: list[Row] = []
        for rows in self._rows:
            self._first.extend(rows)
            if len(self._first) >= _LOOKED_AT:
                break

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes on which the metric has places."""
        return axes_of(self._first)

    def load(self, by: Axis) -> Series:
        """All of it by this axis."""
        series = Series(by, keep=10_000_000)
        odd = list(self._first[:8])
        series.extend(samples_of(self._first, by, None))
        for rows in self._rows:
            series.extend(samples_of(rows, by, None))
        if not len(series):
            error = axis_absent(self.metric, by, odd)
            raise AxisAbsent(error.message, where=self.where, hint=error.hint)
        return series


def _local_path(source: str) -> Path:
    parts = urlsplit(source)
    if "://" not in source:
        return Path(source)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    hint = "give a file: JSON Lines, CSV or an MLPerf log; plans follow ssh:// files"
    raise NotYetSupported(f"sources of kind `{plain(parts.scheme, 40)}` are not yet supported", where=plain(source), hint=hint)


def _rows(path: Path, metric: str, where: str) -> Iterator[list[Row]]:
    """Rows in pieces; raises at the end where there were none."""
    lines, head, reader = Lines(), b"", None
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                if reader is None:
                    head += piece
                    reader = reader_for(head, metric, where=where, complete=False)
                    piece, head = (head, b"") if reader is not None else (b"", head)
                if reader is not None:
                    yield reader.read(lines.cut(piece))
    except OSError as error:
        raise SourceUnreadable(f"cannot read it: {error.strerror or 'an error of the system'}", where=where) from error
    if reader is None:
        if not head.strip():
            raise SourceUnreadable("it is empty", where=where)
        reader = reader_for(head, metric, where=where, complete=True)
        if reader is None:
            raise SourceUnreadable("in no form that is known", where=where)
        yield reader.read(lines.cut(head))
    yield reader.read(lines.rest())
    _say_absent(reader, where)


def _say_absent(reader: Reader, where: str) -> None:
    if reader.found and not reader.is_ambiguous:
        return
    error = reader.why_absent()
    error.where = where
    raise error


def load_runs(
    legacy: Sequence[str], target: Sequence[str], metric: str, by: Axis | None
) -> tuple[list[Series], list[Series], Axis]:
    """Both sides' runs by one axis: `by`, else the first axis that all have (time last, since times never meet)."""
    runs = [[RunFile(s, metric) for s in side] for side in (legacy, target)]
    axis = by or _common_axis([r for side in runs for r in side], metric)
    old, new = ([r.load(axis) for r in side] for side in runs)
    return old, new, axis


def _common_axis(runs: list[RunFile], metric: str) -> Axis:
    for axis in AXES:
        if all(axis in r.axes for r in runs):
            return axis
    have = "; ".join(f"{r.where} by {', '.join(r.axes) or 'none'}" for r in runs)
    raise UsageError(f"`{plain(metric, 80)}` has no axis that all sources share: {have}", hint="choose one with --by")
