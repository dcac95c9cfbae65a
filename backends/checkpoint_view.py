"""Two checkpoints held against each other, as the journal keeps it and the console shows it: bounded, the largest differences first."""

from __future__ import annotations

import math
from datetime import datetime

from pydantic import Field

from backends.dataset_view import Model
from backends.verdict import Verdict

MOST_TENSORS = 40
_TEXT = 400  # signs of a sentence, a place
_NAME = 200


class TensorView(Model):
    """One tensor that differs. `words`: why nothing could be computed, or what is odd in it. A figure that is None was not computed."""

    name: str = Field(max_length=_NAME)
    form: str = Field(default="", max_length=100)  # dtype and shape
    words: str = Field(default="", max_length=100)
    relative: float | None = None  # length of the difference over legacy's
    max_abs: float | None = None
    cosine: float | None = None
    ulp: float | None = None


class CheckpointView(Model):
    """`worst`: of the `apart` tensors that differ, of `tensors`, those that differ most; `allowed` in words."""

    workload: str = Field(default="", max_length=_NAME)
    legacy: str = Field(max_length=_TEXT)
    target: str = Field(max_length=_TEXT)
    at: datetime | None = None  # when they were compared
    verdict: Verdict
    reason: str = Field(default="", max_length=2000)
    allowed: str = Field(default="", max_length=_TEXT)
    tensors: int = Field(default=0, ge=0)
    apart: int = Field(default=0, ge=0)
    worst: tuple[TensorView, ...] = Field(default=(), max_length=MOST_TENSORS)


def share_of(relative: float | None, is_odd: bool = False) -> float:
    """Where a difference stands between 1e-8 (0) and 1 (1), on a logarithmic scale; what cannot be told stands at 1."""
    if is_odd or relative is None or relative >= 1:
        return 1.0
    return max(0.0, 1 + math.log10(relative) / 8) if relative > 0 else 0.0
