"""The sandbox in the foreground: the ready line on stdout, then up until a signal."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import orjson
import uvloop

from backends.escape import plain
from backends.sandbox.errors import SandboxError
from backends.sandbox.world import Sandbox


def run_foreground(folder: Path, scenario: str, seed: int) -> int:
    """Run until SIGINT, SIGTERM or SIGHUP; returns the number of the signal that ended it. Raises what kept it from coming up."""
    return uvloop.run(_run(folder, scenario, seed))


async def _run(folder: Path, scenario: str, seed: int) -> int:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def end(number: int) -> None:
        if not ended.done():
            ended.set_result(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, end, number)
    try:
        async with Sandbox(folder, scenario, seed) as sandbox:
            if not ended.done():
                sys.stdout.buffer.write(orjson.dumps(sandbox.ready, option=orjson.OPT_APPEND_NEWLINE))
                sys.stdout.buffer.flush()
            return await ended
    except ExceptionGroup as failures:
        world, bugs = failures.split(OSError)
        if world is None or bugs is not None:
            raise
        raise SandboxError(f"a part of the sandbox failed: {plain(str(_first(world)))}", hint="see its folder") from failures


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
