"""A real one-node Slurm of Debian: munged, slurmctld and slurmd as root, with folders and ports of their own. Two partitions, `old` and `new`;
where asked for with GPUs that are files, and with accounting."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.peers.accounting import accounting
from tests.peers.process import free_ports, running

PROGRAMS = ("munged", "slurmctld", "slurmd", "squeue", "scontrol", "sbatch")


@dataclass
class Slurm:
    """A running Slurm. `env` is what its commands need to find it."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        return {"SLURM_CONF": str(self.folder / "slurm.conf")}

    async def run(self, *argv: str) -> str:
        """One of its commands, to its end; what it printed."""
        status, out = await self.attempt(*argv)
        assert status == 0, out
        return out

    async def attempt(self, *argv: str) -> tuple[int, str]:
        """One of its commands: exit status and output, errors included."""
        child = await asyncio.create_subprocess_exec(
            *argv, env=os.environ | self.env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        out, _ = await asyncio.wait_for(child.communicate(), 20)
        return child.returncode or 0, out.decode()

    async def submit(self, partition: str, script: str, name: str = "job") -> str:
        """Submit a batch script; its id."""
        argv = (
            "sbatch",
            "--parsable",
            "--output=/dev/null",
            f"--job-name={name}",
            f"--partition={partition}",
            f"--wrap={script}",
        )
        return (await self.run(*argv)).strip()

    async def set_state(self, partition: str, state: str) -> None:
        await self.run("scontrol", "update", f"PartitionName={partition}", f"State={state}")

    async def state(self, partition: str) -> str:
        words = (await self.run("scontrol", "-o", "show", "partition", partition)).split()
        return next(w for w in words if w.startswith("State=")).removeprefix("State=")

    async def until_job(self, job: str, state: str) -> None:
        """Wait until a job is in this state."""
        await self._until(state, "--format=%T", "--states=all", f"--jobs={job}")

    async def _until(self, wanted: str, *asked: str) -> None:
        """Ask `squeue` until it says that; asked again at once, since each question takes a moment of its own."""
        async with asyncio.timeout(60):
            said: str | None = None
            while said != wanted:
                said = (await self.attempt("squeue", "--noheader", *asked))[1].strip()

    async def reset(self) -> None:
        """No job, `old` open and `new` closed."""
        await self.run("scancel", "--user=root", "--signal=KILL", "--full")
        await self.run("scancel", "--user=root")
        await self._until("")
        await self.set_state("old", "UP")
        await self.set_state("new", "DRAIN")


@contextlib.asynccontextmanager
async def slurm(folder: Path, *, gpus: int = 0, features: str = "", has_accounting: bool = False) -> AsyncIterator[Slurm]:
    """Slurm while it runs, its node with so many `gpu:a100` and these features. Skips the test where it is not installed, or where we are not root."""
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
    found = {name: shutil.which(name, path=path) for name in PROGRAMS}
    missing = [name for name, program in found.items() if program is None]
    if missing:
        pytest.skip(f"server missing: slurm ({', '.join(missing)})")
    if os.geteuid() != 0:
        pytest.skip("slurmd is started by root only")
    server = Slurm(folder)
    _prepare(folder, gpus, features)
    munge = folder / "munge"

    async def munged_ready() -> bool:
        return (munge / "socket").exists()

    async def controller_ready() -> bool:
        return (await server.attempt("scontrol", "ping"))[1].count(" is UP") == 1

    async def node_ready() -> bool:
        return (await server.attempt("sinfo", "--noheader", "--format=%T"))[1].split()[:1] == ["idle"]

    argv = (
        *(str(found["munged"]), "--foreground", "--force", f"--socket={munge}/socket", f"--key-file={munge}/key"),
        *(f"--pid-file={munge}/pid", f"--log-file={munge}/log", f"--seed-file={munge}/seed"),
    )
    async with contextlib.AsyncExitStack() as stack:
        await stack.enter_async_context(running(argv, log=folder / "munged.log", ready=munged_ready))
        if has_accounting:
            dbd = await stack.enter_async_context(accounting(folder / "dbd", munge / "socket"))
            with (folder / "slurm.conf").open("a") as conf_file:
                conf_file.write(
                    "AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=127.0.0.1\n"
                    f"AccountingStoragePort={dbd}\nAccountingStoragePass={munge}/socket\nAccountingStorageTRES=gres/gpu\nJobAcctGatherType=jobacct_gather/linux\n"
                    "JobAcctGatherFrequency=1\n"
                )
        conf = str(folder / "slurm.conf")
        for name, ready in (("slurmctld", controller_ready), ("slurmd", node_ready)):
            daemon = running((str(found[name]), "-D", "-f", conf), log=folder / f"{name}.out", ready=ready)
            await stack.enter_async_context(daemon)
        try:
            yield server
        finally:
            with contextlib.suppress(AssertionError, TimeoutError):
                await server.reset()


def _prepare(folder: Path, gpus: int, features: str) -> None:
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(parents=True, mode=0o700)
    key = folder / "munge" / "key"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    host = socket.gethostname().partition(".")[0]
    controller, node = free_ports(2)
    for index in range(gpus):
        (folder / f"gpu{index}").touch()
    if gpus:
        (folder / "gres.conf").write_text(f"Name=gpu Type=a100 File={folder}/gpu[0-{gpus - 1}]\n")
    more = (f" Gres=gpu:a100:{gpus}" if gpus else "") + (f" Feature={features}" if features else "")
    (folder / "slurm.conf").write_text(
        f"ClusterName=test\nSlurmctldHost={host}(127.0.0.1)\nSlurmctldPort={controller}\nSlurmdPort={node}\n"
        f"AuthType=auth/munge\nAuthInfo=socket={folder}/munge/socket\nSlurmUser=root\nSlurmdUser=root\n"
        f"StateSaveLocation={folder}/state\nSlurmdSpoolDir={folder}/spool\nSlurmctldPidFile={folder}/slurmctld.pid\n"
        f"SlurmdPidFile={folder}/slurmd.pid\nSlurmctldLogFile={folder}/slurmctld.log\nSlurmdLogFile={folder}/slurmd.log\n"
        "ProctrackType=proctrack/linuxproc\nTaskPlugin=task/none\nMpiDefault=none\nReturnToService=2\nKillWait=2\n"
        "SchedulerParameters=sched_interval=1,batch_sched_delay=1,bf_interval=1\nSelectType=select/cons_tres\n"
        "MinJobAge=2\nCompleteWait=0\n"
        f"{'GresTypes=gpu' if gpus else ''}\nNodeName={host} NodeAddr=127.0.0.1 CPUs=1{more} State=UNKNOWN\n"
        f"PartitionName=old Nodes={host} Default=YES State=UP OverSubscribe=FORCE:8\n"
        f"PartitionName=new Nodes={host} State=DRAIN OverSubscribe=FORCE:8\n"
    )
