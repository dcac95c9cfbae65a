"""The emergency journal: where events go while the journal itself cannot be written, and how the next engine finds what is left of them.

It lies in memory (`/dev/shm`) or the temporary folder, for its owner alone; its name is made from the migration's folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
from datetime import datetime
from pathlib import Path

from backends.cutover.events import Event

_MEMORY = Path("/dev/shm")


def new_file(state: Path) -> Path:
    """An empty emergency journal of this migration. Blocking."""
    folder = _MEMORY if os.access(_MEMORY, os.W_OK) else Path(tempfile.gettempdir())
    fd, name = tempfile.mkstemp(prefix=_prefix(state), suffix=".journal", dir=folder)
    os.close(fd)
    return Path(name)


def left_behind(state: Path) -> list[Path]:
    """Emergency journals that an engine before us did not merge, oldest first. Only our own files: others can write to these folders."""
    found = {p for folder in (_MEMORY, Path(tempfile.gettempdir())) for p in folder.glob(f"{_prefix(state)}*.journal")}
    ours = []
    for path in found:
        info = path.lstat()
        if stat.S_ISREG(info.st_mode) and info.st_uid == os.getuid() and not info.st_mode & 0o077:
            ours.append((info.st_mtime_ns, path))
    return [path for _, path in sorted(ours)]


def write(path: Path, event: Event) -> None:
    """Add an event, durable as far as the folder is."""
    line: dict[str, object] = {"at": event.at.isoformat(), "actor": event.actor, "kind": event.kind, "data": event.data}
    line |= {"plan_hash": event.plan_hash, "observed": event.observed}
    with path.open("a") as file:
        file.write(json.dumps(line, default=str) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read(path: Path, after: int) -> list[Event]:
    """The events of a file, numbered on from `after`. A last line that was cut off had not been told to anybody."""
    events: list[Event] = []
    for text in path.read_text().splitlines(keepends=True):
        if text.endswith("\n"):
            line = json.loads(text)
            seq, at = after + len(events) + 1, datetime.fromisoformat(line["at"])
            events.append(Event(seq, at, line["actor"], line["kind"], line["data"], line["plan_hash"], line["observed"]))
    return events


def _prefix(state: Path) -> str:
    return f"cutover-{hashlib.sha256(str(state.resolve()).encode()).hexdigest()[:16]}-"
