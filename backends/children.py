"""Commands on this machine, each in a process group of its own that ends with us.

A child is killed with its whole group on timeout and on cancellation, and dies with its parent (PR_SET_PDEATHSIG, Linux).
What it leaves in the background when it ends well is left alone: `resume` commands start daemons. While it runs its group
and start time stand in a file, so that an engine started after a crash can ask what is still running (a grandchild outlives
PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from backends.errors import CouldNot
from backends.escape import plain
from backends.sending import before_sending

KEPT = ("PATH", "HOME", "LANG", "TZ")
GRACE = 0.5  # seconds for the rest of the output once a command has ended
_PR_SET_PDEATHSIG = 1


class ChildFailed(CouldNot):
    """A command could not be started."""

    code = "child_failed"


class ChildTimedOut(ChildFailed):
    """A command took longer than its limit, and was killed."""

    code = "child_timed_out"


@dataclass(frozen=True, slots=True)
class ChildResult:
    """What a command left. A signal is 128 + its number, as a shell says it."""

    exit_status: int
    stdout: bytes
    stderr: bytes
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class RunningChild:
    """A process group; `started` is the leader's start in clock ticks since boot, which tells it from a later namesake."""

    pgid: int
    started: int
    command: str


class Children:
    """Runs commands with a clean environment: PATH, HOME, LANG, TZ and what is given.

    `record` is the file that names those that run; without it nothing is recorded.
    """

    def __init__(self, record: Path | None = None, *, env: Mapping[str, str] | None = None) -> None:
        self._record = record
        self._env = {name: os.environ[name] for name in KEPT if name in os.environ} | dict(env or {})
        self._running: dict[int, RunningChild] = {}
        # Those of an engine that is gone stay in the file until they are.
        self._left: tuple[RunningChild, ...] = ()
        self._writing = asyncio.Lock()
        self._is_read = False

    async def run(
        self,
        argv: Sequence[str],
        *,
        cwd: Path,
        timeout: float,
        input: bytes | None = None,
        limit: int = 1 << 20,
    ) -> ChildResult:
        """Run `argv` in `cwd` to its end. Raises `ChildFailed` where it cannot start, `ChildTimedOut` after `timeout`."""
        name = plain(" ".join(argv), 120)
        await self._read_left()
        await before_sending()
        loop = asyncio.get_running_loop()
        try:
            transport, child = await loop.subprocess_exec(
                lambda: _Child(limit),
                *argv,
                stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
                cwd=cwd,
                env=self._env,
                start_new_session=True,
                preexec_fn=_die_with(os.getpid()),
            )
        except (OSError, ValueError, subprocess.SubprocessError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise ChildFailed(f"cannot run `{name}`: {plain(str(reason))}", where=str(cwd)) from error
        try:
            await self._note(RunningChild(transport.get_pid(), _started(transport.get_pid()), name))
            async with asyncio.timeout(timeout):
                return await child.finish(input)
        except TimeoutError as error:
            raise ChildTimedOut(f"`{name}` took longer than {timeout:g} s and was ended") from error
        finally:
            await asyncio.shield(self._end(transport, child))

    async def still_running(self) -> tuple[RunningChild, ...]:
        """Commands in the record whose process group is still there: ours, and those of an engine before us."""
        await self._read_left()
        self._left = tuple(child for child in self._left if _is_running(child))
        return (*self._left, *self._running.values())

    async def end_left(self) -> tuple[RunningChild, ...]:
        """Kill the groups that an engine before us left; returns them."""
        await self.still_running()
        ended, self._left = self._left, ()
        for child in ended:
            _kill_group(child.pgid)
        await self._write()
        return ended

    async def _read_left(self) -> None:
        if self._is_read or self._record is None:
            return
        self._is_read = True
        self._left = await asyncio.to_thread(_read_record, self._record)

    async def _note(self, child: RunningChild) -> None:
        self._running[child.pgid] = child
        await self._write()

    async def _end(self, transport: asyncio.SubprocessTransport, child: _Child) -> None:
        pid = transport.get_pid()
        if not child.exited.is_set():
            _kill_group(pid)
        transport.close()
        await child.exited.wait()
        self._running.pop(pid, None)
        await self._write()

    async def _write(self) -> None:
        if self._record is None:
            return
        async with self._writing:
            children = [asdict(child) for child in (*self._left, *self._running.values())]
            await asyncio.to_thread(_write_record, self._record, json.dumps(children))


class _Child(asyncio.SubprocessProtocol):
    """Collects output; knows of the exit even where a grandchild keeps the pipes open."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._transport: asyncio.SubprocessTransport | None = None
        self._kept = {1: bytearray(), 2: bytearray()}
        self._open = {1, 2}
        self._truncated = False
        self._closed = asyncio.Event()
        self.exited = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transport is no subclass of asyncio's.
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        kept = self._kept[fd]
        kept += data[: self._limit - len(kept)]
        if len(kept) >= self._limit and not self._truncated and self._transport is not None:
            self._truncated = True
            _kill_group(self._transport.get_pid())

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open.discard(fd)
        if not self._open:
            self._closed.set()

    def process_exited(self) -> None:
        self.exited.set()

    async def finish(self, input: bytes | None) -> ChildResult:
        """Feed the input, wait for the exit, and a moment more for output that a grandchild could still hold back."""
        assert self._transport is not None
        if input is not None:
            stdin = cast(asyncio.WriteTransport, self._transport.get_pipe_transport(0))
            stdin.write(input)
            stdin.close()  # once all is written
        await self.exited.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await self._closed.wait()
        status = self._transport.get_returncode() or 0
        status = 128 - status if status < 0 else status
        return ChildResult(status, bytes(self._kept[1]), bytes(self._kept[2]), self._truncated)


def _die_with(parent: int) -> Callable[[], None] | None:
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)

    def die_with_parent() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(127)

    return die_with_parent


def _kill_group(pgid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pgid, signal.SIGKILL)


def _started(pid: int) -> int:
    """The process's start in clock ticks since boot; 0 where it cannot be seen."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[19])


def _is_running(child: RunningChild) -> bool:
    if child.started and _started(child.pgid) not in (0, child.started):
        return False  # the number has gone to another process
    try:
        os.killpg(child.pgid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _read_record(path: Path) -> tuple[RunningChild, ...]:
    try:
        return tuple(RunningChild(int(c["pgid"]), int(c["started"]), str(c["command"])) for c in json.loads(path.read_text()))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CouldNot(f"cannot read which commands ran: {plain(str(error))}", where=str(path)) from error


def _write_record(path: Path, text: str) -> None:
    part = path.with_name(f"{path.name}.part")
    part.write_text(text)
    part.chmod(0o600)
    part.replace(path)
