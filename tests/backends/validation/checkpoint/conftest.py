"""Checkpoints as the `safetensors` library writes them, and comparing two of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from backends.validation.checkpoint.compare import Report, compare_checkpoints
from backends.validation.checkpoint.difference import Tolerance
from backends.validation.checkpoint.side import LocalSide
from tests.conftest import ROOT

TORCH = ROOT / "tests" / "fixtures" / "torch"


def saved(path: Path, tensors: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(value) for name, value in tensors.items()}, path)
    return path


async def compared(legacy: Path, target: Path, tolerance: Tolerance | None = None, **more: Any) -> Report:
    async with LocalSide(legacy) as old, LocalSide(target) as new:
        return await compare_checkpoints(old, new, tolerance or Tolerance(), **more)


@pytest.fixture
def weights() -> dict[str, Any]:
    rng = np.random.default_rng(3)
    return {
        "a.weight": rng.standard_normal((32, 16)).astype(np.float32),
        "b.bias": rng.standard_normal(64).astype(np.float16),
        "c.table": rng.integers(-(2**40), 2**40, (8, 8)),
    }
