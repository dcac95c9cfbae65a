"""What ends with the operator's login: the login manager's reach over this process, and the variables that a login leaves behind.

systemd: a process in a session's scope is killed at logout where `KillUserProcesses` is set; one of the user's manager ends with the last
login unless the user lingers (logind.conf(5), loginctl(1)). Facts are read from files and asked of `loginctl`; nothing is changed.
"""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from backends.children import Children
from backends.errors import CouldNot

# Agents, tickets, buses and keys with an end that a login hands to what it starts.
LOGIN_VARIABLES = (
    "SSH_AUTH_SOCK",
    "SSH_AGENT_PID",
    "SSH_CONNECTION",
    "SSH_CLIENT",
    "SSH_TTY",
    "KRB5CCNAME",
    "DBUS_SESSION_BUS_ADDRESS",
    "XDG_RUNTIME_DIR",
    "XDG_SESSION_ID",
    "GNOME_KEYRING_CONTROL",
    "GPG_AGENT_INFO",
)
# Keys that come with a session token have an end; without it they are no keys at all.
_AWS_SESSION = (
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_CREDENTIAL_EXPIRATION",
)
ASK_LIMIT = 5.0


@dataclass(frozen=True, slots=True)
class LoginFacts:
    """What is known of the login manager; None where it could not be told."""

    managed: bool  # is there a login manager at all
    scope: str  # this process's control group: session, user or system
    lingers: bool
    kills: bool | None
    user: str


def without_login(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment as it is once the login is gone: no agent, no ticket, no keys of a session."""
    kept = {k: v for k, v in environment.items() if k not in LOGIN_VARIABLES}
    if any(kept.get(name) for name in _AWS_SESSION[:2]):
        kept = {k: v for k, v in kept.items() if k not in _AWS_SESSION}
    return kept


def of_login(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the variables that `without_login` takes away and that could have carried a credential."""
    kept = without_login(environment)
    told = ("SSH_AUTH_SOCK", "KRB5CCNAME", *_AWS_SESSION)
    return tuple(name for name in told if environment.get(name) and name not in kept)


async def login_facts(children: Children, root: Path = Path("/")) -> LoginFacts:
    """Ask the system. Never fails: what cannot be told is told as such."""
    user = _user()
    managed = (root / "run/systemd/system").is_dir()
    scope = _scope(root / "proc/self/cgroup")
    lingers = (root / "var/lib/systemd/linger" / user).exists()
    return LoginFacts(managed, scope, lingers, await _kills(children) if managed else None, user)


def judge_login(facts: LoginFacts) -> tuple[bool | None, str, str]:
    """Does the engine outlive the login: good (None: cannot be told), evidence, cure."""
    install = "cutover up --install-unit"
    linger = f"loginctl enable-linger {facts.user}"
    if not facts.managed:
        return True, "no login manager runs here: nothing ends the engine with a login", ""
    if facts.scope == "user":
        told = f"lingering is {'on' if facts.lingers else 'off'} for {facts.user}"
        return facts.lingers, f"runs under the user's service manager; {told}", "" if facts.lingers else linger
    if facts.scope == "system":
        return True, "runs outside of any login", ""
    if facts.kills is None:
        return (
            None,
            "runs in a login's session, and it cannot be told whether that kills what is left (KillUserProcesses)",
            install,
        )
    if facts.kills:
        return False, "ends with your login: KillUserProcesses is on, and the engine runs in a login's session", install
    return True, "runs in a login's session; KillUserProcesses is off: it goes on after the logout, and not after a reboot", ""


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())


def _scope(path: Path) -> str:
    try:
        group = path.read_text()
    except OSError:
        return "system"
    if "/user@" in group:
        return "user"
    return "session" if "/session-" in group else "system"


async def _kills(children: Children) -> bool | None:
    """KillUserProcesses as the login manager itself says it: its default differs between distributions."""
    if os.getuid() == 0:
        return False  # KillExcludeUsers is root unless somebody changed it
    try:
        asked = await children.run(["loginctl", "show-session", "--property=KillUserProcesses"], cwd=Path("/"), timeout=ASK_LIMIT)
    except CouldNot:
        return None
    value = asked.stdout.decode("utf-8", "replace").strip().removeprefix("KillUserProcesses=")
    return {"yes": True, "no": False}.get(value)
