"""The evidence of a verification: JSON Lines, one object a line, written as it is found."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from backends.errors import CouldNot

_LINES_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of one object. `legacy` and `target` are the algorithm's value on each side, where there is one."""

    key: str
    verdict: str  # equal | differs | missing | extra | unreadable
    method: str  # stored_checksums | combined_parts | re_read | size | listing
    size: int | None = None
    algorithm: str | None = None
    legacy: str | None = None
    target: str | None = None
    reason: str = ""


class Evidence:
    """Writes findings to a file; to nowhere where there is no path."""

    def __init__(self, path: Path | None, dataset: str, *, append: bool = False) -> None:
        self._path = path
        self._dataset = dataset
        self._mode = "a" if append else "w"
        self._file: IO[str] | None = None
        self._lines: list[str] = []

    async def __aenter__(self) -> Self:
        if self._path is not None:
            try:
                self._file = await asyncio.to_thread(self._path.open, self._mode, encoding="ascii")
            except OSError as error:
                raise CouldNot(f"cannot write the report {self._path}: {error.strerror}", where=str(self._path)) from error
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._file is not None:
            await self._flush()
            await asyncio.to_thread(self._file.close)

    async def add(self, finding: Finding) -> None:
        if self._file is None:
            return
        self._lines.append(_line(self._dataset, finding))
        if len(self._lines) >= _LINES_AT_ONCE:
            await self._flush()

    async def _flush(self) -> None:
        lines, self._lines = self._lines, []
        if self._file is None or not lines:
            return
        try:
            await asyncio.to_thread(self._file.writelines, lines)
        except OSError as error:
            raise CouldNot(f"cannot write the report {self._path}: {error.strerror}", where=str(self._path)) from error


def _line(dataset: str, finding: Finding) -> str:
    """ASCII: keys that are no UTF-8 keep their bytes as escapes."""
    out = {
        "dataset": dataset,
        "key": finding.key,
        "size": finding.size,
        "algorithm": finding.algorithm,
        "legacy": finding.legacy,
        "target": finding.target,
        "method": finding.method,
        "instant": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "verdict": finding.verdict,
    }
    if finding.reason:
        out["reason"] = finding.reason
    return json.dumps(out) + "\n"
