"""The layers hold, in the sources and at run time."""

from __future__ import annotations

import importlib.util
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import backends
from tests.conftest import ROOT

SCREEN = ("textual", "console", "widgets", "themes")
HEAVY = ("textual", "asyncssh", "aioboto3", "botocore", "aiohttp", "pydantic", "hypothesis", "obstore")


def loaded_by(code: str) -> set[str]:
    """Top-level modules in a new interpreter after `code`."""
    script = f"{code}\nimport sys\nprint(*{{name.partition('.')[0] for name, module in sys.modules.items() if module}})"
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


def test_a_sync_of_trees_loads_nothing_of_the_network_of_screens_or_of_tls(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "key").write_text("body")
    stores = ", ".join(f'{name}: {{url: "file://{tmp_path}/{name}/"}}' for name in ("old", "new"))
    (tmp_path / "plan.yaml").write_text(
        "{version: 1, name: trees, legacy: {provider: a}, target: {provider: b}, "
        f"stores: {{{stores}}}, datasets: [{{name: data, from: old, to: new}}]}}"
    )
    argv = ["cutover", "sync", str(tmp_path / "plan.yaml"), "--state", str(tmp_path / "state")]
    run = f"import sys; sys.argv = {argv}; from console.main import exit_code; assert exit_code() == 0"
    loaded = loaded_by(f"{run}; assert 'backends.cutover.migration' not in sys.modules, 'there is no journal to be folded'")
    assert (tmp_path / "new" / "key").read_text() == "body"
    assert "pydantic" in loaded, "what a sync needs is counted"
    assert not loaded & {"asyncssh", "cryptography", "aioboto3", "botocore", "aiohttp", "obstore", "pyreqwest"}
    assert not loaded & {"textual", "rich", "_awscrt", "xml"}


def test_a_store_of_s3_is_opened_without_what_other_stores_need() -> None:
    loaded = loaded_by("import backends.stores.open_s3")
    assert not loaded & {"asyncssh", "cryptography", "aioboto3", "botocore", "aiohttp", "obstore", "_awscrt"}


@pytest.mark.skipif(not Path("/etc/ld.so.cache").exists(), reason="another loader")
def test_ssh_starts_no_program_to_find_libraries_when_it_is_imported() -> None:
    hook = "import sys; sys.addaudithook(lambda what, args: what in ('subprocess.Popen', 'os.posix_spawn', 'os.fork') and print('started', args))"
    before = "import ctypes.util; found = ctypes.util.find_library('nettle')"
    after = "import backends.ssh.pool; assert bool(found) == bool(ctypes.util.find_library('nettle')), 'it is found as well as before'"
    loaded = loaded_by(f"{before}; {hook}; {after}")
    assert "asyncssh" in loaded
    assert not {name for name in loaded if name.startswith("started")}


@pytest.mark.skipif(not Path("/etc/ld.so.cache").exists(), reason="another loader")
def test_a_library_that_cannot_be_loaded_is_none(tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"\0/lib/libnettle.so.99\0/lib/liboqs-not.so\0/lib/libc.so.6\0")
    run = f"import backends.ssh, ctypes.util, pathlib; backends.ssh._LOADER_CACHE = pathlib.Path('{tmp_path / 'cache'}')"
    loaded_by(f"{run}; assert [ctypes.util.find_library(n) for n in ('nettle', 'oqs', 'liboqs')] == [None] * 3")


def test_all_packages_are_found() -> None:
    for name in ("backends", "console", "widgets", "themes"):
        assert importlib.util.find_spec(name) is not None
