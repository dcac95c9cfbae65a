"""Errors of SSH.

SshError
├── HostUnreachable   no connection: refused, no route, timed out
├── HostKeyRefused    the host's key is unknown or revoked; names the file
│   └── HostKeyChanged known_hosts says another key; names the line
├── AuthFailed        the host does not let us in
├── LinkLost          the connection ended under a command
└── CommandTimedOut   the command took longer than its limit
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.errors import CouldNot

if TYPE_CHECKING:
    from backends.ssh.hostkeys import UnknownKey


class SshError(CouldNot):
    code = "ssh_error"


class HostUnreachable(SshError):
    code = "host_unreachable"


class HostKeyRefused(SshError):
    code = "host_key_refused"
    unknown: UnknownKey | None = None  # where it is a key that may be added


class HostKeyChanged(HostKeyRefused):
    code = "host_key_changed"


class AuthFailed(SshError):
    code = "auth_failed"


class LinkLost(SshError):
    code = "link_lost"


class CommandTimedOut(SshError):
    code = "command_timed_out"
