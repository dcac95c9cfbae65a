"""What the page on the sandbox must not forget."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.sandbox.gpus import GpuBox
from backends.sandbox.layout import HOSTS
from backends.sandbox.scenario import Do, load_scenario, scenario_names
from backends.sandbox.shell import Shell
from backends.sandbox.state import World

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "sandbox.md").read_text()


@pytest.mark.parametrize("name", scenario_names())
def test_every_scenario_stands_on_the_page_with_its_end(name: str) -> None:
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))
    assert row.endswith(f"| {load_scenario(name).expected} |")


def test_every_command_host_and_effect_stands_on_the_page(tmp_path: Path) -> None:
    shell = Shell("leg-a1", tmp_path, GpuBox(HOSTS[0], World(0)), None)
    for command in shell.commands():
        assert f"`{command}" in PAGE
    for spec in HOSTS:
        assert spec.name in PAGE
    for effect in Do.model_fields:
        assert effect in PAGE
