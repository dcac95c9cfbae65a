"""Another ssh_config or other host keys than the plan's, as `cutover up -F FILE --known-hosts FILE` chose them.

Kept in the migration's folder, so that an engine that is started again (by `rollback`, by the console) reaches the same hosts in the
same way. Paths only; no key and no secret.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from backends.errors import CouldNot
from backends.ssh.models import SshSettings


def _file(state: Path) -> Path:
    return state / "ssh.json"


def keep_choice(state: Path, config: str | None, known_hosts: str | None) -> None:
    """Keep what was chosen; what was not is left as it was before."""
    chosen = _read(state)
    given = {"config": config, "known_hosts": known_hosts}
    chosen |= {k: str(Path(v).expanduser().absolute()) for k, v in given.items() if v}
    new = _file(state).with_suffix(".new")
    new.write_text(json.dumps(chosen))
    os.chmod(new, 0o600)
    new.replace(_file(state))


def with_choice(settings: SshSettings, state: Path) -> SshSettings:
    """The plan's settings, and the choice over them. Raises `CouldNot` where the file is not what `keep_choice` writes."""
    chosen = _read(state)
    return settings.over(chosen.get("config"), chosen.get("known_hosts"))


def _read(state: Path) -> dict[str, str]:
    path = _file(state)
    try:
        told = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise CouldNot(f"the choice of ssh_config cannot be read: {error}", where=str(path), hint="remove the file") from error
    if not isinstance(told, dict) or not all(isinstance(v, str) for v in told.values()):
        raise CouldNot("the choice of ssh_config is none", where=str(path), hint="remove the file")
    return told
