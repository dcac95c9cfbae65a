"""The layers hold, in the sources and at run time."""

from __future__ import annotations

import importlib.util
import pkgutil
import subprocess
import sys

import pytest

import backends
from tests.conftest import ROOT

SCREEN = ("textual", "console", "widgets", "themes")
HEAVY = ("textual", "asyncssh", "aioboto3", "botocore", "aiohttp", "pydantic", "hypothesis", "obstore")


def loaded_by(code: str) -> set[str]:
    """Top-level modules in a new interpreter after `code`."""
    script = f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def modules_of_backends() -> list[str]:
    """Every module below `backends` that can be imported without doing anything."""
    walk = pkgutil.walk_packages(backends.__path__, "backends.")
    return sorted(m.name for m in walk if not m.name.endswith("__main__"))


def test_every_contract_of_the_layers_is_kept() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"],
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_no_module_of_backends_loads_a_screen() -> None:
    modules = modules_of_backends()
    assert "backends.plan.load" in modules
    loaded = loaded_by("\n".join(f"import {name}" for name in modules))
    assert not loaded & set(SCREEN)


@pytest.mark.parametrize("code", ["import console.main", "from console.main import cli; cli.list_commands(None)"])
def test_the_command_line_loads_nothing_heavy_before_it_knows_the_command(code: str) -> None:
    assert not loaded_by(code) & set(HEAVY)


def test_checking_a_plan_loads_no_screen_and_no_network() -> None:
    loaded = loaded_by("import console.commands.check, backends.plan.load")
    assert not loaded & {"textual", "asyncssh", "aiohttp", "botocore"}


def test_a_rollback_loads_no_engine_before_one_has_to_be_started() -> None:
    loaded = loaded_by("import console.commands.rollback, console.engine")
    assert not loaded & {"asyncssh", "uvloop", "botocore", "textual"}


def test_all_packages_are_found() -> None:
    for name in ("backends", "console", "widgets", "themes"):
        assert importlib.util.find_spec(name) is not None
