"""One sandbox a module, kept up by its own process; migrations of it in folders of the tests'."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.sandbox.conftest import Running, sandbox
from tests.e2e.cli import Cli


@pytest.fixture(scope="module")
def two_clouds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two small providers that are up."""
    with sandbox(tmp_path_factory.mktemp("e2e") / "sandbox") as running:
        yield running


@pytest.fixture(scope="module")
def plan(two_clouds: Running) -> str:
    """The path of the sandbox's plan."""
    return str(two_clouds.ready["plan"])


@pytest.fixture
def cli(tmp_path: Path) -> Iterator[Cli]:
    """The command with a home and a state folder of the test's own; no engine is left of it."""
    made = Cli(tmp_path, tmp_path / "state-of-test")
    yield made
    made.end_engine()
