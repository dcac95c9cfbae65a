"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def data_dir() -> Path | None:
    """The recordings that are not part of the project: `CUTOVER_DATA`, default `../shared/data`."""
    path = Path(os.environ.get("CUTOVER_DATA", str(ROOT.parent / "shared" / "data")))
    return path if path.is_dir() else None


@pytest.fixture
def recordings() -> Path:
    """The folder of recordings; skips the test by name where it is absent."""
    path = data_dir()
    if path is None:
        pytest.skip("recordings are absent: set CUTOVER_DATA")
    return path
