"""The four SSH hosts: asyncssh servers with a host key each, keys only, SFTP inside the host's own folder, a few commands."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import asyncssh

from backends.sandbox.layout import HostSpec, Layout
from backends.sandbox.shell import Shell


class _Connection(asyncssh.SSHServer):
    """Keeps account of the connections of a host, so that a dead host can drop them."""

    def __init__(self, open_connections: set[asyncssh.SSHServerConnection]) -> None:
        self._all = open_connections
        self._connection: asyncssh.SSHServerConnection | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._all.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._connection is not None:
            self._all.discard(self._connection)


class HostSftp(asyncssh.SFTPServer):
    """SFTP that ends at the host's folder, also where a link inside points out of it."""

    def __init__(self, chan: asyncssh.SSHServerChannel[bytes], root: Path) -> None:
        super().__init__(chan, chroot=os.fsencode(root))
        self._inside = os.fsencode(os.path.realpath(root))

    def map_path(self, path: bytes) -> bytes:
        mapped = super().map_path(path)
        if not is_inside(self._inside, mapped):
            raise asyncssh.SFTPPermissionDenied("that is outside of this host")
        return mapped


def is_inside(root: bytes, path: bytes) -> bool:
    """Does `path`, with every link followed, lie in `root`?"""
    real = os.path.realpath(path)
    return real == root or real.startswith(root + b"/")


class SimulatedHost:
    """One SSH host."""

    def __init__(self, spec: HostSpec, layout: Layout, shell: Shell) -> None:
        self.spec = spec
        self._layout = layout
        self._shell = shell
        self._acceptor: asyncssh.SSHAcceptor | None = None
        self._connections: set[asyncssh.SSHServerConnection] = set()
        self._commands: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        root = self._layout.host_root(self.spec.name)
        client_key = self._layout.client_key
        if client_key is None:
            raise RuntimeError("the layout has no client key")
        self._acceptor = await asyncssh.listen(
            sock=self._layout.sockets[self.spec.name],
            server_factory=lambda: _Connection(self._connections),
            server_host_keys=[self._layout.host_keys[self.spec.name]],
            authorized_client_keys=asyncssh.import_authorized_keys(client_key.export_public_key().decode()),
            process_factory=self._command,
            sftp_factory=lambda chan: HostSftp(chan, root),
            encoding=None,
            agent_forwarding=False,
            x11_forwarding=False,
            line_editor=False,
            login_timeout=20,
        )

    def die(self) -> None:
        """Stop listening and drop every connection, as a host does that loses its power."""
        if self._acceptor is not None:
            self._acceptor.close()
        for connection in list(self._connections):
            connection.abort()
        for task in list(self._commands):
            task.cancel()

    async def stop(self) -> None:
        self.die()
        tasks = list(self._commands)
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._acceptor is not None:
            await self._acceptor.wait_closed()

    async def _command(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a command runs as a task")
        self._commands.add(task)
        try:
            process.exit(await self._shell.run(process))
        except (OSError, asyncssh.Error):
            # The client has gone: there is nobody left to tell.
            process.close()
        finally:
            self._commands.discard(task)
