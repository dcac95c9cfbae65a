"""`cutover up --install-unit`: the unit's text, what could not be done is told, and a real `systemd --user` that starts the engine by it."""

from __future__ import annotations

import asyncio
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.engine.client import answers
from backends.engine.unit import (
    _quoted,
    environment_file,
    install_unit,
    start_unit,
    uninstall_unit,
    unit_name,
    unit_path,
    unit_text,
    variables_of,
)
from tests.conftest import ROOT
from tests.peers.systemd import UserSystemd, user_systemd

PLAN = "version: 1\nname: small\nsimulation: true\nlegacy: {provider: a}\ntarget: {provider: b}\n"


def test_the_unit_starts_the_engine_of_its_folder_again_and_after_a_reboot() -> None:
    text = unit_text("chat-2026", Path("/state/chat"), Path("/plans/chat.yaml"))
    start = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    assert shlex.split(start.removeprefix("ExecStart=")) == [
        sys.executable, "-m", "backends.engine", "--state", "/state/chat", "--first-plan", "/plans/chat.yaml",
    ]  # fmt: skip
    for line in ("Restart=on-failure", "StartLimitIntervalSec=0", "WantedBy=default.target", "UMask=0077"):
        assert line in text.splitlines()
    assert "EnvironmentFile=-/state/chat/unit.env" in text.splitlines()


@given(st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1, max_size=30))
def test_no_path_gets_out_of_its_word(word: str) -> None:
    quoted = _quoted(word)
    assert "\n" not in quoted
    assert not quoted.replace("%%", "").count("%")
    assert not quoted.replace("$$", "").count("$")
    inner = quoted[1:-1].replace("\\\\", "")
    assert inner.count('"') == inner.count('\\"')


def test_the_variables_that_a_plan_reads_are_named() -> None:
    assert variables_of('access_key: "${env:K}"\nsecret_key: "${env:S}"\nx: "${env:K}"\ny: "${file:z}"') == ("K", "S")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path


def programs(folder: Path, monkeypatch: pytest.MonkeyPatch, **status: int) -> Path:
    """`systemctl` and `loginctl` that note what they were asked and end as told."""
    (folder / "bin").mkdir()
    for name, ended in status.items():
        script = folder / "bin" / name
        script.write_text(f'#!/bin/sh\necho "{name} $*" >> {folder}/asked\necho "Access denied" >&2\nexit {ended}\n')
        script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}/bin:/usr/bin:/bin")
    return folder / "asked"


def test_installing_writes_enables_and_lets_linger(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = programs(config, monkeypatch, systemctl=0, loginctl=0)
    assert all(d.ok for d in install_unit("small", config / "state", config / "plan.yaml"))
    assert unit_path("small").read_text() == unit_text("small", config / "state", config / "plan.yaml")
    assert asked.read_text().splitlines() == [
        "systemctl --user daemon-reload",
        "systemctl --user enable cutover-small.service",
        "loginctl enable-linger",
    ]


def test_what_could_not_be_done_is_told_and_the_rest_is_done(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs(config, monkeypatch, systemctl=0, loginctl=1)
    done = install_unit("small", config / "state", config / "plan.yaml")
    assert [d.ok for d in done] == [True, True, True, False]
    assert "linger" in done[-1].text
    assert "Access denied" in done[-1].text


def test_without_systemd_it_says_so(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(config / "nothing"))
    assert not start_unit("small").ok
    assert "systemctl" in start_unit("small").detail


def test_taking_it_away_leaves_nothing_and_stops_nothing(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = programs(config, monkeypatch, systemctl=0, loginctl=0)
    install_unit("small", config / "state", config / "plan.yaml")
    assert all(d.ok for d in uninstall_unit("small"))
    assert not unit_path("small").exists()
    assert "stop" not in asked.read_text()
    assert [d.ok for d in uninstall_unit("small")] == [True, False, True]


async def test_a_real_manager_starts_the_engine_by_its_unit_and_again_when_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with user_systemd(tmp_path / "manager") as manager:
        for name, value in (manager.env | {"XDG_CONFIG_HOME": str(tmp_path / "manager" / "config")}).items():
            monkeypatch.setenv(name, value)
        plan, state = tmp_path / "50% plan $x.yaml", tmp_path / "state"
        plan.write_text(PLAN)
        state.mkdir(mode=0o700)
        environment_file(state).write_text(f"PYTHONPATH={ROOT}\n")
        done = await asyncio.to_thread(install_unit, "small", state, plan)
        assert [d.ok for d in done[:3]] == [True, True, True], done
        assert (await asyncio.to_thread(start_unit, "small")).ok
        await _answering(state)
        assert (await manager.ctl("is-enabled", unit_name("small")))[1] == "enabled"
        plan.unlink()  # once there is a journal the plan is the journal's
        assert (await manager.ctl("kill", "--signal=KILL", unit_name("small")))[0] == 0
        await _restarted(manager, state)
        assert all(d.ok for d in await asyncio.to_thread(uninstall_unit, "small"))
        assert (await manager.ctl("stop", unit_name("small")))[0] == 0


async def _answering(state: Path) -> None:
    async with asyncio.timeout(40):
        while not await answers(state):  # noqa: ASYNC110 - a process of its own
            await asyncio.sleep(0.1)


async def _restarted(manager: UserSystemd, state: Path) -> None:
    asked = ("show", "--property=NRestarts", "--value", unit_name("small"))
    async with asyncio.timeout(40):
        while (await manager.ctl(*asked))[1] in ("0", ""):  # noqa: ASYNC110 - the manager tells nobody
            await asyncio.sleep(0.1)
    await _answering(state)


def test_systemd_itself_reads_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / unit_name("small")
    unit.write_text(unit_text("small", tmp_path / "state", tmp_path / "plan.yaml"))
    try:
        done = subprocess.run(
            ["systemd-analyze", "--user", "verify", str(unit)], capture_output=True, text=True, timeout=30, check=False
        )
    except FileNotFoundError:
        pytest.skip("server missing: systemd")
    assert not [line for line in done.stderr.splitlines() if unit.name in line], done.stderr
