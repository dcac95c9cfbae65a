"""A network namespace joined to this machine by a pair of veth: a host whose packets can be dropped, as by a cut line."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest


class IpFailed(Exception):
    """`ip` could not; the message holds what it said."""


@dataclass(frozen=True, slots=True)
class Namespace:
    """`address` is the host's in the namespace, `ours` this machine's on the pair."""

    name: str
    address: str
    ours: str

    @property
    def within(self) -> list[str]:
        """What starts a program in it, and becomes that program."""
        return ["ip", "netns", "exec", self.name]

    async def route_by_us(self) -> None:
        """Whatever is elsewhere is sent to this machine, which forwards nothing."""
        await _ip("-n", self.name, "route", "add", "default", "via", self.ours)

    async def drop(self) -> None:
        """From now on nothing that the host sends arrives, and nothing tells us so."""
        await _ip("-n", self.name, "route", "add", "blackhole", f"{self.ours}/32")

    async def carry(self) -> None:
        """The line is there again."""
        await _ip("-n", self.name, "route", "del", "blackhole", f"{self.ours}/32")


async def _ip(*words: str) -> None:
    process = await asyncio.create_subprocess_exec("ip", *words, stderr=asyncio.subprocess.PIPE)
    async with asyncio.timeout(20):
        _, said = await process.communicate()
    if process.returncode:
        raise IpFailed(f"ip {' '.join(words)}: {said.decode('utf-8', 'replace').strip()}")


@contextlib.asynccontextmanager
async def namespace() -> AsyncIterator[Namespace]:
    """The namespace while it stands. Skips the test where this may not be made."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("server missing: network namespaces (root and iproute2)")
    tag = secrets.token_hex(3)
    number = int(tag, 16) % (1 << 14) * 4  # a /30 of 10.231.0.0/16
    high, low = divmod(number, 256)
    made = Namespace(f"cutover-{tag}", f"10.231.{high}.{low + 2}", f"10.231.{high}.{low + 1}")
    here, there = f"ct{tag}a", f"ct{tag}b"
    try:
        try:
            await _ip("netns", "add", made.name)
            await _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", made.name)
        except IpFailed as error:
            pytest.skip(f"server missing: network namespaces ({error})")
        await _ip("addr", "add", f"{made.ours}/30", "dev", here)
        await _ip("link", "set", here, "up")
        await _ip("-n", made.name, "addr", "add", f"{made.address}/30", "dev", there)
        await _ip("-n", made.name, "link", "set", there, "up")
        await _ip("-n", made.name, "link", "set", "lo", "up")
        yield made
    finally:
        with contextlib.suppress(IpFailed):
            await _ip("netns", "del", made.name)
