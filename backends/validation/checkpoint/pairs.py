"""Tensors of both sides by name, and the pieces that are read of them.

A piece is one range of a file on each side. Small neighbours that lie in the same order on both sides share a piece, so that ten
thousand biases over a network are not twenty thousand requests. What does not lie row by row is read whole and put in order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass

import numpy as np

from backends.escape import plain
from backends.validation.checkpoint.kinds import Kind
from backends.validation.checkpoint.side import Bytes
from backends.validation.checkpoint.tensor import Table, Tensor
from backends.validation.errors import CheckpointRefused

PIECE = 4 << 20  # bytes of one side
MOST_TURNED = 64 << 20  # bytes of a tensor that is put in order in memory
Known = Set[tuple[str, tuple[int, int]]]
_GAP = 4096  # bytes between neighbours that are read along with them


@dataclass(frozen=True, slots=True)
class Pair:
    """The same tensor on both sides, with one shape."""

    legacy: Tensor
    target: Tensor

    @property
    def kinds(self) -> tuple[Kind, Kind]:
        return self.legacy.kind, self.target.kind

    @property
    def is_raw(self) -> bool:
        """Do the elements come in one order from both files, so that pieces can be cut anywhere?"""
        same = self.legacy.strides == self.target.strides
        return same and self.legacy.is_dense and self.target.is_dense


@dataclass(frozen=True, slots=True)
class Part:
    """What a piece holds of a pair: where it begins in either side's bytes, and how many."""

    pair: Pair
    at: tuple[int, int]
    size: tuple[int, int]

    @property
    def key(self) -> tuple[str, tuple[int, int]]:
        return self.pair.legacy.name, self.at


@dataclass(frozen=True, slots=True)
class Piece:
    files: tuple[str, str]
    start: tuple[int, int]
    size: tuple[int, int]
    parts: tuple[Part, ...]


def matched(legacy: Table, target: Table) -> tuple[list[Pair], list[tuple[Tensor, Tensor | None, str]]]:
    """Pairs that can be compared, and what cannot: (tensor, the other one, why)."""
    pairs: list[Pair] = []
    others: list[tuple[Tensor, Tensor | None, str]] = []
    for name, old in legacy.tensors.items():
        new = target.tensors.get(name)
        if new is None:
            others.append((old, None, "target"))
        elif old.shape != new.shape:
            others.append((old, new, "shape"))
        elif not _have_values(old.kind, new.kind):
            others.append((old, new, "dtype"))
        else:
            pairs.append(_checked(Pair(old, new)))
    others += [(new, None, "legacy") for name, new in target.tensors.items() if name not in legacy.tensors]
    return pairs, others


def _have_values(old: Kind, new: Kind) -> bool:
    """Can their elements be held against each other, one by one?"""
    return old.name == new.name or ("opaque" not in (old.form, new.form) and old.numbers == new.numbers)


def _checked(pair: Pair) -> Pair:
    if not pair.is_raw and max(pair.legacy.size, pair.target.size) > MOST_TURNED:
        name = plain(pair.legacy.name, 200)
        hint = "save it contiguous"
        raise CheckpointRefused(f"{name} is a view of {pair.legacy.size:,} bytes that do not lie row by row", hint=hint)
    return pair


def pieces(pairs: Iterable[Pair], known: Known = frozenset()) -> Iterator[Piece]:
    """All that is to be read, in the order of legacy's files, without the parts that are known."""
    held: list[Part] = []
    for pair in sorted(pairs, key=lambda p: (p.legacy.file, p.legacy.start)):
        for part in parts_of(pair):
            if part.key in known:
                continue
            if held and not _fits(held, part):
                yield _piece(held)
                held = []
            held.append(part)
    if held:
        yield _piece(held)


def parts_of(pair: Pair) -> Iterator[Part]:
    """The pair cut into parts that a piece can hold."""
    old, new = pair.legacy, pair.target
    if not old.size and not new.size:
        return
    if not pair.is_raw:
        yield Part(pair, (old.start, new.start), (old.size, new.size))
        return
    widths = (old.kind.bits, new.kind.bits)
    step = PIECE * 8 // max(widths)  # elements
    if old.kind.form == "opaque":
        step = PIECE * 8 // (old.kind.bits * 4) * 4  # whole bytes
    whole = old.size * 8 // old.kind.bits
    for first in range(0, whole, step):
        count = min(step, whole - first)
        at = (old.start + first * widths[0] // 8, new.start + first * widths[1] // 8)
        yield Part(pair, at, (count * widths[0] // 8, count * widths[1] // 8))


def _fits(held: list[Part], part: Part) -> bool:
    """May it share the piece: just behind on both sides, and not too large together?"""
    first, last = held[0], held[-1]
    if (first.pair.legacy.file, first.pair.target.file) != (part.pair.legacy.file, part.pair.target.file):
        return False
    for side in (0, 1):
        if not 0 <= part.at[side] - (last.at[side] + last.size[side]) <= _GAP:
            return False
        if part.at[side] + part.size[side] - first.at[side] > PIECE:
            return False
    return True


def _piece(parts: list[Part]) -> Piece:
    first, last = parts[0], parts[-1]
    old, new = (last.at[side] + last.size[side] - first.at[side] for side in (0, 1))
    return Piece((first.pair.legacy.file, first.pair.target.file), first.at, (old, new), tuple(parts))


def in_order(tensor: Tensor, data: Bytes) -> memoryview:
    """The elements of a tensor, row by row, from the bytes that hold it."""
    view = memoryview(data)
    if tensor.strides is None:
        return view
    width = tensor.kind.bits // 8
    whole = np.frombuffer(view, dtype=f"V{width}")
    steps = tuple(stride * width for stride in tensor.strides)
    turned = np.lib.stride_tricks.as_strided(whole, shape=tensor.shape, strides=steps, writeable=False)
    return memoryview(np.ascontiguousarray(turned).reshape(-1).view("u1").data)
