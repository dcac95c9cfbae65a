from __future__ import annotations

import os
from pathlib import Path

import pytest

from backends.plan.load import check_plan
from backends.plan.problems import Problem
from tests.backends.plan.plans import changed


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    tmp_path.chmod(0o755)
    path = tmp_path / "plan.yaml"
    path.write_text(changed('[set-weight, chat, "{weight}"]', '[./set-weight, "{weight}"]'))
    return path


def told(plan: Path) -> list[Problem]:
    return [p for p in check_plan(plan).problems if p.code.startswith("script")]


def script(plan: Path, mode: int) -> Path:
    path = plan.parent / "set-weight"
    path.write_text("#!/bin/sh\n")
    path.chmod(mode)
    return path


def test_a_script_that_only_its_owner_can_change_is_good(plan: Path) -> None:
    script(plan, 0o755)
    assert told(plan) == []


@pytest.mark.parametrize("mode", [0o757, 0o777])
def test_a_script_that_others_may_write_is_refused(plan: Path, mode: int) -> None:
    script(plan, mode)
    [problem] = told(plan)
    assert (problem.severity, problem.code, problem.field) == ("error", "script_writable", "routes[0].command.set[0]")


def test_a_script_in_a_folder_that_others_may_write_is_refused(plan: Path) -> None:
    script(plan, 0o755)
    plan.parent.chmod(0o777)
    assert [p.code for p in told(plan)] == ["script_writable"]


def test_a_script_that_is_not_there_or_not_executable_is_a_warning(plan: Path) -> None:
    assert [(p.severity, p.code) for p in told(plan)] == [("warning", "script_missing")]
    script(plan, 0o644)
    assert [(p.severity, p.code) for p in told(plan)] == [("warning", "script_mode")]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_script_of_another_user_is_refused(plan: Path) -> None:
    os.chown(script(plan, 0o755), 12345, 12345)
    assert [p.code for p in told(plan)] == ["script_writable"]


def test_a_program_on_the_hosts_is_not_looked_for_here(plan: Path) -> None:
    plan.write_text(changed("[trainctl, stop]", "[/opt/bin/stop-training]"))
    assert told(plan) == []
