"""One sandbox a module, as a process of its own, ended by its process id; its log is shown where it does not come up."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

Ready = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Running:
    """A sandbox that is up: what it said, and its folder."""

    ready: Ready
    root: Path
    pid: int

    def played(self) -> list[dict[str, Any]]:
        """What the scenario has played so far."""
        path = self.root / "scenario.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@contextlib.contextmanager
def sandbox(root: Path, scenario: str = "clean", seed: int = 0) -> Iterator[Running]:
    """`python -m backends.sandbox` while the block runs."""
    argv = [sys.executable, "-m", "backends.sandbox", "--dir", str(root), "--scenario", scenario, "--seed", str(seed)]
    argv += ["--with-parent", str(os.getpid())]  # a test that is cut off by its time limit leaves nothing running
    log = root.with_name(f"{root.name}.log")
    with log.open("wb") as err, subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=err) as process:
        try:
            assert process.stdout is not None
            readable, _, _ = select.select([process.stdout], [], [], 60)
            line = process.stdout.readline() if readable else b""
            assert line, f"the sandbox did not come up:\n{log.read_text()}"
            yield Running(json.loads(line), root, process.pid)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with sandbox(tmp_path_factory.mktemp("sandbox") / "two clouds") as running:
        yield running


def eventually(condition: Any, seconds: float = 40.0) -> None:
    """Wait until `condition()` is true. Blocking: for what another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)
