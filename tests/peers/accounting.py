"""Slurm's accounting: slurmdbd over a MariaDB of its own, both on the loopback, nothing of the machine's touched."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.peers.process import accepts, free_ports, running

PROGRAMS = ("slurmdbd", "mariadbd", "mariadb-install-db")


@contextlib.asynccontextmanager
async def accounting(folder: Path, munge: Path) -> AsyncIterator[int]:
    """slurmdbd's port while it runs. `munge` is the socket that it asks. Skips the test where it is not installed."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    found = {name: shutil.which(name, path=path) for name in PROGRAMS}
    missing = [name for name, program in found.items() if program is None]
    if missing:
        pytest.skip(f"server missing: slurmdbd ({', '.join(missing)})")
    folder.mkdir(mode=0o700)
    data, socket = folder / "data", folder / "sql"
    install = await asyncio.create_subprocess_exec(
        *(str(found["mariadb-install-db"]), "--no-defaults", f"--datadir={data}", "--user=root", "--skip-test-db"),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert await asyncio.wait_for(install.wait(), 60) == 0
    [port] = free_ports(1)
    (folder / "slurmdbd.conf").write_text(
        f"AuthType=auth/munge\nAuthInfo=socket={munge}\nDbdHost=localhost\nDbdAddr=127.0.0.1\nDbdPort={port}\nSlurmUser=root\n"
        f"StorageType=accounting_storage/mysql\nStorageHost=localhost\nStorageUser=root\nStorageLoc=slurm\n"
        f"PidFile={folder}/slurmdbd.pid\nLogFile={folder}/slurmdbd.log\n"
    )
    (folder / "slurmdbd.conf").chmod(0o600)

    async def database_ready() -> bool:
        return socket.exists()

    async def ready() -> bool:
        return await accepts(port)

    server = (
        *(str(found["mariadbd"]), "--no-defaults", f"--datadir={data}", f"--socket={socket}", "--skip-networking"),
        *("--skip-grant-tables", "--user=root", "--innodb-buffer-pool-size=32M", f"--pid-file={folder}/sql.pid"),
    )
    env = os.environ | {"MYSQL_UNIX_PORT": str(socket), "SLURM_CONF": str(folder / "slurm.conf")}
    async with (
        running(server, log=folder / "mariadb.log", ready=database_ready),
        running((str(found["slurmdbd"]), "-D"), log=folder / "slurmdbd.out", ready=ready, env=env),
    ):
        yield port
