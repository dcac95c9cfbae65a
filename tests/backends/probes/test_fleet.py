"""The live fleet over a real sshd."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

from backends.probes.fleet import GpuFleet
from backends.probes.once import probe_hosts
from backends.snapshot import HostView
from backends.ssh.models import SshHost
from backends.ssh.pool import SshPool
from tests.peers.nvidia_smi import FakeSmi, row
from tests.peers.openssh import OpenSsh, openssh
from tests.peers.process import free_ports


@contextlib.asynccontextmanager
async def following(fleet: GpuFleet) -> AsyncIterator[None]:
    task = asyncio.create_task(fleet.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(fleet: GpuFleet, seen: Callable[[HostView], bool], *, host: int = 0) -> HostView:
    """The host's view once it looks so; the last one stands in the error."""
    view = fleet.views(time.time())[host]
    try:
        async with asyncio.timeout(40):
            while not seen(view):
                await asyncio.sleep(0.02)
                view = fleet.views(time.time())[host]
    except TimeoutError:
        raise AssertionError(f"never seen: {view}") from None
    return view


async def test_figures_versions_and_history_come_over_one_channel(sshd: OpenSsh, pool: SshPool, smi: FakeSmi) -> None:
    fleet = GpuFleet(pool, [("legacy", sshd.host())])
    async with following(fleet):
        view = await until(fleet, lambda v: v.cuda is not None and bool(v.gpus) and len(v.gpus[0].history) >= 3)
        assert (view.name, view.side, view.health, view.driver, view.cuda) == ("box", "legacy", "live", "590.48.01", "13.1")
        assert [gpu.utilization for gpu in view.gpus] == [0.4, 0.4]
        smi.say(row(0, "90"), row(1, "[N/A]"))
        view = await until(fleet, lambda v: v.gpus[0].utilization == 0.9)
        await until(fleet, lambda v: v.gpus[1].utilization is None)
    assert len([call for call in smi.calls if "--query-gpu" in call]) == 1


async def test_the_remote_loop_ends_with_the_fleet(sshd: OpenSsh, pool: SshPool, smi: FakeSmi) -> None:
    fleet = GpuFleet(pool, [("legacy", sshd.host())])
    async with following(fleet):
        await until(fleet, lambda v: bool(v.gpus))
    pid = next(call.split()[0] for call in smi.calls if "--query-gpu" in call)
    async with asyncio.timeout(20):
        while Path(f"/proc/{pid}").exists():  # noqa: ASYNC110 - another process ends
            await asyncio.sleep(0.02)


async def test_a_host_that_dies_and_comes_back_is_followed_again(sshd: OpenSsh, pool: SshPool, smi: FakeSmi) -> None:
    fleet = GpuFleet(pool, [("legacy", sshd.host())])
    async with following(fleet):
        await until(fleet, lambda v: bool(v.gpus))
        sshd.kill_sessions()
        assert "lost the connection" in ((await until(fleet, lambda v: v.error is not None)).error or "")
        smi.say(row(0, "7"))
        view = await until(fleet, lambda v: v.gpus[0].utilization == 0.07)
        assert (view.health, view.error) == ("live", None)


async def test_words_in_place_of_figures_are_told_until_they_end(sshd: OpenSsh, pool: SshPool, smi: FakeSmi) -> None:
    smi.say("Failed to initialize NVML: Driver/library version mismatch", "NVML library version: 570.124", status=18)
    fleet = GpuFleet(pool, [("legacy", sshd.host())])
    async with following(fleet):
        view = await until(fleet, lambda v: v.error is not None)
        assert (view.health, view.gpus) == ("live", ())
        assert "driver and library differ" in (view.error or "")
        assert "reboot the host" in (view.error or "")
        smi.say(row(0))
        await until(fleet, lambda v: v.error is None and bool(v.gpus))


async def test_a_field_that_an_old_driver_does_not_know_is_left_out(sshd: OpenSsh, pool: SshPool, smi: FakeSmi) -> None:
    smi.say('Field "power.limit" is not a valid field to query.', status=2)
    fleet = GpuFleet(pool, [("legacy", sshd.host())])
    async with following(fleet):
        async with asyncio.timeout(40):
            while not any("power.limit" not in call for call in smi.calls if "--query-gpu" in call):  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        smi.say(row(0).replace(", 700.00", ""))
        view = await until(fleet, lambda v: bool(v.gpus))
    assert (view.gpus[0].power_w, view.gpus[0].power_limit_w, view.gpus[0].temperature_c) == (98.5, None, 42.0)


async def test_no_hosts_trouble_is_anothers(sshd: OpenSsh, tmp_path: Path) -> None:
    gone = SshHost("gone", "127.0.0.1", None, free_ports(1)[0])
    async with openssh(tmp_path / "bare", env={"PATH": "/usr/bin:/bin"}) as bare, openssh(tmp_path / "new") as stranger:
        config = replace(sshd.settings, known_hosts=tmp_path / "known")
        (tmp_path / "known").write_text(sshd.known_hosts.read_text() + bare.known_hosts.read_text())
        for other in (bare, stranger):  # one key opens all
            (other.folder / "authorized_keys").write_bytes((sshd.folder / "authorized_keys").read_bytes())
        hosts = [sshd.host(), gone, bare.host("bare"), stranger.host("stranger")]
        sided = [("legacy" if n < 2 else "target", host) for n, host in enumerate(hosts)]
        async with SshPool(config, hosts) as pool:
            once = await probe_hosts(pool, sided)  # type: ignore[arg-type]
            fleet = GpuFleet(pool, sided)  # type: ignore[arg-type]
            async with following(fleet):
                for n in range(4):
                    await until(fleet, lambda v: v.health != "connecting" and bool(v.gpus or v.error), host=n)
                live = fleet.views(time.time())
    for views in (once, live):
        assert [view.health for view in views] == ["live", "refused", "live", "refused"]
        assert [view.error is None for view in views] == [True, False, False, False]
        assert "no nvidia-smi" in (views[2].error or "")
        assert "unknown" in (views[3].error or "")


async def test_asked_once_each_host_answers_with_figures(sshd: OpenSsh, pool: SshPool, smi: FakeSmi) -> None:
    smi.say(row(0, "12"), row(1, "ERR!", power="[Unknown Error]"))
    (view,) = await probe_hosts(pool, [("target", sshd.host())])
    assert (view.health, view.error, view.driver, view.cuda) == ("live", None, "590.48.01", "13.1")
    assert [(gpu.utilization, gpu.power_w) for gpu in view.gpus] == [(0.12, 98.5), (None, None)]


async def test_figures_that_come_with_a_failure_are_kept_and_the_failure_told(sshd: OpenSsh, pool: SshPool, smi: FakeSmi) -> None:
    smi.say(row(0, "12"), "WARNING: infoROM is corrupted at gpu 0000:00:09.0", status=14)
    (view,) = await probe_hosts(pool, [("target", sshd.host())])
    assert view.gpus[0].utilization == 0.12
    assert "infoROM is corrupted" in (view.error or "")
