"""Waiting for the end of a process that is not our child: a demo's engine has no world any more when its sandbox has gone.

Linux: `pidfd_open(2)`, 5.3 and newer, is readable when the process has ended, and cannot mistake a later process with the same id
for it. Elsewhere the id is asked for once a second.
"""

from __future__ import annotations

import asyncio
import os

PERIOD = 1.0


async def has_ended(pid: int) -> None:
    """Return when process `pid` has ended; at once where there is none."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    except (AttributeError, OSError):
        await _asked(pid)
        return
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(fd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(fd)
        os.close(fd)


async def _asked(pid: int) -> None:
    while True:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        except PermissionError:
            pass  # it is there, and another user's
        await asyncio.sleep(PERIOD)
