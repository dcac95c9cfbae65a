"""Tensors of a checkpoint and where their bytes lie."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from backends.escape import plain
from backends.validation.checkpoint.kinds import KINDS, Kind
from backends.validation.errors import CheckpointRefused

Value = str | int | float | bool | None
MOST_TENSORS = 1_000_000
_LARGEST = 1 << 62  # bytes


@dataclass(frozen=True, slots=True)
class Tensor:
    """`start` and `size` are bytes of the file that hold it. `strides` (in elements) only where it does not lie row by row."""

    name: str
    kind: Kind
    shape: tuple[int, ...]
    file: str
    start: int
    size: int
    strides: tuple[int, ...] | None = None

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def is_dense(self) -> bool:
        """Do its bytes hold its elements and nothing else, in whatever order?"""
        return self.strides is None or is_dense(self.shape, self.strides)


@dataclass(slots=True)
class Table:
    """What a side holds: tensors and plain values by name, the files they lie in (with their sizes), and what to tell about it."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, tensor: Tensor) -> None:
        """Raises `CheckpointRefused` for a name that is there already."""
        if tensor.name in self.tensors:
            other = self.tensors[tensor.name].file
            raise CheckpointRefused(
                f"tensor {plain(tensor.name, 200)} is in {plain(other, 200)} as well", where=plain(tensor.file)
            )
        if len(self.tensors) >= MOST_TENSORS:
            raise CheckpointRefused(f"more than {MOST_TENSORS:,} tensors", where=plain(tensor.file))
        self.tensors[tensor.name] = tensor


def is_dense(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Without the axes that repeat one element (stride 0): is every element between the first and the last one of the tensor?"""
    expected = 1
    for stride, length in sorted((s, n) for n, s in zip(shape, strides, strict=True) if n != 1 and s != 0):
        if stride != expected:
            return False
        expected *= length
    return True


def covered(shape: tuple[int, ...], strides: tuple[int, ...]) -> int:
    """Elements from the first to the last one of it."""
    return 0 if 0 in shape else 1 + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))


def row_by_row(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a tensor that lies row by row."""
    out, step = [], 1
    for length in reversed(shape):
        out.append(step)
        step *= max(length, 1)
    return tuple(reversed(out))


def checked_name(name: str, where: str) -> str:
    """Raises `CheckpointRefused` for a name that reads as a way out of a folder."""
    if name.startswith(("/", "~")) or "\0" in name or ".." in name.replace("\\", "/").split("/"):
        raise CheckpointRefused(
            f"tensor name {plain(name, 200)!r} is a path", where=where, hint="such a file is not to be trusted"
        )
    return name


def checked_kind(name: object, where: str) -> Kind:
    kind = KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise CheckpointRefused(f"dtype {plain(str(name), 60)} is not known", where=where, hint="known: " + ", ".join(KINDS))
    return kind


def bytes_of(kind: Kind, shape: tuple[int, ...], where: str) -> int:
    """Bytes of a tensor. Raises `CheckpointRefused` where no file could hold them."""
    bits = kind.bits * math.prod(shape)
    told = f"shape {plain(str(list(shape)), 100)} of {kind.name}"
    if bits > 8 * _LARGEST:
        raise CheckpointRefused(f"{told} is more than any file holds", where=where)
    if bits % 8:
        raise CheckpointRefused(f"{told} is no whole number of bytes", where=where)
    return bits // 8
