"""What ends with a login: read from a system's files, asked of a loginctl of the test's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.children import Children
from backends.engine import login
from backends.engine.login import LoginFacts, judge_login, login_facts, of_login, without_login


def test_agents_tickets_and_session_keys_are_gone_and_all_else_stays() -> None:
    there = {
        "PATH": "/bin",
        "HOME": "/root",
        "SSH_AUTH_SOCK": "/tmp/agent",
        "KRB5CCNAME": "FILE:/tmp/krb5cc_0",
        "AWS_ACCESS_KEY_ID": "ASIA",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_SESSION_TOKEN": "t",
        "AWS_PROFILE": "migration",
        "TGT_KEY": "k",
    }
    assert without_login(there) == {"PATH": "/bin", "HOME": "/root", "AWS_PROFILE": "migration", "TGT_KEY": "k"}
    assert set(of_login(there)) >= {"SSH_AUTH_SOCK", "KRB5CCNAME", "AWS_SESSION_TOKEN"}


def test_keys_without_a_session_token_have_no_end_and_stay() -> None:
    there = {"AWS_ACCESS_KEY_ID": "AKIA", "AWS_SECRET_ACCESS_KEY": "x"}
    assert without_login(there) == there
    assert of_login(there) == ()


def system(root: Path, *, group: str, lingers: bool = False, managed: bool = True) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(f"0::{group}\n")
    (root / "var/lib/systemd/linger").mkdir(parents=True)
    if managed:
        (root / "run/systemd/system").mkdir(parents=True)
    if lingers:
        (root / "var/lib/systemd/linger" / login._user()).touch()
    return root


@pytest.mark.parametrize(
    ("group", "lingers", "managed", "good"),
    [
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/cutover-x.service", True, True, True),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/cutover-x.service", False, True, False),
        ("/system.slice/cutover.service", False, True, True),
        ("/user.slice/user-1000.slice/session-3.scope", False, False, True),
    ],
)
async def test_it_is_told_whether_the_engine_outlives_the_login(
    tmp_path: Path, group: str, lingers: bool, managed: bool, good: bool
) -> None:
    facts = await login_facts(Children(), system(tmp_path, group=group, lingers=lingers, managed=managed))
    said, evidence, cure = judge_login(facts)
    assert said is good, evidence
    assert bool(cure) is not good


@pytest.mark.parametrize(("answer", "good"), [("KillUserProcesses=yes", False), ("KillUserProcesses=no", True), ("", None)])
async def test_the_login_manager_itself_says_whether_it_kills(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, good: bool | None
) -> None:
    script = tmp_path / "bin" / "loginctl"
    script.parent.mkdir()
    script.write_text(f'#!/bin/sh\necho "{answer}"\n')
    script.chmod(0o700)
    monkeypatch.setattr("backends.engine.login.os.getuid", lambda: 1000)
    root = system(tmp_path / "root", group="/user.slice/user-1000.slice/session-3.scope")
    facts = await login_facts(Children(env={"PATH": f"{script.parent}:/bin:/usr/bin"}), root)
    said, evidence, cure = judge_login(facts)
    assert said is good, evidence
    if good is False:
        assert evidence.startswith("ends with your login")
        assert cure == "cutover up --install-unit"


def test_what_cannot_be_told_is_not_taken_for_good() -> None:
    assert judge_login(LoginFacts(True, "session", False, None, "ops"))[0] is None
