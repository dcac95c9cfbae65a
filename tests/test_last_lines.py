"""What a run says at its end of tests that could not run, and when that is a failure."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

TESTS = """
import pytest
def test_server(): pytest.skip("server missing: openssh-server")
@pytest.mark.skip(reason="server missing: seaweedfs")
def test_marked(): pass
def test_recorded(recordings): pass
def test_other(): pytest.skip("another day")
def test_good(): pass
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    shutil.copy(ROOT / "tests" / "conftest.py", tmp_path / "tests")
    (tmp_path / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '-q'\n")
    (tmp_path / "tests" / "test_some.py").write_text(TESTS)
    return tmp_path


def run(project: Path, *argv: str, **more: str) -> tuple[int, list[str]]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST") and k != "CI"}
    env = kept | {"CUTOVER_DATA": "/nonexistent", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"} | more
    command = [sys.executable, "-m", "pytest", *argv]
    done = subprocess.run(command, cwd=project, env=env, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout.splitlines()


def test_each_test_without_its_server_is_named_at_the_end(project: Path) -> None:
    code, lines = run(project)
    assert code == 0
    assert "2 tests without their server: skipped" in lines[-5]
    assert lines[-4:-1] == [
        "SKIPPED tests/test_some.py::test_server: server missing: openssh-server",
        "SKIPPED tests/test_some.py::test_marked: server missing: seaweedfs",
        "SKIPPED tests/test_some.py::test_recorded: recordings are absent: set CUTOVER_DATA",
    ]
    assert "1 passed, 4 skipped" in lines[-1]


def test_in_ci_a_missing_server_fails_the_run(project: Path) -> None:
    code, lines = run(project, CI="true")
    assert code == 1
    assert any("2 tests without their server: a failure" in line for line in lines)


def test_in_ci_missing_recordings_are_a_plain_skip(project: Path) -> None:
    code, lines = run(project, "tests/test_some.py::test_recorded", CI="true")
    assert code == 0
    assert lines[-2].startswith("SKIPPED tests/test_some.py::test_recorded")
