"""The header of a safetensors file (github.com/huggingface/safetensors, "Format"): eight bytes of length, JSON, then the data.

What the format forbids is refused: offsets that overlap, leave holes or pass the end, names given twice. Nothing is allocated by
what a header says before it was held against the file's own size.
"""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from typing import Any

from backends.escape import plain
from backends.validation.checkpoint.tensor import Tensor, bytes_of, checked_kind, checked_name
from backends.validation.errors import CheckpointRefused

PREFIX = 8
MOST_HEADER = 32 << 20  # bytes; the library's own bound is 100 MB, real ones have some hundreds of KiB
_MOST_AXES = 64


def header_size(prefix: bytes, file_size: int, where: str) -> int:
    """Bytes of JSON, from the file's first eight bytes."""
    if len(prefix) < PREFIX or file_size < PREFIX:
        raise CheckpointRefused("too short to be a safetensors file", where=where)
    size = int.from_bytes(prefix[:PREFIX], "little")
    if size > file_size - PREFIX:
        raise CheckpointRefused(f"the header says it has {size:,} bytes, the file has {file_size:,}", where=where)
    if size > MOST_HEADER:
        raise CheckpointRefused(f"a header of {size:,} bytes; {MOST_HEADER:,} are read", where=where)
    return size


def read_header(header: bytes, file: str, file_size: int, where: str, *, prefix: str = "") -> list[Tensor]:
    """The tensors in the order of their bytes; `prefix` is put before each name."""
    data_at = PREFIX + len(header)
    tensors = []
    for name, entry in _entries(header, where).items():
        if name == "__metadata__":
            continue
        tensors.append(_tensor(checked_name(name, where), entry, file, data_at, where, prefix))
    tensors.sort(key=lambda t: (t.start, t.size))
    _check_places(tensors, data_at, file_size, where)
    return tensors


def _entries(header: bytes, where: str) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
            raise CheckpointRefused(f"the header names {plain(twice, 200)!r} twice", where=where)
        return found

    try:
        entries = json.loads(header.decode(), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise CheckpointRefused(f"the header is no JSON: {plain(str(error), 100)}", where=where) from error
    if not isinstance(entries, dict):
        raise CheckpointRefused("the header is no JSON object", where=where)
    return entries


def _tensor(name: str, entry: Any, file: str, data_at: int, where: str, prefix: str) -> Tensor:
    place = f"{where}: {plain(name, 200)}"
    if not isinstance(entry, dict):
        raise CheckpointRefused("no object with dtype, shape and data_offsets", where=place)
    shape: Any = entry.get("shape")
    offsets: Any = entry.get("data_offsets")
    if not _are_whole(shape) or len(shape) > _MOST_AXES:
        raise CheckpointRefused(f"shape {plain(str(shape), 100)} is no list of whole numbers", where=place)
    if not _are_whole(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        raise CheckpointRefused(f"data_offsets {plain(str(offsets), 100)} are no begin and end", where=place)
    kind = checked_kind(entry.get("dtype"), place)
    size = bytes_of(kind, tuple(shape), place)
    if size != offsets[1] - offsets[0]:
        raise CheckpointRefused(f"{kind.name} {shape} has {size:,} bytes, its offsets {offsets[1] - offsets[0]:,}", where=place)
    return Tensor(prefix + name, kind, tuple(shape), file, data_at + offsets[0], size)


def _are_whole(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 1 << 63 for n in value)


def _check_places(tensors: list[Tensor], data_at: int, file_size: int, where: str) -> None:
    end = data_at
    for tensor in tensors:
        if tensor.start + tensor.size > file_size:
            over = tensor.start + tensor.size - file_size
            raise CheckpointRefused(
                f"ends {over:,} bytes after the file: cut short?", where=f"{where}: {plain(tensor.name, 200)}"
            )
    for before, after in pairwise(tensors):
        if before.start + before.size > after.start:
            names = f"{plain(before.name, 100)} and {plain(after.name, 100)}"
            raise CheckpointRefused(f"the bytes of {names} overlap", where=where)
    for tensor in tensors:
        if tensor.start != end:
            raise CheckpointRefused(
                f"{tensor.start - end:,} bytes before {plain(tensor.name, 100)} belong to no tensor", where=where
            )
        end = tensor.start + tensor.size
    if end != file_size:
        raise CheckpointRefused(f"{file_size - end:,} bytes at the end belong to no tensor", where=where)
