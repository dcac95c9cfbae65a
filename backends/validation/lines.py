"""Bytes cut into lines, in whatever pieces they come.

A line may end in LF, CR LF or CR. A line longer than 1 MiB is left out and counted; the rest is read.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from backends.validation.jsonl import load_object
from backends.validation.rows import LONGEST_LINE


@dataclass(slots=True)
class Lines:
    """Cuts chunks into lines; keeps the partial last one for the next chunk. One that is left out stands as an empty one, so that each
    line keeps its number: the first given out next is `ended` + 1."""

    partial: bytes = b""
    too_long: int = 0
    first_too_long: int | None = None
    ended: int = 0
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
            lines[0] = b""
            self._skipping = False
        if max(map(len, lines), default=0) > LONGEST_LINE:
            for i, line in enumerate(lines):
                if len(line) > LONGEST_LINE:
                    self._leave_out(self.ended + i + 1)
                    lines[i] = b""
        self.ended += len(lines)
        if len(self.partial) > LONGEST_LINE:
            if not self._skipping:
                self._leave_out(self.ended + 1)
            self.partial, self._skipping = b"", True
        elif self._skipping:
            self.partial = b""
        return lines

    def _leave_out(self, number: int) -> None:
        self.too_long += 1
        self.first_too_long = self.first_too_long or number

    def block(self, data: bytes) -> bytes | None:
        """The lines that are whole by now as one piece, each with its LF; None where they must be cut one by one."""
        end = data.rfind(b"\n") + 1
        if not end or self._skipping or len(data) - end > LONGEST_LINE or b"\r" in data or self.partial.endswith(b"\r"):
            return None
        if len(self.partial) + data.find(b"\n") > LONGEST_LINE:
            return None
        block, self.partial = self.partial + data[:end], data[end:]
        self.ended += block.count(b"\n")
        return block

    def take_complete_object(self) -> list[bytes]:
        """The last line, where its end of line has not come but it is a JSON object complete in itself."""
        text = self.partial.strip()
        start = text.find(b"{")
        if self._skipping or start < 0 or not text.endswith(b"}") or not isinstance(load_object(text[start:]), dict):
            return []
        self.partial = b""  # its end of line, should it come, is an empty line to whoever counts
        return [text]

    def rest(self) -> list[bytes]:
        """The last line of a source that has ended without an end of line."""
        last, self.partial = self.partial.rstrip(b"\r"), b""
        return [last] if last and not self._skipping else []
