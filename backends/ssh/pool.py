"""One SSH connection a host, shared by all who need it; bulk data may ask for one more.

Speaks SSH through asyncssh (2.24). The operator's own ssh_config and agent are used; host keys are always checked,
whatever the ssh_config says: asyncssh takes `UserKnownHostsFile none` for "do not check", and so do its ProxyJump hops,
so both are handled here. Only keys are offered, nothing is ever asked for on a terminal. A host of the plan is looked
up in the ssh_config by its address, as `ssh ADDRESS` would; user and port of the plan win over the file's.
"""

from __future__ import annotations

import asyncio
import getpass
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import asyncssh
from asyncssh.config import SSHClientConfig

from backends.errors import UsageError
from backends.escape import plain
from backends.sending import before_sending
from backends.ssh.connection import Connection, connect
from backends.ssh.errors import AuthFailed, CommandTimedOut, HostKeyRefused, HostUnreachable, LinkLost, SshError
from backends.ssh.gathering import Gathering
from backends.ssh.hostkeys import DEFAULT_PORT, HostKeys, OfferedKey, known_hosts_paths
from backends.ssh.models import CommandResult, SshHost, SshSettings, parse_destination
from backends.ssh.session import RemoteLines, collect, open_lines
from backends.ssh.sftp_session import has_ended, start_sftp

MAX_CONNECTS = 16
MAX_COMMANDS = 6  # at once on one connection: OpenSSH's MaxSessions is 10, and a stream and SFTP need theirs
KEEPALIVES_MISSED = 2  # a dead peer is found after keepalive x (this + 1)
CLOSE_TIMEOUT = 3.0
_LANE = "\n"  # between a host and the number of a further connection: no name holds it
# AES-GCM costs a third of asyncssh's first choice, chacha20 (measured).
CIPHERS = (
    "aes128-gcm@openssh.com",
    "aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com",
    "aes128-ctr",
    "aes192-ctr",
    "aes256-ctr",
)


# After the kinds that known_hosts has for a host: a host with another kind of key shows it then, and can be told from one
# that hangs up.
OTHER_HOST_KEYS = "+ssh-ed25519,ecdsa-sha2-nistp*,rsa-sha2-512,rsa-sha2-256"


class _Client(asyncssh.SSHClient):
    """Refuses every key that known_hosts does not hold, and remembers it for the message."""

    offered: OfferedKey | None = None

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        line = key.export_public_key("openssh").decode("ascii").strip()
        self.offered = OfferedKey(host, addr, port, f"{key.get_algorithm()} {key.get_fingerprint()}", " ".join(line.split()[:2]))
        return False

    def validate_host_ca_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        shown = f"a certificate of {key.get_algorithm()} {key.get_fingerprint()}"
        self.offered = OfferedKey(host, addr, port, shown)
        return False


@dataclass(slots=True)
class _Route:
    """How a host is reached, as plan and ssh_config together say."""

    address: str
    user: str | None
    port: int | None
    config: list[str]
    jumps: tuple[str, ...]
    known: HostKeys
    shown_host: str
    shown_port: int
    is_any_host_key: bool  # the ssh_config does not choose HostKeyAlgorithms


class _Sftp:
    """An SFTP session, and whether it has ended."""

    def __init__(self, connection: asyncssh.SSHClientConnection, client: asyncssh.SFTPClient) -> None:
        self.client = client
        self._connection = connection
        self._ending = asyncio.create_task(client.wait_closed(), name="sftp end")

    def is_alive_on(self, connection: asyncssh.SSHClientConnection) -> bool:
        return connection is self._connection and not self._ending.done() and not has_ended(self.client)

    async def close(self) -> None:
        self.client.exit()
        self._ending.cancel()
        await asyncio.gather(self._ending, return_exceptions=True)


class SshPool:
    """Connections to the hosts given and to any alias of the ssh_config, made when first needed, again when lost."""

    def __init__(self, settings: SshSettings, hosts: Iterable[SshHost]) -> None:
        self._settings = settings
        self._hosts = {host.name: host for host in hosts}
        self._open: dict[str, Connection] = {}
        self._opening: dict[str, asyncio.Task[Connection]] = {}
        self._sftp: dict[str, _Sftp] = {}
        self._gathering = Gathering()
        self._sftp_locks: dict[str, asyncio.Lock] = {}
        self._slots: dict[str, asyncio.Semaphore] = {}
        self._connects = asyncio.Semaphore(MAX_CONNECTS)
        self._known: dict[tuple[Path, ...], HostKeys] = {}
        self._closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    @property
    def settings(self) -> SshSettings:
        return self._settings

    def host(self, name: str) -> SshHost:
        """The host of that name; a name that is not in the list is an alias of the ssh_config."""
        return self._hosts.get(name) or SshHost(name=name, address=name)

    async def connect(self, host: str) -> Connection:
        """The one connection to `host`, made if there is none. Raises an `SshError` that says why not."""
        return await self._connect(host, ())

    async def run(
        self, host: str, argv: Sequence[str], *, input: bytes | None = None, timeout: float = 30, limit: int = 1 << 20
    ) -> CommandResult:
        """Run `argv` there, quoted for the remote shell. More than `limit` bytes of output end it, `truncated`.

        Raises `LinkLost` when the link is cut under it, `CommandTimedOut` after `timeout` seconds.
        """
        connection = await self.connect(host)
        async with self._slots.setdefault(host, asyncio.Semaphore(MAX_COMMANDS)):
            try:
                await before_sending()
                async with asyncio.timeout(timeout):
                    return await collect(connection, host, argv, input=input, limit=limit)
            except TimeoutError as error:
                raise CommandTimedOut(
                    f"`{plain(' '.join(argv), 120)}` on {plain(host)} took longer than {timeout:g} s",
                    hint="whether it did its work is not known: ask again",
                ) from error

    @asynccontextmanager
    async def stream(
        self, host: str, argv: Sequence[str], *, limit: int = 1 << 16, unhurried: bool = False
    ) -> AsyncIterator[RemoteLines]:
        """Run `argv` there and read its lines as they come, each at most `limit` bytes; leaving the block ends it. `unhurried`: where there are
        many such streams, a line may come a twentieth of a second later."""
        connection = await self.connect(host)
        try:
            async with asyncio.timeout(self._settings.connect_timeout):
                lines = await open_lines(connection, host, argv, limit=limit)
        except TimeoutError as error:
            raise CommandTimedOut(f"{plain(host)} does not start `{plain(' '.join(argv), 120)}`") from error
        try:
            with self._gathered(connection) if unhurried else nullcontext():
                yield lines
        finally:
            lines.stop()

    @contextmanager
    def _gathered(self, connection: Connection) -> Iterator[None]:
        connection.gathering = self._gathering
        self._gathering.members += 1
        try:
            yield
        finally:
            self._gathering.members -= 1
            connection.gathering = None

    async def sftp(self, host: str, lane: int = 0) -> asyncssh.SFTPClient:
        """The one SFTP session to `host`, opened again when it was lost. A `lane` from 1 on is a session on a connection of its
        own: sshd serves a connection by one process, which one core bounds."""
        key = f"{host}{_LANE}{lane}" if lane else host
        connection = await self._connect(key, ())
        async with self._sftp_locks.setdefault(key, asyncio.Lock()):
            session = self._sftp.get(key)
            if session is not None and session.is_alive_on(connection):
                return session.client
            if session is not None:
                await session.close()
            try:
                async with asyncio.timeout(self._settings.connect_timeout):
                    client = await start_sftp(connection)
            except TimeoutError as error:
                raise SshError(f"{plain(host)} does not answer to SFTP") from error
            except (asyncssh.Error, OSError) as error:
                if connection.is_closed():
                    raise LinkLost(f"lost the connection to {plain(host)}: {plain(str(error))}") from error
                raise SshError(f"{plain(host)} gives no SFTP: {plain(str(error))}") from error
            self._sftp[key] = _Sftp(connection, client)
            return client

    async def close(self) -> None:
        """End every connection, and wait until each is closed."""
        self._closed = True
        opening = list(self._opening.values())
        for task in opening:
            task.cancel()
        await asyncio.gather(*opening, return_exceptions=True)
        sessions, self._sftp = list(self._sftp.values()), {}
        for session in sessions:
            await session.close()
        # Those reached through a jump host were opened after it: they are closed first.
        connections = list(reversed(self._open.values()))
        self._open = {}
        for connection in connections:
            connection.close()
        try:
            async with asyncio.timeout(CLOSE_TIMEOUT):
                await asyncio.gather(*(connection.wait_closed() for connection in connections))
        except TimeoutError:
            for connection in connections:
                connection.abort()
            await asyncio.gather(*(connection.wait_closed() for connection in connections))

    async def _connect(self, key: str, chain: tuple[str, ...]) -> Connection:
        if key in chain:
            raise SshError(f"hosts are reached through each other: {plain(' -> '.join((*chain, key)))}")
        if self._closed:
            raise SshError(f"no connection to {plain(key)}: closing")
        connection = self._open.get(key)
        if connection is not None and not connection.is_closed():
            return connection
        task = self._opening.get(key)
        if task is None:
            task = asyncio.create_task(self._dial(key, chain), name=f"ssh {key}")
            self._opening[key] = task
            task.add_done_callback(lambda done: self._dialled(key, done))
        return await asyncio.shield(task)

    def _dialled(self, key: str, task: asyncio.Task[Connection]) -> None:
        self._opening.pop(key, None)
        if task.cancelled():
            return
        if task.exception() is None:  # asking also marks it as seen, where all who waited have left
            self._open.pop(key, None)
            self._open[key] = task.result()

    async def _dial(self, key: str, chain: tuple[str, ...]) -> Connection:
        host = self.host(key.partition(_LANE)[0])
        route = await asyncio.to_thread(self._route, host)
        tunnel: Connection | None = None
        if host.via is not None:
            tunnel = await self._connect(host.via, (*chain, key))
        else:
            try:
                tunnel = await self._jump(host, route.jumps, (*chain, key))
            except UsageError as error:
                raise SshError(f"{plain(host.name)}: its ProxyJump is {error.message}", hint=error.hint) from error
        return await self._handshake(host.name, route, tunnel)

    async def _jump(self, host: SshHost, jumps: tuple[str, ...], chain: tuple[str, ...]) -> Connection | None:
        """Through the hops of a ProxyJump; each checked against known_hosts like any other host."""
        if not jumps:
            return None
        *before, last = jumps
        if not before:
            name = f"jump {last}"
            if parse_destination(name, last).address == host.address:
                return None  # `Host *` names the bastion for the bastion itself too; OpenSSH does the same
            self._hosts.setdefault(name, parse_destination(name, last))
            return await self._connect(name, chain)
        name = f"jump {','.join(jumps)}"
        first = f"jump {','.join(before)}"
        self._hosts.setdefault(first, parse_destination(first, before[-1]))
        hop = parse_destination(name, last)
        self._hosts.setdefault(name, SshHost(name, hop.address, hop.user, hop.port, via=first))
        return await self._connect(name, chain)

    def _route(self, host: SshHost) -> _Route:
        """Read ssh_config and known_hosts. Blocking."""
        paths = self._config_paths()
        user = host.user if host.user is not None else ()
        port = host.port if host.port is not None else ()
        try:
            config = SSHClientConfig.load(
                None, [str(p) for p in paths], False, False, False, getpass.getuser(), user, host.address, port
            )
        except (ValueError, OSError, KeyError, asyncssh.Error) as error:
            raise SshError(f"cannot read the ssh_config: {plain(str(error))}", where=str(paths[0]) if paths else "") from error
        if self._settings.known_hosts is not None:
            files = [self._settings.known_hosts.expanduser()]
        else:
            configured = config.get("UserKnownHostsFile")
            files = known_hosts_paths(configured if isinstance(configured, list) else None)
        known = self._known.setdefault(tuple(files), HostKeys(files))
        jump = str(config.get("ProxyJump") or "none")
        return _Route(
            address=host.address,
            user=host.user,
            port=host.port,
            config=[str(path) for path in paths],
            jumps=() if jump.lower() == "none" else tuple(jump.split(",")),
            known=known,
            shown_host=str(config.get("Hostname") or host.address),
            shown_port=int(str(config.get("Port") or host.port or DEFAULT_PORT)),
            is_any_host_key=config.get("HostKeyAlgorithms") is None,
        )

    def _config_paths(self) -> list[Path]:
        if self._settings.config is not None:
            return [self._settings.config.expanduser()]
        own = [Path.home() / ".ssh" / "config", Path("/etc/ssh/ssh_config")]
        return [path for path in own if os.access(path, os.R_OK)]

    async def _handshake(self, name: str, route: _Route, tunnel: Connection | None) -> Connection:
        client = _Client()
        known = await asyncio.to_thread(route.known.load)
        at = f"{plain(name)} ({plain(route.shown_host)}:{route.shown_port})"
        try:
            async with self._connects, asyncio.timeout(self._settings.connect_timeout):
                return await connect(
                    route.address,
                    route.port if route.port is not None else (),
                    username=route.user if route.user is not None else (),
                    tunnel=tunnel,
                    config=route.config,
                    client_factory=lambda: client,
                    known_hosts=known,
                    server_host_key_algs=OTHER_HOST_KEYS if route.is_any_host_key else (),
                    encryption_algs=CIPHERS,
                    preferred_auth=["publickey"],
                    agent_forwarding=False,
                    x11_forwarding=False,
                    request_pty=False,
                    send_env=[],
                    keepalive_interval=self._settings.keepalive,
                    keepalive_count_max=KEEPALIVES_MISSED,
                )
        except asyncssh.HostKeyNotVerifiable as error:
            raise await self._refused(name, route, client, error.reason) from error
        except asyncssh.KeyExchangeFailed as error:
            if "host key" in error.reason:
                raise await self._refused(name, route, client, error.reason) from error
            raise SshError(f"{at}: {plain(error.reason)}") from error
        except asyncssh.PermissionDenied as error:
            raise AuthFailed(
                f"{at} does not let {plain(route.user) + ' ' if route.user else ''}in: {plain(error.reason)}",
                hint="is the key in the agent or named in the ssh_config, and in its authorized_keys?",
            ) from error
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError) as error:
            raise AuthFailed(f"{at}: cannot use the key: {plain(str(error))}") from error
        except TimeoutError as error:
            raise HostUnreachable(
                f"{at} does not answer within {self._settings.connect_timeout:g} s",
                hint="network, firewall, or host down",
            ) from error
        except (asyncssh.Error, OSError) as error:
            raise HostUnreachable(f"{at} cannot be reached: {plain(_reason(error))}") from error
        except ValueError as error:
            raise SshError(f"{at}: {plain(str(error))}") from error

    async def _refused(self, name: str, route: _Route, client: _Client, reason: str) -> HostKeyRefused:
        offered = client.offered or OfferedKey(route.shown_host, "", route.shown_port, reason)
        return await asyncio.to_thread(route.known.refusal, name, offered, reason)


def _reason(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return str(error) or type(error).__name__
