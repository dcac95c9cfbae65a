"""A real `systemd --user` in private pid, mount and cgroup namespaces, with units of its own; `systemctl --user` reaches it by `env`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers.process import running

MANAGER = "/usr/lib/systemd/systemd"
# A manager wants a cgroup tree of its own and to see that the machine was booted with systemd; nothing of it reaches outside.
INSIDE = """
set -e
mount --make-rprivate /
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs tmpfs /run/systemd
mkdir -p /run/systemd/system
{manager} --user --log-target=console  # not as the first process there: it would take itself for the system's
"""


# A manager answers only those whose process it can see (measured: from outside every second call is cut), so systemctl goes inside.
WRAPPER = """#!/bin/sh
outer=$(cat {folder}/pid)
exec nsenter --target $(cat /proc/$outer/task/$outer/children) --pid --mount --cgroup -- {systemctl} "$@"
"""


@dataclass
class UserSystemd:
    """A running manager. Units are files in `units`."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        path = f"{self.folder}/bin:{os.environ['PATH']}"
        return {"PATH": path, "XDG_RUNTIME_DIR": str(self.folder / "run")}

    @property
    def units(self) -> Path:
        return self.folder / "config" / "systemd" / "user"

    def add(self, name: str, text: str) -> None:
        """Write a unit file; a manager reads it when it is first asked about it."""
        (self.units / name).write_text(text)

    async def ctl(self, *argv: str) -> tuple[int, str]:
        """`systemctl --user …`: exit status and output."""
        child = await asyncio.create_subprocess_exec(
            *(str(self.folder / "bin" / "systemctl"), "--user", *argv),
            env=os.environ | self.env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await asyncio.wait_for(child.communicate(), 20)
        return child.returncode or 0, out.decode().strip()


@contextlib.asynccontextmanager
async def user_systemd(folder: Path) -> AsyncIterator[UserSystemd]:
    """The manager while it runs. Skips the test where it cannot be started: no systemd, no root, no second cgroup hierarchy."""
    systemctl = shutil.which("systemctl")
    if systemctl is None or shutil.which("nsenter") is None or not Path(MANAGER).exists():
        pytest.skip("server missing: systemd")
    root = next((p for p in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup")) if (p / "cgroup.procs").exists()), None)
    if os.geteuid() != 0 or root is None:
        pytest.skip("a manager of our own needs root and cgroup2")
    group = root / f"cutover-test-{os.getpid()}"
    group.mkdir()
    server = UserSystemd(folder)
    server.units.mkdir(parents=True)
    (folder / "run").mkdir(mode=0o700)
    wrapper = folder / "bin" / "systemctl"
    wrapper.parent.mkdir()
    wrapper.write_text(WRAPPER.format(folder=folder, systemctl=systemctl))
    wrapper.chmod(0o755)
    inside = INSIDE.format(manager=MANAGER)
    # First into the group, then into the namespaces: the group is the root of what is seen inside.
    outside = f'echo $$ > {folder}/pid; echo $$ > {group}/cgroup.procs; exec unshare --pid --fork --kill-child --mount --mount-proc --cgroup sh -c "$1"'
    env = {"HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "config")} | server.env | {"PATH": os.environ["PATH"]}

    async def ready() -> bool:
        return (await server.ctl("is-active", "default.target"))[1] == "active"

    argv = ("sh", "-c", outside, "sh", inside)
    try:
        async with running(argv, log=folder / "systemd.log", ready=ready, seconds=30, env=env):
            yield server
    finally:
        await asyncio.to_thread(_remove, group)


def _remove(group: Path) -> None:
    """End what is left in the group, and take it away once it is empty."""
    with contextlib.suppress(OSError):
        (group / "cgroup.kill").write_text("1")
    deadline = time.monotonic() + 5
    while group.exists() and time.monotonic() < deadline:
        for path, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(path)
