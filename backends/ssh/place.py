"""Where commands run, on hosts of a side or on the engine's machine, and running them there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backends.children import Children
from backends.errors import CouldNot
from backends.escape import plain
from backends.ssh.pool import SshPool

SHOWN = 300


@dataclass(frozen=True, slots=True)
class Said:
    """What a command left: its exit status, what it printed, and in one line what it has to say for itself."""

    status: int
    out: str
    words: str


@dataclass(frozen=True, slots=True)
class Places:
    """Hosts of the SSH pool; None is the engine's own machine, where commands run in the plan's folder `base`."""

    hosts: tuple[str | None, ...]
    pool: SshPool
    children: Children
    base: Path

    @property
    def text(self) -> str:
        return ", ".join(shown(host) for host in self.hosts)

    @property
    def first(self) -> Places:
        """Only the first of them: for an authority that answers the same everywhere."""
        return Places(self.hosts[:1], self.pool, self.children, self.base)

    async def run(self, host: str | None, argv: Sequence[str], timeout: float) -> Said:
        """Run it at one place. Raises `CouldNot` where it cannot be started or does not end in time."""
        if host is None:
            child = await self.children.run(argv, cwd=self.base, timeout=timeout)
            return _said(child.exit_status, child.stdout, child.stderr)
        result = await self.pool.run(host, argv, timeout=timeout)
        return _said(result.exit_status, result.stdout, result.stderr)

    async def run_all(self, argv: Sequence[str], timeout: float) -> dict[str | None, Said | CouldNot]:
        """Run it at every place at once; all are tried. What could not be done stands in its place's stead."""

        async def one(host: str | None) -> Said | CouldNot:
            try:
                return await self.run(host, argv, timeout)
            except CouldNot as error:
                return error

        async with asyncio.TaskGroup() as group:
            tasks = {host: group.create_task(one(host)) for host in self.hosts}
        return {host: task.result() for host, task in tasks.items()}


def shown(host: str | None) -> str:
    """A place by its name, in words."""
    return host or "the engine's machine"


def shown_argv(argv: Sequence[str]) -> str:
    return plain(" ".join(argv), 120)


def _said(status: int, stdout: bytes, stderr: bytes) -> Said:
    words = plain(stderr.strip() or stdout.strip(), SHOWN)
    return Said(status, stdout.decode("utf-8", "backslashreplace"), words)
