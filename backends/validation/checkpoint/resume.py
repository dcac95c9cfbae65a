"""Whether training can go on from a checkpoint: optimizer state, step, random numbers, and the place in the data.

Told by names, as PyTorch, Hugging Face's Trainer and Accelerate, DeepSpeed and Megatron write them. A tensor called so is there; whether
the framework will take it is for the framework to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from backends.validation.checkpoint.tensor import Table, Value

PARTS = ("optimizer", "step", "rng", "data")
WORDS = {"optimizer": "optimizer state", "step": "step", "rng": "random number state", "data": "place in the data"}
_OPTIMIZER = re.compile(r"optim|exp_avg|momentum|\bzero_pp_rank", re.IGNORECASE)
_STEP = re.compile(
    r"(?:^|[.:/])(?:global_?steps?|steps?|iterations?|iter|last_iter|trained_steps|epochs?|last_epoch|latest)$", re.IGNORECASE
)
_RNG = re.compile(r"(?:^|[.:/_])(?:rng|random_states?|rng_states?\w*)(?:$|[.:/_\d])", re.IGNORECASE)
_DATA = re.compile(
    r"sampler|data_?loader|dl_state|data_?(?:position|state|iter)|consumed_\w*(?:samples|tokens)|(?:samples|tokens)_seen"
    r"|trainer_state\.json:global_step$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Resume:
    """One part on either side: the name it was found by, None where it is not there."""

    part: str
    legacy: str | None
    target: str | None
    values: tuple[Value, Value] = (None, None)  # of the step


def resume_parts(legacy: Table, target: Table) -> tuple[Resume, ...]:
    """The four parts on both sides."""
    out = []
    for part in PARTS:
        old, new = find(part, legacy), find(part, target)
        values = (legacy.values.get(old or ""), target.values.get(new or "")) if part == "step" else (None, None)
        out.append(Resume(part, old, new, values))
    return tuple(out)


def find(part: str, table: Table) -> str | None:
    """The shortest name that tells of it."""
    if part == "optimizer":
        return _shortest(n for n in (*table.tensors, *table.files) if _OPTIMIZER.search(n))
    if part == "step":
        found = [n for n in (*table.values, *table.tensors, *table.files) if _STEP.search(n) and not _OPTIMIZER.search(n)]
        return _shortest(n for n in found if "epoch" not in n.lower()) or _shortest(found)
    pattern = _RNG if part == "rng" else _DATA
    return _shortest(n for n in (*table.values, *table.tensors, *table.files) if pattern.search(n))


def _shortest(names: Iterable[str]) -> str | None:
    return min(names, key=lambda name: (len(name), name), default=None)
