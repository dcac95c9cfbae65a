"""What form a source has, told by its content and never by its name."""

from __future__ import annotations

from copy import deepcopy
from typing import Protocol

from backends.errors import CutoverError
from backends.escape import plain
from backends.plan.models import Axis
from backends.validation.columns import BlockReader, Columns
from backends.validation.csvfile import CsvFile, delimiter_of
from backends.validation.documents import Document, is_document
from backends.validation.errors import SourceUnreadable
from backends.validation.jsonl import JsonLines, load_object
from backends.validation.lines import Lines
from backends.validation.mllog import MARK, MlLog
from backends.validation.rows import LONGEST_LINE, Reader, Row
from backends.validation.tfevents import TfEvents, is_event_file

HEAD = 1 << 16  # so much is looked at before a source is given up as unknown
_FIRST_LINE = 4 * LONGEST_LINE  # a first line that is longer belongs to a document that stands on one line


class Form(Protocol):
    """A source's bytes made into rows of one metric: a `Reader` behind what cuts the bytes."""

    @property
    def found(self) -> int:
        """How many rows there were."""

    @property
    def broken(self) -> int:
        """Lines or records that could not be read."""

    @property
    def first_broken(self) -> int | None:
        """The number of the first such line, counted from 1; None where there is none or the form has no lines."""

    @property
    def is_ambiguous(self) -> bool:
        """Does the name stand for two metrics?"""

    def take(self, data: bytes) -> list[Row]:
        """Rows of what is whole by now."""

    def pause(self) -> list[Row]:
        """For now there is no more: rows of what is complete in itself."""

    def rest(self) -> list[Row]:
        """The source has ended: rows of what was left."""

    def why_absent(self) -> CutoverError:
        """Why no row came."""


class LineForm:
    """A form of lines, behind its `Reader`."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._lines = Lines()
        self._first_broken: int | None = None

    @property
    def found(self) -> int:
        return self._reader.found

    @property
    def broken(self) -> int:
        return self._reader.broken + self._lines.too_long

    @property
    def first_broken(self) -> int | None:
        return min((n for n in (self._first_broken, self._lines.first_too_long) if n is not None), default=None)

    @property
    def is_ambiguous(self) -> bool:
        return self._reader.is_ambiguous

    def take(self, data: bytes) -> list[Row]:
        before = self._lines.ended
        return self._read(self._lines.cut(data), before)

    def _read(self, lines: list[bytes], before: int) -> list[Row]:
        """Rows of these lines, which `before` lines stand before."""
        rows = self._reader.read(lines)
        if self._reader.broken and self._first_broken is None:
            self._first_broken = before + 1 + self._index_of_broken(lines)
        return rows

    def _index_of_broken(self, lines: list[bytes]) -> int:
        """Once in a source: its reader, which knows what it has read, takes them again one by one."""
        twin = deepcopy(self._reader)
        known = twin.broken
        for i, line in enumerate(lines):
            twin.read([line])
            if twin.broken != known:
                return i
        return 0

    @property
    def settings(self) -> dict[str, str]:
        """What the source says of how the run was made."""
        return self._reader.settings if isinstance(self._reader, MlLog) else {}

    def block_reader(self, by: Axis) -> BlockReader | None:
        """What reads the lines of this form many at once; None where they are not like enough."""
        field = self._reader.axis_field(by) if isinstance(self._reader, JsonLines) and by != "time" else None
        return BlockReader(self._reader.metric, by, field) if field is not None and isinstance(self._reader, JsonLines) else None

    def take_block(self, data: bytes, blocks: BlockReader) -> list[Row] | Columns:
        """As `take`, many lines at once where that can be."""
        before = self._lines.ended
        block = self._lines.block(data)
        if block is None:
            return self.take(data)
        columns = blocks.read(block)
        if columns is None:
            return self._read(block.split(b"\n"), before)
        self._reader.found += len(columns.xs)
        return columns

    def pause(self) -> list[Row]:
        """A JSON object that is complete in itself does not wait for its end of line."""
        return self._read(self._lines.take_complete_object(), self._lines.ended)

    def rest(self) -> list[Row]:
        return self._read(self._lines.rest(), self._lines.ended)

    def why_absent(self) -> CutoverError:
        return self._reader.why_absent()


def form_for(head: bytes, metric: str, *, where: str, complete: bool) -> Form | None:
    """The form of a source that begins with `head`; None where more of it is needed to tell.

    `complete`: there is no more. Raises `SourceUnreadable` with what it seems to be.
    """
    events = is_event_file(head)
    if events or (events is None and not complete):
        return TfEvents(metric, where) if events else None
    if MARK in head:
        return LineForm(MlLog(metric))
    lines = Lines()
    whole = lines.cut(head)
    if complete:
        whole += lines.rest()
    first = next((line for line in whole if line.strip()), None)
    text = (head if first is None else first).removeprefix(b"\xef\xbb\xbf").strip()
    if text.startswith((b"{", b"[")):
        return _json_form(
            text, whole, metric, where, is_all=complete or len(head) >= (HEAD if first is not None else _FIRST_LINE)
        )
    if first is not None and _is_header(text):
        return LineForm(CsvFile(metric))
    if len(head) >= HEAD or (complete and first is not None):
        raise _unknown(head, where)
    return None


def _json_form(text: bytes, whole: list[bytes], metric: str, where: str, *, is_all: bool) -> Form | None:
    """JSON Lines or one document; `text` is the first line as far as it is there."""
    if text in (b"{", b"[") or text.startswith(b"["):
        return Document(metric, where)
    value = load_object(text)
    if isinstance(value, dict) and not is_document(value):
        return LineForm(JsonLines(metric))
    if isinstance(value, dict) and sum(map(bool, map(bytes.strip, whole))) <= 1:
        return Document(metric, where)
    if whole and _mostly_objects(whole):
        return LineForm(JsonLines(metric))
    return Document(metric, where) if is_all else None


def _mostly_objects(lines: list[bytes]) -> bool:
    some = [line for line in lines if line.strip()][:40]
    return 2 * sum(isinstance(load_object(line), dict) for line in some) > len(some)


def _is_header(text: bytes) -> bool:
    """A header has a delimiter and, beside names, no figures."""
    decoded = text.decode("utf-8", "replace")
    delimiter = delimiter_of(decoded)
    if delimiter is None or "\ufffd" in decoded or not decoded.replace("\t", " ").isprintable():
        return False
    cells = [c.strip().strip('"') for c in decoded.split(delimiter)]
    return all(c and not _is_figure(c) for c in cells) or (not cells[0] and all(map(bool, cells[1:])))


def _is_figure(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return cell.casefold() not in ("nan", "inf", "infinity")


def _unknown(head: bytes, where: str) -> SourceUnreadable:
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return SourceUnreadable("text in UTF-16", where=where, hint="write it in UTF-8, as iconv -f UTF-16 -t UTF-8 does")
    kind = "binary data" if b"\0" in head else f"text that begins `{plain(head[:40])}`"
    hint = (
        "known forms: JSON Lines, CSV or TSV with a header, MLPerf :::MLLOG lines, TensorBoard events; other logs need a pattern"
    )
    return SourceUnreadable(f"in no form that is known: {kind}", where=where, hint=hint)
