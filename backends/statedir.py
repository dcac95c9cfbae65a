"""The migration's folder: journal, index, lock, socket. `--state DIR` (or `CUTOVER_STATE`) is that folder."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from backends.errors import CouldNot, UsageError


def states_root() -> Path:
    """Where migrations live when no folder is given: `$XDG_STATE_HOME/cutover`."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    return Path(base) / "cutover"


def state_dir(state: str | None, name: str | None) -> Path:
    """The folder of a migration; not made. Without folder and name: the one migration there is."""
    if state:
        return Path(state).expanduser().absolute()
    root = states_root()
    if name:
        return root / name
    found = sorted(p.parent for p in root.glob("*/journal.db")) if root.is_dir() else []
    if len(found) == 1:
        return found[0]
    if not found:
        raise CouldNot("there is no migration here", where=str(root), hint="start one: cutover up PLAN")
    names = ", ".join(p.name for p in found)
    raise UsageError(f"there is more than one migration: {names}", where=str(root), hint="give its NAME")


def make_state_dir(path: Path) -> Path:
    """Make the folder, mode 0700; its parents as usual. What an engine has opened to its operators' group stays so."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if stat.S_IMODE(path.stat().st_mode) != 0o750:
        os.chmod(path, 0o700)
    return path
