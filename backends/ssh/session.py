"""Commands on a channel of an open connection: output collected up to a limit, or lines as they come.

asyncssh's own `run()` returns an exit status of None when the link was cut (measured, asyncssh 2.24): here that is
`LinkLost`. Session callbacks cost less than its stream readers with hundreds of channels.
"""

from __future__ import annotations

import asyncio
import shlex
import signal
from collections import deque
from collections.abc import AsyncIterator, Sequence

import asyncssh

from backends.errors import UsageError
from backends.escape import plain
from backends.ssh.errors import LinkLost, SshError
from backends.ssh.models import CommandResult

MAX_WAITING_LINES = 1000
STDERR_KEPT = 4096


def command_line(argv: Sequence[str]) -> str:
    """`argv` as one line of the remote shell that arrives as the same words."""
    if not argv or not argv[0]:
        raise UsageError("there is no command to run")
    if any("\0" in word for word in argv):
        raise UsageError(f"a command cannot hold NUL: {plain(' '.join(argv), 200)}")
    return shlex.join(argv)


class _Session(asyncssh.SSHClientSession[bytes]):
    """What every command has: its channel, its end, its exit status."""

    def __init__(self) -> None:
        self.chan: asyncssh.SSHClientChannel[bytes] | None = None
        self.ended = asyncio.Event()
        self.truncated = False
        self.stderr = bytearray()
        self._stderr_limit = STDERR_KEPT
        self._status: int | None = None

    def connection_made(self, chan: asyncssh.SSHClientChannel[bytes]) -> None:
        self.chan = chan

    def exit_status_received(self, status: int) -> None:
        self._status = status

    def exit_signal_received(self, signal_name: str, core_dumped: bool, msg: str, lang: str) -> None:
        self._status = 128 + getattr(signal.Signals, f"SIG{signal_name}", signal.SIGKILL).value

    def connection_lost(self, exc: Exception | None) -> None:
        self.ended.set()

    def data_received(self, data: bytes, datatype: int | None) -> None:
        if datatype == asyncssh.EXTENDED_DATA_STDERR:
            self._keep_error(data)
        else:
            self._keep_output(data)

    def _keep_error(self, data: bytes) -> None:
        self.stderr += data[: max(0, self._stderr_limit - len(self.stderr))]

    def _keep_output(self, data: bytes) -> None:
        raise NotImplementedError

    def stop(self) -> None:
        """End the command: its own signal first, then the channel, whose closed pipe ends what goes on writing.

        OpenSSH passes no signal on to commands of root: what neither writes nor reads there lives on.
        """
        if self.chan is not None and not self.ended.is_set():
            self.chan.terminate()
            self.chan.abort()

    def status(self, host: str, what: str) -> int:
        """The exit status, or `LinkLost` where none ever came."""
        if self._status is None:
            raise LinkLost(
                f"lost the connection to {plain(host)} while `{plain(what, 120)}` ran",
                hint="whether the command did its work is not known: ask again",
            )
        return self._status


class _Collecting(_Session):
    def __init__(self, limit: int) -> None:
        super().__init__()
        self.stdout = bytearray()
        self._limit = self._stderr_limit = limit

    def status(self, host: str, what: str) -> int:
        if self.truncated and self._status is None:  # we ended it
            return 128 + signal.SIGPIPE
        return super().status(host, what)

    def _keep_output(self, data: bytes) -> None:
        self.stdout += data[: self._limit - len(self.stdout)]
        if len(self.stdout) >= self._limit:
            self.truncated = True
            self.stop()

    def _keep_error(self, data: bytes) -> None:
        super()._keep_error(data)
        if len(self.stderr) >= self._stderr_limit:
            self.truncated = True
            self.stop()


class RemoteLines(_Session):
    """The lines of a command's output as they come; iterate, then look at `exit_status`.

    Iteration ends when the command has ended, and raises `LinkLost` where the link was cut. A line longer than the
    limit is cut there. When the reader lags, the remote side is made to wait.
    """

    def __init__(self, host: str, what: str, limit: int) -> None:
        super().__init__()
        self._host = host
        self._what = what
        self._limit = limit
        self._lines: deque[str] = deque()
        self._rest = bytearray()
        self._skipping = False
        self._paused = False
        self._news = asyncio.Event()
        self.exit_status: int | None = None

    def write(self, data: bytes) -> None:
        """Send to the command's standard input; nothing where it has ended."""
        if self.chan is not None and not self.ended.is_set() and not self.chan.is_closing():
            self.chan.write(data)

    def _keep_output(self, data: bytes) -> None:
        *whole, rest = data.split(b"\n")
        for piece in whole:
            self._add(piece)
            self._end_line()
        self._add(rest)
        self._news.set()
        if len(self._lines) >= MAX_WAITING_LINES and self.chan is not None and not self._paused:
            self._paused = True
            self.chan.pause_reading()

    def _add(self, piece: bytes) -> None:
        room = self._limit - len(self._rest)
        self.truncated = self.truncated or len(piece) > room
        self._rest += piece[:room]

    def _end_line(self) -> None:
        self._lines.append(self._rest.decode("utf-8", "backslashreplace").removesuffix("\r"))
        self._rest.clear()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._rest:
            self._end_line()
        super().connection_lost(exc)
        self._news.set()

    def __aiter__(self) -> AsyncIterator[str]:
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[str]:
        while True:
            while self._lines:
                yield self._lines.popleft()
            if self.ended.is_set():
                break
            self._news.clear()
            if self._paused and self.chan is not None:
                self._paused = False
                self.chan.resume_reading()  # gives what it held back at once, and may end here
            await self._news.wait()
        self.exit_status = self.status(self._host, self._what)


async def collect(
    connection: asyncssh.SSHClientConnection, host: str, argv: Sequence[str], *, input: bytes | None, limit: int
) -> CommandResult:
    """Run a command to its end. Output past `limit` bytes ends it: `truncated`, the status 141 unless it told one."""
    line = command_line(argv)
    session = _Collecting(limit)
    chan = await _open(connection, host, session, line)
    try:
        if input:
            chan.write(input)
        chan.write_eof()
        await session.ended.wait()
    except (BrokenPipeError, OSError):  # it ended without reading its input
        await session.ended.wait()
    finally:
        session.stop()
    return CommandResult(session.status(host, line), bytes(session.stdout), bytes(session.stderr), session.truncated)


async def open_lines(connection: asyncssh.SSHClientConnection, host: str, argv: Sequence[str], *, limit: int) -> RemoteLines:
    """Start a command whose lines are read as they come. The caller calls `stop()` when done."""
    line = command_line(argv)
    session = RemoteLines(host, line, limit)
    await _open(connection, host, session, line)
    return session


async def _open(
    connection: asyncssh.SSHClientConnection, host: str, session: _Session, line: str
) -> asyncssh.SSHClientChannel[bytes]:
    try:
        chan, _ = await connection.create_session(lambda: session, line, encoding=None, request_pty=False)
    except asyncssh.ChannelOpenError as error:
        if connection.is_closed():
            raise LinkLost(f"lost the connection to {plain(host)} before `{plain(line, 120)}` began") from error
        raise SshError(
            f"{plain(host)} opens no session for `{plain(line, 120)}`: {plain(error.reason)}",
            hint="MaxSessions of its sshd may be too low, or commands are not allowed there",
        ) from error
    except (asyncssh.Error, OSError) as error:
        raise LinkLost(f"lost the connection to {plain(host)}: {plain(str(error))}") from error
    return chan
