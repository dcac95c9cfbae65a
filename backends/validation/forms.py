"""What form a source has, told by its content and never by its name; and its bytes cut into lines.

A line may end in LF, CR LF or CR. A line longer than 1 MiB is left out and counted; the rest is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from backends.errors import NotYetSupported
from backends.escape import plain
from backends.validation.csvfile import CsvFile, delimiter_of
from backends.validation.errors import SourceUnreadable
from backends.validation.jsonl import JsonLines, load_object
from backends.validation.mllog import MARK, MlLog
from backends.validation.rows import LONGEST_LINE, Reader

HEAD = 1 << 16  # so much is looked at before a source is given up as unknown

_MAGIC: tuple[tuple[bytes, str, str], ...] = (
    (b"\x1f\x8b", "gzip", "unpack it first: gunzip -k"),
    (b"\x28\xb5\x2f\xfd", "Zstandard", "unpack it first: zstd -d"),
    (b"BZh", "bzip2", "unpack it first: bunzip2 -k"),
    (b"\xfd7zXZ", "xz", "unpack it first: unxz -k"),
    (b"PK\x03\x04", "a zip archive", "unpack it first"),
)


def reader_for(head: bytes, metric: str, *, where: str, complete: bool) -> Reader | None:
    """The reader for a source that begins with `head`; None where more of it is needed to tell.

    `complete`: there is no more. Raises `SourceUnreadable` or `NotYetSupported` with what it seems to be.
    """
    _refuse_packed(head, where)
    if MARK in head:
        return MlLog(metric)
    lines = Lines()
    whole = lines.cut(head)
    if complete:
        whole += lines.rest()
    first = next((line for line in whole if line.strip()), None)
    if first is None:
        return _give_up(head, where) if len(head) >= HEAD else None
    text = first.removeprefix(b"\xef\xbb\xbf").strip()
    if text.startswith(b"{") and (isinstance(load_object(text), dict) or _mostly_objects(whole)):
        return JsonLines(metric)
    if text.startswith((b"{", b"[")):
        hint = "JSON Lines has one object a line: jq -c '.[]' makes it of a list"
        raise SourceUnreadable("a JSON document, not JSON Lines", where=where, hint=hint)
    if _is_header(text):
        return CsvFile(metric)
    return _give_up(head, where) if complete or len(head) >= HEAD else None


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


def _refuse_packed(head: bytes, where: str) -> None:
    for magic, name, hint in _MAGIC:
        if head.startswith(magic):
            raise SourceUnreadable(f"compressed ({name}): not read as it is", where=where, hint=hint)
    if b"brain.Event" in head[:64]:
        hint = "export the scalars as CSV or JSON Lines"
        raise NotYetSupported("TensorBoard event files are not yet supported", where=where, hint=hint)


def _give_up(head: bytes, where: str) -> Reader | None:
    kind = "binary data" if b"\0" in head else f"text that begins `{plain(head[:40])}`"
    hint = "known forms: JSON Lines, CSV or TSV with a header, MLPerf :::MLLOG lines"
    raise SourceUnreadable(f"in no form that is known: {kind}", where=where, hint=hint)


@dataclass(slots=True)
class Lines:
    """Cuts chunks into lines; keeps the partial last one for the next chunk."""

    partial: bytes = b""
    too_long: int = 0
    _skipping: bool = field(default=False)

    def cut(self, data: bytes) -> list[bytes]:
        """The lines that are whole by now."""
        if not data:
            return []
        data = self.partial + data
        if b"\r" in data:
            held = data.endswith(b"\r")  # its LF may be the next chunk's first byte
            data = (data[:-1] if held else data).replace(b"\r\n", b"\n").replace(b"\r", b"\n") + b"\r" * held
        lines = data.split(b"\n")
        self.partial = lines.pop()
        if self._skipping and lines:
            del lines[0]
            self._skipping = False
        if len(self.partial) > LONGEST_LINE:
            self.too_long += not self._skipping
            self.partial, self._skipping = b"", True
        elif self._skipping:
            self.partial = b""
        return self._short(lines)

    def _short(self, lines: list[bytes]) -> list[bytes]:
        kept = [line for line in lines if len(line) <= LONGEST_LINE]
        self.too_long += len(lines) - len(kept)
        return kept

    def take_complete_object(self) -> list[bytes]:
        """The last line, where its end of line has not come but it is a JSON object complete in itself."""
        text = self.partial.strip()
        start = text.find(b"{")
        if self._skipping or start < 0 or not text.endswith(b"}") or not isinstance(load_object(text[start:]), dict):
            return []
        self.partial = b""
        return [text]

    def rest(self) -> list[bytes]:
        """The last line of a source that has ended without an end of line."""
        last, self.partial = self.partial.rstrip(b"\r"), b""
        return [last] if last and not self._skipping else []
