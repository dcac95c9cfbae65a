"""A bastion and two sides as network namespaces of their own, one link from the bastion to each: a link can be cut and joined again.

What runs in them sees nothing of this machine's network, and this machine's network is left as it is. Needs root and `ip`.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

from backends.vocabulary import SIDES, SideName

T = TypeVar("T")
CLONE_NEWNET = 0x40000000
ADDRESSES: dict[SideName, str] = {"legacy": "10.0.1.2", "target": "10.0.2.2"}


@dataclass(frozen=True, slots=True)
class Network:
    """`name` begins the names of its namespaces."""

    name: str

    def on(self, place: SideName | str) -> tuple[str, ...]:
        """What an argv begins with to run there: on `bastion` or on a side."""
        return ("ip", "netns", "exec", f"{self.name}-{place}")

    def cut(self, side: SideName) -> None:
        """The link's far end goes down: nothing comes back from there, and nothing says why."""
        self._link(side, "down")

    def join(self, side: SideName) -> None:
        self._link(side, "up")

    def _link(self, side: SideName, state: str) -> None:
        _ip("-n", f"{self.name}-{side}", "link", "set", "bastion", state)

    def from_bastion(self, body: Callable[[], T]) -> T:
        """Do this where the bastion is; what it starts is there too. A thread of its own, since a namespace belongs to a thread."""
        done: Future[T] = Future()

        def enter() -> None:
            try:
                with Path(f"/run/netns/{self.name}-bastion").open() as place:
                    if ctypes.CDLL(None, use_errno=True).setns(place.fileno(), CLONE_NEWNET) != 0:
                        raise OSError(ctypes.get_errno(), "setns")
                done.set_result(body())
            except Exception as error:  # noqa: BLE001 - handed to the caller
                done.set_exception(error)

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        return done.result()


@contextlib.asynccontextmanager
async def network() -> AsyncIterator[Network]:
    """The three namespaces while they are wanted. Skips the test where they cannot be made."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("network namespaces need root and `ip` (iproute2)")
    made = Network(f"cutover-{os.getpid()}")
    try:
        await asyncio.to_thread(_make, made)
    except subprocess.CalledProcessError as error:
        await asyncio.to_thread(_remove, made)
        pytest.skip(f"network namespaces cannot be made here: {error.stderr.decode(errors='replace').strip()}")
    try:
        yield made
    finally:
        await asyncio.to_thread(_remove, made)


def _make(net: Network) -> None:
    for place in ("bastion", *SIDES):
        _ip("netns", "add", f"{net.name}-{place}")
        _ip("-n", f"{net.name}-{place}", "link", "set", "lo", "up")
    for side in SIDES:
        far = ("peer", "name", "bastion", "netns", f"{net.name}-{side}")
        _ip("-n", f"{net.name}-bastion", "link", "add", side, "type", "veth", *far)
        address = ADDRESSES[side]
        for place, link, own in (("bastion", side, f"{address[:-1]}1"), (side, "bastion", address)):
            _ip("-n", f"{net.name}-{place}", "address", "add", f"{own}/24", "dev", link)
            _ip("-n", f"{net.name}-{place}", "link", "set", link, "up")


def _remove(net: Network) -> None:
    for place in ("bastion", *SIDES):
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("netns", "delete", f"{net.name}-{place}")


def _ip(*args: str) -> None:
    subprocess.run(("ip", *args), capture_output=True, check=True, timeout=20)
