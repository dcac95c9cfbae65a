"""The sandbox as a child process: started, waited for until its ready line, ended by its own process id."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from backends.escape import plain
from backends.sandbox.errors import SandboxError

_LINE_LIMIT = 1 << 20


@dataclass(slots=True)
class SandboxProcess:
    """A running sandbox; `ready` is its ready line."""

    process: asyncio.subprocess.Process
    ready: dict[str, Any]
    log_path: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def plan_path(self) -> Path:
        return Path(self.ready["plan"])

    async def stop(self) -> None:
        """End it and wait until it has gone; safe to repeat."""
        await _end(self.process)


async def start_sandbox(
    folder: Path, scenario: str = "clean", seed: int = 0, *, deadline: float = 60.0, with_parent: bool = True
) -> SandboxProcess:
    """Start `python -m backends.sandbox` and wait for its ready line. Raises `SandboxError`.

    With `with_parent` it ends when the calling thread does; call it from one that lives as long as the sandbox should.
    Its log is `FOLDER/sandbox.log`.
    """
    argv = [sys.executable, "-m", "backends.sandbox", "--dir", str(folder), "--scenario", scenario, "--seed", str(seed)]
    if with_parent:
        argv += ["--with-parent", str(os.getpid())]
    log_path = folder / "sandbox.log"
    with await asyncio.to_thread(_open_log, log_path) as log:
        process = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=log,
            start_new_session=True,
            limit=_LINE_LIMIT,
        )
    try:
        return SandboxProcess(process, await _ready_line(process, log_path, deadline), log_path)
    except BaseException:
        await _end(process)
        raise


def _open_log(path: Path) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")


async def _ready_line(process: asyncio.subprocess.Process, log_path: Path, deadline: float) -> dict[str, Any]:
    if process.stdout is None:
        raise SandboxError("the sandbox has no output")
    try:
        async with asyncio.timeout(deadline):
            line = await process.stdout.readline()
    except TimeoutError as error:
        raise SandboxError(f"the sandbox was not up within {deadline:.0f} s", hint=_tail(log_path)) from error
    if not line:
        raise SandboxError("the sandbox ended before it was up", hint=_tail(log_path))
    ready: dict[str, Any] = orjson.loads(line)
    return ready


def _tail(path: Path) -> str:
    try:
        return plain(path.read_text(errors="replace")[-800:].strip())
    except OSError:
        return ""


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.terminate()
        try:
            async with asyncio.timeout(8):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
    # Read to the end so that the pipe is closed and no transport is left open.
    if process.stdout is not None:
        await process.stdout.read()
