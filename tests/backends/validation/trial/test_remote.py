"""A run that is ended while its end is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from backends.ssh.models import CommandResult, SshSettings
from backends.ssh.pool import SshPool
from backends.validation.trial.remote import RemoteRun


class Slow(SshPool):
    """Each command ends when it is let."""

    def __init__(self) -> None:
        super().__init__(SshSettings(), [])
        self.begun = asyncio.Event()
        self.let = asyncio.Event()
        self.ended = 0

    async def run(self, host: str, argv: Sequence[str], **how: Any) -> CommandResult:
        self.begun.set()
        await self.let.wait()
        self.ended += 1
        return CommandResult(0, b"", b"", False)


async def test_a_run_is_cleared_away_also_where_the_other_side_fails_meanwhile() -> None:
    pool = Slow()
    pool.let.set()
    run = RemoteRun(pool, "box", ["true"], folder="", env={}, seed=1)
    await run.__aenter__()
    pool.let.clear()
    pool.begun.clear()
    leaving = asyncio.create_task(run.__aexit__())
    await pool.begun.wait()
    leaving.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not leaving.done(), "the connection would be closed under the command that clears away"
    pool.let.set()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    assert pool.ended == 2
