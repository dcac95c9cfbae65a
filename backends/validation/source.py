"""Runs read once from their beginning to their end, for a comparison without a plan. Pipes are read as well as files."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import unquote, urlsplit

from backends.errors import CutoverError, NotYetSupported, UsageError
from backends.escape import plain
from backends.listed import counted
from backends.plan.models import Axis
from backends.validation.addresses import Address, address_of, is_far
from backends.validation.columns import BlockReader, Columns
from backends.validation.curve import Curve
from backends.validation.errors import AxisAbsent, SourceUnreadable
from backends.validation.fetch import FetchedRun, fetch_run
from backends.validation.intake import Intake
from backends.validation.rows import AXES, Row, axes_of, axis_absent, samples_of

if TYPE_CHECKING:
    from backends.validation.far import FarFiles

_PIECE = 1 << 17  # what is parsed at once stays in the cache
_LOOKED_AT = 1000  # rows that tell which axes a run has


class RunFile:
    """A run's metric in a file, or in a folder of TensorBoard's event files: `axes` after the first rows, `load` the rest.

    Raises what `why_absent` says.
    """

    def __init__(self, source: str, metric: str, pattern: re.Pattern[str] | None = None, far: FarFiles | None = None) -> None:
        self.where = plain(source)
        self.metric = metric
        self._intakes: list[Intake] = []
        self._pattern = pattern
        self._by: Axis | None = None
        self._rows = self._read(pieces_of(source, self.where, far))
        self._first: list[Row] = []
        for rows in self._rows:
            assert isinstance(rows, list)  # columns come only once `load` has asked for them
            self._first.extend(rows)
            if len(self._first) >= _LOOKED_AT:
                break

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes on which the metric has places."""
        return axes_of(self._first)

    def load(self, by: Axis, *, every: bool = False) -> Curve:
        """All of it by this axis; with `every` each sample of a place."""
        curve = Curve(by, self.where, every=every)
        odd = self._first[:8]
        curve.extend(samples_of(self._first, by, None))
        self._first = []
        self._by = by
        for rows in self._rows:
            if isinstance(rows, Columns):
                curve.extend_columns(rows.xs, rows.ys)
            else:
                curve.extend(samples_of(rows, by, None))
        if not len(curve):
            error = axis_absent(self.metric, by, odd)
            raise AxisAbsent(error.message, where=self.where, hint=error.hint)
        broken = sum(i.broken for i in self._intakes)
        if broken:
            first = self._intakes[0].first_broken if len(self._intakes) == 1 else None
            what, which = counted(broken, "line"), f" ({'the first is ' if broken > 1 else ''}line {first})"
            if first is None:
                what, which = f"{what} or record{'s' if broken > 1 else ''}", ""
            curve.notes.append(f"{what} could not be read and left out{which}: no figure, cut short, or over 1 MiB")
        if not all(i.is_whole for i in self._intakes):
            curve.notes.append("the packed data break off: read as far as they go")
        for intake in self._intakes:
            curve.settings = intake.settings | curve.settings
            curve.out_of_memory = curve.out_of_memory or intake.out_of_memory
        if curve.out_of_memory:
            curve.notes.append(f"it ran out of memory: {curve.out_of_memory}")
        if curve.duplicates:
            curve.notes.append(curve.duplicates_words)
        elif curve.was_unsorted:
            curve.notes.append("its places are not in order: sorted")
        return curve

    def _read(self, files: list[Iterator[bytes]]) -> Iterator[list[Row] | Columns]:
        """Rows in pieces; raises at the end where there were none."""
        for file in files:
            intake = Intake(self.metric, where=self.where, pattern=self._pattern)
            self._intakes.append(intake)
            blocks: BlockReader | None = None
            for piece in file:
                blocks = blocks or (intake.block_reader(self._by) if self._by is not None else None)
                if blocks is None:
                    yield intake.take(piece)
                else:
                    yield from intake.take_blocks(piece, blocks)
            yield intake.end()
        ambiguous = [i for i in self._intakes if i.is_ambiguous]
        if ambiguous or not any(i.found for i in self._intakes):
            raise (ambiguous or self._intakes)[0].why_absent()


def pieces_of(source: str, where: str, far: FarFiles | None) -> list[Iterator[bytes]]:
    """The bytes of each file of a source."""
    if not is_far(source):
        return [_local_pieces(path, where) for path in _paths(_local_path(source), where)]
    if far is None:
        raise SourceUnreadable("no SSH here to read it with", where=where)
    return [far.pieces(file, _PIECE) for file in far.files(source)]


def _local_pieces(path: Path, where: str) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
    except OSError as error:
        message = f"cannot read it: {error.strerror or 'an error of the system'}"
        raise SourceUnreadable(message, where=where) from error


def _local_path(source: str) -> Path:
    parts = urlsplit(source)
    if "://" not in source:
        return Path(source)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    hint = "give a file, ssh://HOST/PATH, prometheus+http://…?query=… or mlflow+http://…?run=…"
    raise NotYetSupported(f"sources of kind `{plain(parts.scheme, 40)}` are not yet supported", where=plain(source), hint=hint)


def _paths(path: Path, where: str) -> list[Path]:
    """The file; of a folder its event files in order of their names, which begin with the time."""
    if not path.is_dir():
        return [path]
    found = sorted(path.glob("*tfevents*"))
    if not found:
        raise SourceUnreadable("a folder without TensorBoard event files", where=where, hint="name a file in it")
    return found


def load_runs(
    legacy: Sequence[str],
    target: Sequence[str],
    metric: str,
    by: Axis | None,
    pattern: re.Pattern[str] | None = None,
    far: FarFiles | None = None,
) -> tuple[list[Curve], list[Curve], Axis]:
    """Both sides' runs by one axis: `by`, else the first axis that all have (time last, since times never meet)."""
    old, new = open_runs(legacy, metric, pattern, far), open_runs(target, metric, pattern, far)
    axis = by or common_axis([*old, *new])
    return [r.load(axis) for r in old], [r.load(axis) for r in new], axis


class Run(Protocol):
    """A run of one side, in a file or fetched."""

    where: str
    metric: str

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes on which the metric has places."""

    def load(self, by: Axis, *, every: bool = False) -> Curve:
        """All of it by this axis; with `every` each sample of a place."""


def open_runs(
    sources: Sequence[str], metric: str, pattern: re.Pattern[str] | None = None, far: FarFiles | None = None
) -> list[Run]:
    """One side's runs, each read as far as its axes are known; what a server keeps is fetched, several at once. `far` reads what lies on
    hosts."""
    if far is not None:
        sources = [each for source in sources for each in (far.expand(source) if is_far(source) else [source])]
    addresses = [address_of(source) for source in sources]
    asked = [a for a in addresses if a is not None]
    fetched = iter(asyncio.run(_fetch(asked, metric)) if asked else ())
    return [RunFile(s, metric, pattern, far) if a is None else next(fetched) for s, a in zip(sources, addresses, strict=True)]


async def _fetch(addresses: list[Address], metric: str) -> list[FetchedRun]:
    """All of them, a few at once; of several failures the first is raised."""
    gate = asyncio.Semaphore(4)

    async def one(address: Address) -> FetchedRun | CutoverError:
        async with gate:
            try:
                return await fetch_run(address, metric)
            except CutoverError as error:
                return error

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(a)) for a in addresses]
    found: list[FetchedRun] = []
    for task in tasks:
        run = task.result()
        if isinstance(run, CutoverError):
            raise run
        found.append(run)
    return found


def common_axis(runs: Sequence[Run]) -> Axis:
    """The first axis that all have. Raises `UsageError` that lists what each has."""
    for axis in AXES:
        if all(axis in r.axes for r in runs):
            return axis
    have = "; ".join(f"{r.where} by {', '.join(r.axes) or 'none'}" for r in runs)
    raise UsageError(f"`{plain(runs[0].metric, 80)}` has no axis that all sources share: {have}", hint="choose one with --by")
