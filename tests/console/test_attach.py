"""`cutover attach` where there is nothing to attach to, and where no screen can be drawn."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from console.commands.attach import command

LOOKS_FOR = ("aiohttp", "asyncssh", "uvloop", "pyreqwest", "obstore", "aioboto3", "ruamel")


def test_a_migration_that_does_not_exist_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["--state", str(tmp_path / "none")])
    assert result.exit_code == 4
    assert f"{tmp_path}/none: there is no such migration" in result.stderr


def test_without_a_terminal_status_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    result = CliRunner().invoke(command, ["--state", str(tmp_path)])
    assert result.exit_code == 4
    assert "no screen can be drawn here" in result.stderr
    assert "cutover status" in result.stderr


def test_an_unknown_theme_is_a_usage_error(tmp_path: Path) -> None:
    result = CliRunner().invoke(command, ["--state", str(tmp_path), "--theme", "pink"])
    assert result.exit_code == 2


def test_the_console_imports_no_engine_library_before_its_first_frame() -> None:
    code = (
        "import sys; import console.app, console.attach, console.screens.overview; "
        f"print([m for m in {LOOKS_FOR!r} if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50)
    assert out.stdout.strip() == "[]"


def test_a_key_waits_for_no_frame_but_its_own() -> None:
    """Textual draws at set instants, and skips one where the last frame was late: of sixty a second a key waited for up to 33 ms."""
    code = (
        "import sys; from pathlib import Path; from console import attach; attach.check_can_draw = lambda environ, *, is_tty: None; "
        "assert 'textual' not in sys.modules; code = attach.run_console(Path('/nowhere/none'), farewell=False); "
        "import textual.screen; print(code, textual.screen.UPDATE_PERIOD)"
    )
    env = os.environ | {"TEXTUAL_DRIVER": "textual.drivers.headless_driver:HeadlessDriver", "TEXTUAL_PRESS": "q"}
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=50, env=env, stdin=subprocess.DEVNULL
    )
    code_of, period = out.stdout.split()[-2:]
    assert int(code_of) == 0
    assert float(period) <= 0.002
