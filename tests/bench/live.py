"""`cutover check --live` of 200 hosts of eight GPUs: how long it takes, and in how much memory."""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import json
import sys
import tempfile
import time
from pathlib import Path

import psutil

from tests.bench.processes import ProgramFailed
from tests.peers.gpu_hosts import gpu_hosts
from tests.peers.openssh import write_keys

HOSTS = 200
PARTS = 4  # processes that the hosts are in


async def bench_live() -> None:
    """200 hosts asked at once by `cutover check --live`: seconds and memory of the whole command."""
    with tempfile.TemporaryDirectory(prefix="cutover-live-") as name:
        folder = Path(name)
        user, host = write_keys(folder, "id_ed25519"), write_keys(folder, "host_key")
        (folder / "authorized_keys").write_bytes(user.export_public_key())
        (folder / "ssh_config").write_text(f"Host *\n  IdentityFile {folder}/id_ed25519\n  IdentitiesOnly yes\n")
        async with contextlib.AsyncExitStack() as stack:
            ports = [(await stack.enter_async_context(gpu_hosts(folder))).port for _ in range(PARTS)]
            key = host.export_public_key().decode()
            (folder / "known_hosts").write_text("".join(f"[127.0.0.1]:{port} {key}" for port in ports))
            await _check(folder, ports)


async def _check(folder: Path, ports: list[int]) -> None:
    hosts = [
        {"name": f"h{i:03}", "address": "127.0.0.1", "user": getpass.getuser(), "port": ports[i % PARTS], "gpus": {"type": "H100-SXM5", "count": 8}}
        for i in range(HOSTS)
    ]  # fmt: skip
    ssh = {"config": f"{folder}/ssh_config", "known_hosts": f"{folder}/known_hosts", "connect_timeout": "30s"}
    sides = {"legacy": {"provider": "old", "hosts": hosts[::2]}, "target": {"provider": "new", "hosts": hosts[1::2]}}
    plan = folder / "plan.yaml"
    plan.write_text(json.dumps({"version": 1, "name": "fleet", "ssh": ssh, **sides}))
    began = time.monotonic()
    child = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from console.main import main; main()", "check", str(plan), "--live", "--json"),
        stdout=asyncio.subprocess.PIPE,
    )
    watched = asyncio.create_task(_most_memory(child.pid))
    out, _ = await child.communicate()
    seconds = time.monotonic() - began
    told = json.loads(out)
    if "live" not in told or told["live"]["hosts"] != HOSTS:
        raise ProgramFailed(f"it ended with {child.returncode}: {out[:300]!r}")
    codes = sorted({p["code"] for p in told["problems"]}) or ["none"]
    print(
        f"{HOSTS} hosts: {seconds:.1f} s ({told['live']['seconds']:.1f} s of them asking), {await watched / 1e6:.0f} MB; problems: {', '.join(codes)}",
        flush=True,
    )


async def _most_memory(pid: int) -> int:
    """The largest resident size that was seen, bytes, looked at ten times a second."""
    most = 0
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(pid)
        while process.status() != psutil.STATUS_ZOMBIE:
            most = max(most, process.memory_info().rss)
            await asyncio.sleep(0.1)
    return most
