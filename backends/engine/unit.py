"""The engine as a unit of the user's own service manager, so that it is there again after a reboot and outlives the login.

systemd.unit(5), systemd.exec(5), systemd.syntax(7): in ExecStart a word is quoted as in C, `%` and `$` are doubled. The unit names no plan once
there is a journal: the engine then goes on with what is pinned there. Everything here is blocking and is for commands.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from backends.escape import plain

ASK_LIMIT = 20.0
_ENV = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True, slots=True)
class Done:
    """One step of installing or taking away, and how it went."""

    what: str
    ok: bool
    detail: str = ""

    @property
    def text(self) -> str:
        return f"{self.what}: done" if self.ok else f"{self.what}: could not be done: {self.detail}"


def unit_name(name: str) -> str:
    """`chat-2026` -> `cutover-chat-2026.service`."""
    return f"cutover-{name}.service"


def unit_path(name: str) -> Path:
    """Where the user's manager looks for it."""
    config = os.environ.get("XDG_CONFIG_HOME") or str(Path.home() / ".config")
    return Path(config) / "systemd" / "user" / unit_name(name)


def unit_text(name: str, state: Path, plan: Path) -> str:
    """The unit file. `plan` is read only where the folder holds no journal yet."""
    argv = [sys.executable, "-m", "backends.engine", "--state", str(state), "--first-plan", str(plan)]
    return f"""\
[Unit]
Description=Cutover engine of {name}
# However often it fails: what it watches is production.
StartLimitIntervalSec=0

[Service]
ExecStart={" ".join(_quoted(word) for word in argv)}
EnvironmentFile=-{_path(environment_file(state))}
WorkingDirectory=/
Restart=on-failure
RestartSec=5
UMask=0077

[Install]
WantedBy=default.target
"""


def environment_file(state: Path) -> Path:
    """Variables that the unit is started with: `NAME=value` lines, for the operator to write, 0600."""
    return state / "unit.env"


def variables_of(plan_text: str) -> tuple[str, ...]:
    """Names of the environment's variables that a plan's references read."""
    return tuple(dict.fromkeys(_ENV.findall(plan_text)))


def install_unit(name: str, state: Path, plan: Path) -> list[Done]:
    """Write the unit, let the manager read it, enable it, and let the user linger. Later steps are tried although one failed."""
    path = unit_path(name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.new")
        new.write_text(unit_text(name, state, plan))
        new.replace(path)
    except OSError as error:
        return [Done(f"write {path}", False, error.strerror or str(error))]
    done = [Done(f"write {path}", True), _asked("read the units anew", "systemctl", "--user", "daemon-reload")]
    done.append(_asked("enable it", "systemctl", "--user", "enable", unit_name(name)))
    done.append(_asked("let you linger (loginctl enable-linger)", "loginctl", "enable-linger"))
    return done


def start_unit(name: str) -> Done:
    """Start the engine by its unit."""
    return _asked("start the engine by it", "systemctl", "--user", "start", unit_name(name))


def uninstall_unit(name: str) -> list[Done]:
    """Disable the unit and take its file away; an engine that runs goes on until `cutover down`."""
    path = unit_path(name)
    done = [_asked("disable it", "systemctl", "--user", "disable", unit_name(name))]
    try:
        path.unlink()
        done.append(Done(f"remove {path}", True))
    except FileNotFoundError:
        done.append(Done(f"remove {path}", False, "it was not there"))
    except OSError as error:
        done.append(Done(f"remove {path}", False, error.strerror or str(error)))
    return [*done, _asked("read the units anew", "systemctl", "--user", "daemon-reload")]


def _asked(what: str, *argv: str) -> Done:
    try:
        done = subprocess.run(argv, capture_output=True, timeout=ASK_LIMIT, check=False, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Done(what, False, f"{argv[0]}: {error.strerror if isinstance(error, OSError) else 'no answer in time'}")
    said = plain((done.stderr.strip() or done.stdout.strip())[:300])
    return Done(what, done.returncode == 0, said or f"{argv[0]} ended with {done.returncode}")


def _quoted(word: str) -> str:
    """A word of ExecStart as systemd reads it back."""
    escaped = "".join(f"\\x{ord(c):02x}" if c < " " or c == "\x7f" else c for c in word.replace("\\", "\\\\").replace('"', '\\"'))
    return '"' + escaped.replace("%", "%%").replace("$", "$$") + '"'


def _path(path: Path) -> str:
    """A path of a setting that takes one: specifiers are doubled, nothing is quoted."""
    return str(path).replace("%", "%%")
