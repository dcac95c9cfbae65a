"""SFTP's errors made ours, in one place, with those of the SSH connection beneath.

OpenSSH speaks version 3 of the protocol, where nearly everything is a bare `Failure`: what stands in the way is found out by the
caller, who looks. Source: draft-ietf-secsh-filexfer-02; sftp-server.c (`errno_to_portable`).
"""

from __future__ import annotations

import asyncssh

from backends.escape import plain
from backends.ssh.errors import AuthFailed, HostKeyRefused, LinkLost, SshError
from backends.stores.errors import (
    KeyRefused,
    KeysRefused,
    ObjectMissing,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreUnreachable,
)

FOREIGN = (asyncssh.Error, OSError, SshError)  # what a call may raise; `TimeoutError` is an `OSError`
_GONE = (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath)
_LOST = (asyncssh.SFTPConnectionLost, asyncssh.SFTPNoConnection, asyncssh.SFTPInvalidHandle, asyncssh.SFTPBadMessage)
_FULL = (asyncssh.SFTPNoSpaceOnFilesystem, asyncssh.SFTPQuotaExceeded)
_DENIED = (asyncssh.SFTPPermissionDenied, asyncssh.SFTPWriteProtect)
_NAME = (
    asyncssh.SFTPInvalidFilename,
    asyncssh.SFTPFileIsADirectory,
    asyncssh.SFTPNotADirectory,
    asyncssh.SFTPLinkLoop,
    asyncssh.SFTPDirNotEmpty,
)


def is_gone(error: BaseException) -> bool:
    """Whether the file or folder is not there."""
    return isinstance(error, _GONE)


def is_cut(error: BaseException) -> bool:
    """Whether the connection ended under the call."""
    if isinstance(error, asyncssh.SFTPConnectionLost | asyncssh.SFTPNoConnection | asyncssh.ConnectionLost):
        return True
    return isinstance(error, ConnectionError | LinkLost)


def from_foreign(error: BaseException, what: str) -> StoreError:
    """The store's error for what asyncssh, the pool or the system raised. `what` is already escaped."""
    if isinstance(error, SshError):
        kind = KeysRefused if isinstance(error, AuthFailed | HostKeyRefused) else StoreUnreachable
        return kind(f"{what}: {error.message}", hint=error.hint)
    if isinstance(error, TimeoutError):
        return StoreUnreachable(f"{what}: no answer in time")
    text = f"{what}: {plain(str(error), 200) or type(error).__name__}"
    if isinstance(error, _GONE):
        return ObjectMissing(text)
    if isinstance(error, _DENIED):
        return StoreDenied(text, hint="look at the owner and rights of the folder")
    if isinstance(error, _FULL):
        return StoreFull(text, hint="make room")
    if isinstance(error, _NAME):
        return KeyRefused(text, hint="a symlink, a file or a folder stands in the way of this name")
    if isinstance(error, asyncssh.SFTPError) and not isinstance(error, _LOST):
        return StoreError(text)
    return StoreUnreachable(text)
