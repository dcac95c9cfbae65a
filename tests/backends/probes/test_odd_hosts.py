"""Hosts that answer with something else than what was asked: banners, forced commands, restricted shells, sudo, output without end."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from backends.probes.fleet import GpuFleet
from backends.probes.once import probe_hosts
from backends.snapshot import HostView
from backends.ssh.pool import SshPool
from tests.backends.probes.test_fleet import following, until
from tests.peers.nvidia_smi import FakeSmi, row
from tests.peers.openssh import openssh


async def probed(folder: Path, smi: FakeSmi, options: str = "", env: dict[str, str] | None = None) -> HostView:
    """The one host as `cutover probe` sees it."""
    async with (
        openssh(folder, env=smi.env if env is None else env, options=options) as server,
        SshPool(server.settings, [server.host()]) as pool,
    ):
        (view,) = await probe_hosts(pool, [("target", server.host())])
    return view


async def test_a_banner_and_a_motd_are_no_figures(tmp_path: Path, smi: FakeSmi) -> None:
    (tmp_path / "banner").write_text("*** 40, 99, authorised use only ***\n\x1b[2J\n")
    said = '"printf \'Welcome\\n0, GPU-1, 5\\n\'; exec /bin/sh -c \\"$SSH_ORIGINAL_COMMAND\\""'
    view = await probed(tmp_path / "sshd", smi, f"Banner {tmp_path}/banner\nForceCommand {said[1:-1]}\n".replace('\\"', '"'))
    assert (view.health, view.error) == ("live", None)
    assert [gpu.utilization for gpu in view.gpus] == [0.4, 0.4]


@pytest.mark.parametrize(
    ("forced", "told"),
    [
        ("/bin/echo This account is not available.", "not available"),
        ("/bin/sh -c 'echo sudo: a password is required >&2; exit 1'", "a password is required"),
        ("/bin/sh -c 'echo bash: nvidia-smi: command not found >&2; exit 127'", "no nvidia-smi"),
        ("/bin/false", "ended with 1"),
        ("/usr/bin/yes", ""),
    ],
)
async def test_a_forced_command_is_told_in_its_own_words_and_gives_no_figures(
    tmp_path: Path, smi: FakeSmi, forced: str, told: str
) -> None:
    view = await probed(tmp_path / "sshd", smi, f"ForceCommand {forced}\n")
    assert view.gpus == ()
    assert view.error
    assert told in view.error


async def test_a_restricted_shell_still_gives_its_gpus(tmp_path: Path, smi: FakeSmi) -> None:
    smi.say(row(0, "31"))
    restricted = 'ForceCommand exec /bin/bash -r -c "$SSH_ORIGINAL_COMMAND"\n'
    view = await probed(tmp_path / "sshd", smi, restricted)
    assert [gpu.utilization for gpu in view.gpus] == [0.31]


async def test_a_host_without_python_is_read_by_nvidia_smi(tmp_path: Path, smi: FakeSmi) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("sh", "cat", "dirname", "sleep", "test", "echo"):
        (bare / name).symlink_to(Path("/bin") / name)
    view = await probed(tmp_path / "sshd", smi, env={"PATH": f"{smi.folder}:{bare}"})
    assert [gpu.utilization for gpu in view.gpus] == [0.4, 0.4]
    assert view.source != "agent"


async def test_a_host_that_prints_without_end_is_cut_and_its_neighbour_is_not_delayed(tmp_path: Path, smi: FakeSmi) -> None:
    flood = f"exec {sys.executable} -c 'import sys\nwhile True: sys.stdout.write(chr(120) * 65536)'"
    (smi.folder / "python3").write_text(f"#!/bin/sh\n{flood}\n")
    (smi.folder / "python3").chmod(0o755)
    (smi.folder / "nvidia-smi").write_text(f"#!/bin/sh\n{flood}\n")
    async with openssh(tmp_path / "loud", env=smi.env) as loud, openssh(tmp_path / "good", env={"PATH": "/usr/bin:/bin"}) as good:
        (good.folder / "authorized_keys").write_bytes((loud.folder / "authorized_keys").read_bytes())
        known = tmp_path / "known"
        known.write_text(loud.known_hosts.read_text() + good.known_hosts.read_text())
        settings = replace(loud.settings, known_hosts=known)
        async with SshPool(settings, [loud.host("loud"), good.host("good")]) as pool:
            fleet = GpuFleet(pool, [("legacy", loud.host("loud")), ("target", good.host("good"))])
            async with following(fleet):
                await until(fleet, lambda v: v.machine is not None, host=1)
                view = await until(fleet, lambda v: bool(v.error), host=0)
    assert view.gpus == ()
    assert len(view.error or "") < 1000
