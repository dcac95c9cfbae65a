"""Workloads stopped and started by commands, over a real sshd and on this machine."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from backends.children import Children
from backends.ssh.models import SshHost
from backends.ssh.pool import SshPool
from backends.workloads.base import NoWay, StillRunning, WorkloadError
from backends.workloads.open import open_workload
from tests.backends.workloads.conftest import control, workload
from tests.peers.openssh import OpenSsh, openssh
from tests.peers.process import free_ports

TRAINCTL = """#!/bin/sh
state="$(dirname "$0")/state"
case "$1" in
  stop) echo quiesced >"$state" ;;
  start) echo running >"$state" ;;
  status) cat "$state"; grep -q running "$state" || exit 3 ;;
  drain) touch "$(dirname "$0")/closed" ;;
  idle) [ ! -e "$(dirname "$0")/job" ] || exit 3 ;;
  step) echo 1200 ;;
  fail) echo 'queue is \033[31mbusy' >&2; exit 9 ;;
esac
"""


@pytest.fixture
async def sshd(tmp_path: Path) -> AsyncIterator[OpenSsh]:
    async with openssh(tmp_path / "sshd") as server:
        yield server


@pytest.fixture
def trainctl(tmp_path: Path) -> str:
    path = tmp_path / "trainctl"
    path.write_text(TRAINCTL)
    path.chmod(0o755)
    (tmp_path / "state").write_text("running\n")
    return str(path)


@pytest.fixture
async def pool(sshd: OpenSsh) -> AsyncIterator[SshPool]:
    hosts = [sshd.host(), SshHost("gone", "127.0.0.1", None, free_ports(1)[0])]
    async with SshPool(sshd.settings, hosts) as opened:
        yield opened


async def test_a_workload_on_hosts_is_stopped_asked_and_started(pool: SshPool, trainctl: str, tmp_path: Path) -> None:
    pretrain = control(pool, tmp_path, command=[trainctl, "stop"], resume=[trainctl, "start"], status=[trainctl, "status"])
    assert (await pretrain.look("legacy")).state == "running"
    assert (await pretrain.quiesce("legacy")).text == f"pretrain stopped on legacy (box) by `{trainctl} stop`"
    assert (await pretrain.look("legacy")).state == "quiesced"
    await pretrain.quiesce("legacy")
    await pretrain.resume("legacy", {})
    assert (await pretrain.look("legacy")).state == "running"


async def test_one_host_that_fails_is_a_failure_and_named(pool: SshPool, trainctl: str, tmp_path: Path) -> None:
    pretrain = control(pool, tmp_path, command=[trainctl, "stop"], status=[trainctl, "status"])
    with pytest.raises(WorkloadError, match=r"pretrain on target is not stopped: gone \(127.0.0.1:.*refused"):
        await pretrain.quiesce("target")
    assert (tmp_path / "state").read_text() == "quiesced\n"  # the one that could be reached was stopped all the same
    assert (await pretrain.look("target")).state == "unknown"


async def test_a_command_that_fails_is_told_with_its_words(pool: SshPool, trainctl: str, tmp_path: Path) -> None:
    pretrain = control(pool, tmp_path, command=[trainctl, "fail"])
    with pytest.raises(WorkloadError, match=r"fail` on box ended with 9: queue is \\x1b\[31mbusy"):
        await pretrain.quiesce("legacy")
    assert (await pretrain.look("legacy")).state == "unknown"


async def test_commands_on_the_engines_machine_run_in_the_plans_folder(pool: SshPool, trainctl: str, tmp_path: Path) -> None:
    pretrain = control(
        pool, tmp_path, command=["./trainctl", "stop"], status=["./trainctl", "status"], on="engine", timeout="20s"
    )
    assert (await pretrain.quiesce("target")).text == "pretrain stopped on target (the engine's machine) by `./trainctl stop`"
    assert (await pretrain.look("target")).state == "quiesced"


async def test_without_status_the_state_is_what_the_last_command_left(pool: SshPool, trainctl: str, tmp_path: Path) -> None:
    pretrain = control(pool, tmp_path, command=["./trainctl", "stop"], resume=["./trainctl", "start"], on="engine")
    assert (await pretrain.look("legacy")).state == "unknown"
    await pretrain.quiesce("legacy")
    assert (await pretrain.look("legacy")).state == "quiesced"
    await pretrain.resume("legacy", {})
    assert (await pretrain.look("legacy")).state == "running"


async def test_a_side_has_its_own_way(pool: SshPool, trainctl: str, tmp_path: Path) -> None:
    own = {"command": [trainctl, "stop"], "on": "engine", "timeout": "20s"}
    pretrain = control(pool, tmp_path, legacy=own)
    assert "the engine's machine" in (await pretrain.quiesce("legacy")).text
    with pytest.raises(WorkloadError, match="does not say how it is stopped on target"):
        await pretrain.quiesce("target")
    with pytest.raises(WorkloadError, match="no command that starts it on legacy"):
        await pretrain.resume("legacy", {})


def test_without_quiesce_there_is_nothing_to_stop(tmp_path: Path, pool: SshPool) -> None:
    assert open_workload(workload(None), pool, base=tmp_path, children=Children()) is None


async def test_new_work_is_stopped_and_what_runs_awaited(pool: SshPool, trainctl: str, tmp_path: Path) -> None:
    pretrain = control(pool, tmp_path, command=[trainctl, "stop"], drain=[trainctl, "drain"], idle=[trainctl, "idle"])
    (tmp_path / "job").touch()
    stopped = await pretrain.stop_new_work("legacy")
    assert stopped.standing.is_idle is False
    assert (tmp_path / "closed").exists()
    (tmp_path / "job").unlink()
    drained = await pretrain.drain("legacy")
    assert drained.text == f"pretrain taking no new work on legacy (box) by `{trainctl} drain`; nothing of it runs any more"


async def test_what_is_not_idle_in_time_is_told_as_still_running(pool: SshPool, trainctl: str, tmp_path: Path) -> None:
    asked = {"drain": [trainctl, "drain"], "idle": [trainctl, "idle"], "timeout": "1s"}
    pretrain = control(pool, tmp_path, command=[trainctl, "stop"], **asked)
    (tmp_path / "job").touch()
    with pytest.raises(StillRunning, match="takes no new work, and is not idle after 1 s"):
        await pretrain.drain("legacy")


async def test_without_a_way_to_stop_new_work_nothing_is_stopped_instead(pool: SshPool, trainctl: str, tmp_path: Path) -> None:
    pretrain = control(pool, tmp_path, command=[trainctl, "stop"], status=[trainctl, "status"])
    with pytest.raises(NoWay, match="no command that stops new work on legacy"):
        await pretrain.stop_new_work("legacy")
    assert (await pretrain.look("legacy")).state == "running"


async def test_the_step_of_training_is_a_number_or_an_error(pool: SshPool, trainctl: str, tmp_path: Path) -> None:
    assert await control(pool, tmp_path, command=["true"], step=[trainctl, "step"]).step("legacy") == 1200
    assert await control(pool, tmp_path, command=["true"]).step("legacy") is None
    with pytest.raises(WorkloadError, match="not a step"):
        await control(pool, tmp_path, command=["true"], step=[trainctl, "status"]).step("legacy")
