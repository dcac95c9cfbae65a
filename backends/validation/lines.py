"""Bytes cut into lines, in whatever pieces they come.

A line may end in LF, CR LF or CR. A line longer than 1 MiB is left out and counted; the rest is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from backends.validation.jsonl import load_object
from backends.validation.rows import LONGEST_LINE


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

    def block(self, data: bytes) -> bytes | None:
        """The lines that are whole by now as one piece, each with its LF; None where they must be cut one by one."""
        end = data.rfind(b"\n") + 1
        if not end or self._skipping or len(data) - end > LONGEST_LINE or b"\r" in data or self.partial.endswith(b"\r"):
            return None
        if len(self.partial) + data.find(b"\n") > LONGEST_LINE:
            return None
        block, self.partial = self.partial + data[:end], data[end:]
        return block

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
