"""CSV and TSV with a header. The delimiter is the one that the header has most of: comma, tab or semicolon.

An empty cell is a value that was not logged (sparse exports have many), `nan` is NaN. Names match exactly, else without
regard to case. Weights & Biases names the columns of an export `RUN - METRIC`: the metric's own name is enough where one run is
in it. A field with a line break inside is not supported: such lines count as broken.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable

from backends.errors import CutoverError
from backends.escape import plain
from backends.validation.errors import MetricAbsent, MetricAmbiguous
from backends.validation.rows import AXES, AXIS_FIELDS, Names, Row, to_number, to_place, to_time

DELIMITERS = (",", "\t", ";")


def delimiter_of(header: str) -> str | None:
    """The delimiter of a header line; None where it has none."""
    best = max(DELIMITERS, key=header.count)
    return best if best in header else None


class CsvFile:
    """Reads one column of a CSV or TSV; the first line is its header, repeated headers are skipped."""

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.found = 0
        self.broken = 0
        self.is_ambiguous = False
        self._header: list[str] | None = None
        self._delimiter = ","
        self._column: int | None = None
        self._of_runs: list[str] = []
        self._twice: list[int] = []  # the columns of the metric, where it has several
        self._has_rows = False
        self._names = Names()
        self._axes: list[int | None] = [None] * len(AXES)

    def read(self, lines: Iterable[bytes]) -> list[Row]:
        rows: list[Row] = []
        for line in lines:
            if not line.strip():
                continue
            cells = self._cells(line)
            if self._header is None:
                self._take_header(line)
            elif cells == self._header:
                continue
            elif self._column is not None:
                self._has_rows = True
                row = self._row(cells)
                if row is not None:
                    rows.append(row)
        self.found += len(rows)
        return rows

    def _cells(self, line: bytes) -> list[str]:
        text = line.decode("utf-8", "replace")
        if '"' not in text:
            return text.split(self._delimiter)
        try:
            return next(csv.reader([text], delimiter=self._delimiter), [])
        except csv.Error:
            return []

    def _take_header(self, line: bytes) -> None:
        text = line.decode("utf-8-sig", "replace")
        self._delimiter = delimiter_of(text) or ","
        header = [c.strip() for c in self._cells(text.encode())]
        self._header = self._cells(text.encode())
        self._column = _index(header, self.metric)
        if header.count(self.metric) > 1:
            self._twice = [i for i, name in enumerate(header, 1) if name == self.metric]
            self._column, self.is_ambiguous = None, True
        elif self._column is None:
            self._of_runs = [h for h in header if h.endswith(f" - {self.metric}")]
            self._column = header.index(self._of_runs[0]) if len(self._of_runs) == 1 else None
            self.is_ambiguous = len(self._of_runs) > 1
        for i, axis in enumerate(AXES):
            found = (_index(header, name) for name in AXIS_FIELDS[axis])
            self._axes[i] = next((c for c in found if c is not None), None)

    def _row(self, cells: list[str]) -> Row | None:
        assert self._column is not None
        header = self._header or []
        if len(cells) != len(header):
            self.broken += 1
            return None
        cell = cells[self._column].strip()
        if not cell:
            return None
        value = to_number(cell)
        if value is None and cell.casefold() in ("null", "none", "na", "n/a"):
            value = to_number("nan")
        if value is None:
            self.broken += 1
            self._names.odd = self._names.odd or cell
            return None
        places: list[float | None] = []
        for axis, column in zip(AXES, self._axes, strict=True):
            text = cells[column].strip() if column is not None else ""
            places.append((to_time(text) if axis == "time" else to_place(text)) if text else None)
        epoch, step, samples, tokens, time = places
        return Row(epoch, step, samples, time, value, tokens)

    def why_absent(self) -> CutoverError:
        if self._twice:
            message = f"`{plain(self.metric, 80)}` is the name of columns {', '.join(map(str, self._twice[:12]))}"
            return MetricAmbiguous(message, hint="give each column a name of its own")
        if self.is_ambiguous:
            listed = ", ".join(plain(n, 80) for n in self._of_runs[:12])
            message = f"`{plain(self.metric, 80)}` is there of {len(self._of_runs)} runs: {listed}"
            return MetricAmbiguous(message, hint="name the column of the run that is meant")
        names = self._names
        if self._column is not None and names.odd is None:
            what = "no cell of its column holds anything" if self._has_rows else "below the header stands no row"
            return MetricAbsent(f"`{plain(self.metric, 80)}` has no figure: {what}")
        taken = set(self._axes)
        for i, name in enumerate(self._header or []):
            if i not in taken:
                names.add(name.strip())
        return names.absent(self.metric)


def _index(header: list[str], name: str) -> int | None:
    if name in header:
        return header.index(name)
    folded = [h.casefold() for h in header]
    return folded.index(name.casefold()) if name.casefold() in folded else None
