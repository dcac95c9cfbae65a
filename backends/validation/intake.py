"""From a source's bytes to rows: unpacked where they are packed, their form told by their content, then read."""

from __future__ import annotations

import re
from collections.abc import Iterator

from backends.errors import CutoverError
from backends.escape import plain
from backends.plan.models import Axis
from backends.validation.columns import BlockReader, Columns
from backends.validation.documents import Document
from backends.validation.errors import MetricAbsent, SourceUnreadable
from backends.validation.forms import Form, LineForm, form_for
from backends.validation.oom import memory_line
from backends.validation.packing import Unpacker
from backends.validation.regexlog import RegexLog
from backends.validation.rows import Row


class Intake:
    """Takes a source's bytes in whatever pieces they come. `pattern` reads a plain log, whatever its content."""

    def __init__(self, metric: str, *, where: str, pattern: re.Pattern[str] | None = None) -> None:
        self._metric = metric
        self._where = where
        self._unpacker = Unpacker(where)
        self._head = b""
        self.out_of_memory = ""  # the first line that says so, as it may be shown
        self._form: Form | None = LineForm(RegexLog(metric, pattern)) if pattern is not None else None

    @property
    def is_known(self) -> bool:
        """Is the form told?"""
        return self._form is not None

    @property
    def found(self) -> int:
        """Rows so far."""
        return self._form.found if self._form is not None else 0

    @property
    def broken(self) -> int:
        """Lines or records that could not be read, too long ones among them."""
        return self._form.broken if self._form is not None else 0

    @property
    def first_broken(self) -> int | None:
        """The number of the first such line; None where there is none, or no lines."""
        return self._form.first_broken if self._form is not None else None

    @property
    def is_ambiguous(self) -> bool:
        """Does the metric's name stand for two?"""
        return self._form is not None and self._form.is_ambiguous

    @property
    def is_waiting(self) -> bool:
        """Can nothing be said yet, since the form is not told or a document is not whole?"""
        return self._form is None or (isinstance(self._form, Document) and self._form.is_waiting)

    @property
    def settings(self) -> dict[str, str]:
        """What the source says of how the run was made; empty where it says nothing."""
        return self._form.settings if isinstance(self._form, LineForm | Document) else {}

    @property
    def is_whole(self) -> bool:
        """False where packed data broke off."""
        return self._unpacker.is_whole

    def take(self, data: bytes) -> list[Row]:
        """Rows of what is whole by now. Raises `SourceUnreadable` where it is in no form that is known."""
        rows: list[Row] = []
        for piece in self._unpacker.take(data):
            rows += self._take(piece)
        return rows

    def _take(self, data: bytes) -> list[Row]:
        if not self.out_of_memory:
            self.out_of_memory = memory_line(data)
        if self._form is None:
            self._head += data
            self._form = form_for(self._head, self._metric, where=self._where, complete=False)
            if self._form is None:
                return []
            data, self._head = self._head, b""
        return self._form.take(data)

    def block_reader(self, by: Axis) -> BlockReader | None:
        """What reads many like lines at once; None where this source has none."""
        return self._form.block_reader(by) if isinstance(self._form, LineForm) else None

    def take_blocks(self, data: bytes, blocks: BlockReader) -> Iterator[list[Row] | Columns]:
        """As `take`, many lines at once where that can be."""
        for piece in self._unpacker.take(data):
            yield self._form.take_block(piece, blocks) if isinstance(self._form, LineForm) else self._take(piece)

    def pause(self) -> list[Row]:
        """For now there is no more: rows of what is complete in itself."""
        return self._form.pause() if self._form is not None else []

    def end(self) -> list[Row]:
        """The source has ended. Raises `SourceUnreadable` where it was empty or in no form that is known."""
        rows: list[Row] = []
        for piece in self._unpacker.end():
            rows += self._take(piece)
        if self._form is None:
            if not self._head.strip():
                raise SourceUnreadable("it is empty", where=self._where)
            self._form = form_for(self._head, self._metric, where=self._where, complete=True)
            if self._form is None:
                raise SourceUnreadable("in no form that is known", where=self._where)
            rows += self._form.take(self._head)
            self._head = b""
        return rows + self._form.rest()

    def why_absent(self) -> CutoverError:
        """Why no row came: the metric is not there (and which are), is ambiguous, or names an object."""
        if self._form is None:
            return MetricAbsent(f"`{plain(self._metric, 80)}` is not there, nor any other metric", where=self._where)
        error = self._form.why_absent()
        error.where = error.where or self._where
        return error
