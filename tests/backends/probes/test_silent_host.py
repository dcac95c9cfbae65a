"""A host behind a cut line: late, then silent, and nothing else waits for it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from backends.probes.fleet import GpuFleet
from backends.probes.watch import LATE, SILENT
from backends.ssh.models import SshSettings
from backends.ssh.pool import SshPool
from tests.backends.probes.test_fleet import following, until
from tests.peers.netns import namespace
from tests.peers.nvidia_smi import FakeSmi
from tests.peers.openssh import openssh


@pytest.mark.slow
async def test_a_host_whose_packets_are_dropped_is_late_then_silent_and_delays_nobody(tmp_path: Path, smi: FakeSmi) -> None:
    async with (
        namespace() as line,
        openssh(tmp_path / "far", env=smi.env, within=line.within, address=line.address) as far,
        openssh(tmp_path / "near", env=smi.env) as near,
    ):
        (near.folder / "known_hosts").write_text(near.known_hosts.read_text() + far.known_hosts.read_text())
        near.config.write_text(f"Host *\n  IdentityFile {far.folder}/id_ed25519\n  IdentityFile {near.folder}/id_ed25519\n")
        hosts = [far.host("far"), near.host("near")]
        settings = SshSettings(config=near.config, known_hosts=near.known_hosts)
        async with SshPool(settings, hosts) as pool:
            fleet = GpuFleet(pool, [("legacy", host) for host in hosts])
            async with following(fleet):
                for number in range(2):
                    await until(fleet, lambda v: v.health == "live" and bool(v.gpus), host=number)
                await line.drop()
                seen: dict[str, float] = {}  # the far host's age when it was first seen so
                oldest = 0.0
                async with asyncio.timeout(60):
                    while "silent" not in seen:
                        far_view, near_view = fleet.views(time.time())
                        seen.setdefault(far_view.health, far_view.age or 0.0)
                        assert near_view.health == "live", "nobody waits for the silent one"
                        oldest = max(oldest, near_view.age or 0.0)
                        await asyncio.sleep(0.05)
                assert LATE < seen["late"] < LATE + 1
                assert SILENT < seen["silent"] < SILENT + 1
                assert oldest < LATE
                started = time.monotonic()
                assert (await pool.run("near", ["true"])).exit_status == 0
                assert time.monotonic() - started < LATE
                await line.carry()
                await until(fleet, lambda v: v.health == "live", host=0)
