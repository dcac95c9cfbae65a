"""TensorBoard event files, without TensorFlow: scalars by their tags.

A file is records of the TFRecord framing (tensorflow/core/lib/io/record_writer.h): length (8 bytes), masked CRC-32C of the
length, data, masked CRC-32C of the data. Data are protocol buffers of tensorflow/core/util/event.proto and
tensorflow/core/framework/summary.proto, of which only scalars are read: `simple_value`, or a tensor of one number. A record
that is cut off waits for its end; a damaged one is counted and passed over.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator

from backends.crc import crc32c
from backends.errors import CutoverError
from backends.validation.errors import SourceUnreadable
from backends.validation.rows import Names, Row

LONGEST = 1 << 20  # bytes of a record that is read; longer ones (images, graphs) are passed over
_HEAD, _TAIL = 12, 4
_NAMED = 5000  # records without the metric that are looked at for names
_FLOATS = {1: "<f", 2: "<d", 3: "<i", 9: "<q", 19: "<e"}  # DataType: its numbers in tensor_content
_LISTS = {5: "<f", 6: "<d"}  # TensorProto's float_val, double_val
_VARINTS = (7, 10)  # int_val, int64_val


class Malformed(ValueError):
    """Bytes that are no protocol buffer."""


def is_event_file(head: bytes) -> bool | None:
    """Does a file begin as an event file? None where more bytes are needed to tell."""
    if len(head) < _HEAD:
        return None if head[4:8] == b"\0" * len(head[4:8]) else False
    length, check = struct.unpack("<QI", head[:_HEAD])
    return bool(0 < length < 1 << 16 and _masked(head[:8]) == check)


def _masked(data: bytes) -> int:
    crc = crc32c(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


class TfEvents:
    """Reads one tag of an event file; a form as those in `forms`."""

    def __init__(self, metric: str, where: str) -> None:
        self.metric = metric
        self.found = 0
        self.broken = 0
        self.first_broken: int | None = None  # records have no lines
        self.too_long = 0
        self.is_ambiguous = False
        self._tag = metric.encode()
        self._where = where
        self._held = bytearray()
        self._skip = 0
        self._names = Names()
        self._named = 0

    def take(self, data: bytes) -> list[Row]:
        """Rows of the records that are whole by now."""
        if self._skip:
            passed = min(self._skip, len(data))
            data, self._skip = data[passed:], self._skip - passed
        self._held += data
        rows: list[Row] = []
        held, start = memoryview(bytes(self._held)), 0
        while len(held) - start >= _HEAD:
            length, check = struct.unpack_from("<QI", held, start)
            if _masked(bytes(held[start : start + 8])) != check:
                raise SourceUnreadable("a damaged record: what follows it cannot be found", where=self._where)
            end = start + _HEAD + length + _TAIL
            if length > LONGEST:
                self.too_long += 1
                self._skip = max(0, end - len(held))
                start = min(end, len(held))
                continue
            if end > len(held):
                break
            record = bytes(held[start + _HEAD : end - _TAIL])
            if _masked(record) == struct.unpack_from("<I", held, end - _TAIL)[0]:
                rows.extend(self._rows(record))
            else:
                self.broken += 1
            start = end
        del self._held[:start]
        self.found += len(rows)
        return rows

    def pause(self) -> list[Row]:
        """Nothing: a record is whole or it waits."""
        return []

    def rest(self) -> list[Row]:
        """A record that was cut off at the end is counted."""
        if self._held or self._skip:
            self.broken += 1
            self._held.clear()
        return []

    def why_absent(self) -> CutoverError:
        return self._names.absent(self.metric)

    def _rows(self, record: bytes) -> Iterator[Row]:
        try:
            time, step, values = _event(record)
        except Malformed:
            self.broken += 1
            return
        for tag, value in values:
            if tag == self._tag:
                yield Row(None, step, None, time, value)
            elif self._named < _NAMED:
                self._named += 1
                self._names.add(tag.decode("utf-8", "replace"))


def _event(record: bytes) -> tuple[float | None, float, list[tuple[bytes, float]]]:
    """(wall time, step, the scalars by tag) of an Event."""
    time: float | None = None
    step, values = 0, list[tuple[bytes, float]]()
    for number, value in _fields(record):
        if number == 1 and isinstance(value, bytes) and len(value) == 8:
            time = struct.unpack("<d", value)[0]
        elif number == 2 and isinstance(value, int):
            step = value - (1 << 64) if value >> 63 else value
        elif number == 5 and isinstance(value, bytes):
            values.extend(_scalars(value))
    return (time if time is not None and math.isfinite(time) else None), float(step), values


def _scalars(summary: bytes) -> Iterator[tuple[bytes, float]]:
    for number, value in _fields(summary):
        if number != 1 or not isinstance(value, bytes):
            continue
        tag, scalar = b"", None
        for inner, content in _fields(value):
            if inner == 1 and isinstance(content, bytes):
                tag = content
            elif inner == 2 and isinstance(content, bytes) and len(content) == 4:
                scalar = float(struct.unpack("<f", content)[0])
            elif inner == 8 and isinstance(content, bytes):
                scalar = _tensor(content)
        if scalar is not None:
            yield tag, scalar


def _tensor(tensor: bytes) -> float | None:
    """The number in a TensorProto that holds one; None where it holds something else."""
    kind, found = 0, None
    for number, value in _fields(tensor):
        if number == 1 and isinstance(value, int):
            kind = value
        elif number == 4 and isinstance(value, bytes):
            found = _number(_FLOATS.get(kind), value)
        elif number in _LISTS and isinstance(value, bytes):
            found = _number(_LISTS[number], value)
        elif number in _VARINTS:
            whole = _varint(value, 0)[0] if isinstance(value, bytes) else value
            found = float(whole - (1 << 64) if whole >> 63 else whole)
    return found


def _number(form: str | None, data: bytes) -> float | None:
    if form is None or len(data) != struct.calcsize(form):
        return None
    return float(struct.unpack(form, data)[0])


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """(number, value) of each field: whole numbers of varints, bytes of all else."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind not in (1, 2, 5):
            raise Malformed
        size, at = _varint(data, at) if kind == 2 else (8 if kind == 1 else 4, at)
        if at + size > len(data):
            raise Malformed
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value & ((1 << 64) - 1), at
        shift += 7
    raise Malformed
