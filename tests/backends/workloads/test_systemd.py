"""Workloads that are units of a real systemd, over a real sshd."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from backends.ssh.pool import SshPool
from backends.workloads.base import NoWay, WorkloadControl, WorkloadError
from backends.workloads.systemd import UnitState, parse_show
from tests.backends.workloads.conftest import control
from tests.peers.openssh import openssh
from tests.peers.systemd import UserSystemd, user_systemd

WRITER = "[Service]\nExecStart=/bin/sleep 1000\n"
STUBBORN = "[Service]\nExecStart=/bin/sh -c 'trap : TERM; while :; do sleep 0.1; done'\nTimeoutStopSec=1\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def manager(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[UserSystemd]:
    async with user_systemd(tmp_path_factory.mktemp("systemd")) as running:
        running.add("writer.service", WRITER)
        running.add("stubborn.service", STUBBORN)
        running.add("broken.service", "[Service]\nExecStart=/bin/false\nType=oneshot\n")
        running.add("woken.service", WRITER)
        running.add("woken.timer", "[Timer]\nOnActiveSec=1h\n")
        (running.units / "masked.service").symlink_to("/dev/null")
        yield running


@pytest.fixture
async def pool(manager: UserSystemd, tmp_path: Path) -> AsyncIterator[SshPool]:
    async with openssh(tmp_path / "sshd", env=manager.env) as server, SshPool(server.settings, [server.host()]) as opened:
        yield opened


def unit(pool: SshPool, base: Path, name: str, **more: object) -> WorkloadControl:
    return control(pool, base, systemd={"unit": name, "user": True}, **more)


async def test_a_unit_is_started_asked_and_stopped(manager: UserSystemd, pool: SshPool, tmp_path: Path) -> None:
    writer = unit(pool, tmp_path, "writer.service")
    started = await writer.resume("legacy", {})
    assert started.text == "pretrain started on legacy: writer.service on box: active, running"
    assert await manager.ctl("is-active", "writer.service") == (0, "active")
    assert (await writer.look("legacy")).is_idle is False
    stopped = await writer.quiesce("legacy")
    assert stopped.text == "pretrain stopped on legacy: writer.service on box: inactive, dead"
    assert stopped.standing.state == "quiesced"
    assert await manager.ctl("is-active", "writer.service") == (3, "inactive")
    await writer.quiesce("legacy")


async def test_a_unit_that_had_to_be_killed_is_stopped_and_its_end_is_told(pool: SshPool, tmp_path: Path) -> None:
    stubborn = unit(pool, tmp_path, "stubborn.service")
    await stubborn.resume("legacy", {})
    stopped = await stubborn.quiesce("legacy")
    assert stopped.standing.state == "quiesced"
    assert "failed, failed, timeout" in stopped.text


async def test_a_stop_that_takes_longer_than_its_limit_is_an_error(pool: SshPool, tmp_path: Path) -> None:
    stubborn = unit(pool, tmp_path, "stubborn.service", timeout="200ms")
    await unit(pool, tmp_path, "stubborn.service").resume("legacy", {})
    with pytest.raises(WorkloadError, match=r"took longer than 0\.2 s"):
        await stubborn.quiesce("legacy")


async def test_a_unit_that_does_not_start_is_told_with_where_to_look(pool: SshPool, tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="not started: on box `systemctl start` ended with 1") as raised:
        await unit(pool, tmp_path, "broken.service").resume("legacy", {})
    assert "journalctl -u broken.service" in raised.value.hint


async def test_a_unit_that_is_not_there_is_no_stopped_one(pool: SshPool, tmp_path: Path) -> None:
    absent = unit(pool, tmp_path, "absent.service")
    seen = await absent.look("legacy")
    assert (seen.state, seen.is_idle) == ("unknown", None)
    assert seen.detail == "absent.service on box: not-found"
    with pytest.raises(WorkloadError, match="not loaded") as raised:
        await absent.quiesce("legacy")
    assert "there is no unit absent.service" in raised.value.hint


async def test_a_masked_unit_is_named_with_its_cure(pool: SshPool, tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="is masked") as raised:
        await unit(pool, tmp_path, "masked.service").resume("legacy", {})
    assert "systemctl unmask masked.service" in raised.value.hint


async def test_what_can_start_a_stopped_unit_again_is_told(manager: UserSystemd, pool: SshPool, tmp_path: Path) -> None:
    await manager.ctl("start", "woken.timer", "woken.service")
    stopped = await unit(pool, tmp_path, "woken.service").quiesce("legacy")
    assert stopped.text.endswith("; woken.timer can start it again")


async def test_new_work_of_a_unit_cannot_be_stopped_alone(pool: SshPool, tmp_path: Path) -> None:
    with pytest.raises(NoWay, match="a unit cannot be told to take nothing new"):
        await unit(pool, tmp_path, "writer.service").drain("legacy")


async def test_no_manager_is_unknown_and_no_stopped_unit(pool: SshPool, tmp_path: Path) -> None:
    system = control(pool, tmp_path, systemd="writer.service")
    seen = await system.look("legacy")
    assert seen.state == "unknown"
    with pytest.raises(WorkloadError):
        await system.quiesce("legacy")


@pytest.mark.parametrize(
    "words",
    ["Failed to stop a.service: Interactive authentication required.", "Failed to stop a.service: Access denied"],
)
async def test_rights_that_are_missing_are_named_with_their_cure(words: str, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    fake = tmp_path / "bin" / "systemctl"  # only the refusal: a manager with polkit cannot be had here
    fake.write_text(f"#!/bin/sh\necho '{words}' >&2\nexit 1\n")
    fake.chmod(0o755)
    path = f"{tmp_path}/bin:/usr/bin:/bin"
    async with openssh(tmp_path / "sshd", env={"PATH": path}) as server, SshPool(server.settings, [server.host()]) as pool:
        with pytest.raises(WorkloadError) as raised:
            await control(pool, tmp_path, systemd="a.service").quiesce("legacy")
    assert "polkit rule for a.service" in raised.value.hint


def test_an_answer_is_read_whatever_its_order() -> None:
    text = "Result=exit-code\nTriggeredBy=a.socket a.timer\nLoadState=loaded\nActiveState=failed\nSubState=failed\n"
    assert parse_show(text) == UnitState("loaded", "failed", "failed", "exit-code", ("a.socket", "a.timer"))


@given(st.text() | st.lists(st.sampled_from(["LoadState=loaded", "ActiveState=active", "SubState=x", "Result="])).map("\n".join))
def test_an_odd_answer_is_refused_and_never_a_state_of_its_own_making(text: str) -> None:
    try:
        parsed = parse_show(text)
    except ValueError:
        return
    assert f"LoadState={parsed.load}" in text.splitlines()
    assert f"ActiveState={parsed.active}" in text.splitlines()
