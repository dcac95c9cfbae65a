"""Where things lie in the migration's folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

_LONGEST = 100  # a Unix socket's path must fit sun_path: 108 bytes with its end


def journal_of(state: Path) -> Path:
    return state / "journal.db"


def head_of(state: Path) -> Path:
    """Side file with the journal's head: a truncated tail is noticed."""
    return state / "journal.head"


def log_of(state: Path) -> Path:
    return state / "engine.log"


def socket_of(state: Path) -> Path:
    """The engine's socket: in the folder, or, where that path is too long, in a short private one that the folder names."""
    direct = state / "engine.sock"
    if len(os.fsencode(direct)) <= _LONGEST:
        return direct
    note = state / "socket.path"
    if note.is_file():
        return Path(note.read_text().strip())
    return direct


def make_socket_path(state: Path) -> Path:
    """As `socket_of`, making the short private folder where one is needed."""
    path = socket_of(state)
    if len(os.fsencode(path)) <= _LONGEST and path.parent.is_dir():
        return path
    short = Path(tempfile.mkdtemp(prefix="cutover-")) / "engine.sock"
    (state / "socket.path").write_text(f"{short}\n")
    return short
