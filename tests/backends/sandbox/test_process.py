"""The sandbox as a child, as the demo starts it, and the `cutover sandbox` command."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from backends.sandbox.errors import SandboxError
from backends.sandbox.process import start_sandbox

CUTOVER = [sys.executable, "-c", "from console.main import main; main()"]


async def test_it_is_up_when_started_and_gone_when_stopped(tmp_path: Path) -> None:
    started = await start_sandbox(tmp_path / "dir", "clean", 4)
    assert started.plan_path.is_file()
    family = [psutil.Process(started.pid), *psutil.Process(started.pid).children(recursive=True)]
    await started.stop()
    await started.stop()
    assert [p for p in family if p.is_running()] == []


async def test_what_kept_it_from_coming_up_is_told(tmp_path: Path) -> None:
    (tmp_path / "foreign").write_text("")
    with pytest.raises(SandboxError, match="ended before it was up") as caught:
        await start_sandbox(tmp_path, "clean", 0)
    assert "foreign" in caught.value.hint


def test_the_command_prints_one_json_line_and_ends_on_an_interrupt_with_130(tmp_path: Path) -> None:
    argv = [*CUTOVER, "sandbox", "--dir", str(tmp_path / "dir")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        children = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert ready["ready"] is True
    assert (process.returncode, out) == (130, b"")
    assert len(children) == 2
    assert [c for c in children if c.is_running()] == []


def test_a_part_that_fails_ends_all_of_it_with_four_and_says_why(tmp_path: Path) -> None:
    argv = [*CUTOVER, "sandbox", "--dir", str(tmp_path / "dir")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["ready"]
        children = psutil.Process(process.pid).children(recursive=True)
        shutil.rmtree(tmp_path / "dir" / "hosts" / "leg-a2" / "train")
        _, err = process.communicate(timeout=40)
    assert process.returncode == 4
    assert "metrics.jsonl" in err.splitlines()[-2]
    assert [c for c in children if c.is_running()] == []


@pytest.mark.parametrize(("more", "code"), [(["--scenario", "doom"], "unknown_scenario"), ([], "folder_not_ours")])
def test_a_wrong_command_line_is_refused_with_two_and_the_contracts_error(tmp_path: Path, more: list[str], code: str) -> None:
    (tmp_path / "foreign").write_text("")
    argv = [*CUTOVER, "sandbox", "--dir", str(tmp_path), "--json", *more]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == code
