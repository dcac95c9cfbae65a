"""The index of a checkpoint in shards (`model.safetensors.index.json`): which file holds which tensor."""

from __future__ import annotations

import json

from backends.escape import plain
from backends.validation.checkpoint.tensor import checked_name
from backends.validation.errors import CheckpointRefused

MOST_INDEX = 64 << 20  # bytes
ENDING = ".index.json"


def read_index(data: bytes, where: str) -> dict[str, str]:
    """File by tensor. A file is a bare name in the index's own folder: anything else is refused."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointRefused(f"no JSON: {plain(str(error), 100)}", where=where) from error
    mapped = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(mapped, dict) or not mapped:
        raise CheckpointRefused("no `weight_map` of tensors and files", where=where)
    for name, file in mapped.items():
        checked_name(name, where)
        if not isinstance(file, str) or not file or any(c in file for c in "/\\\0") or file.startswith("."):
            message = f"shard {plain(str(file), 200)!r} of {plain(name, 100)} is not a file of this folder"
            raise CheckpointRefused(message, where=where, hint="an index names its shards without folders")
    return mapped
