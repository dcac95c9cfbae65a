"""All that one side holds: tensors by name over its files, plain values, and what is not compared."""

from __future__ import annotations

import asyncio
import json

from backends.escape import plain
from backends.validation.checkpoint import safetensors, torch_zip
from backends.validation.checkpoint.shards import ENDING, MOST_INDEX, read_index
from backends.validation.checkpoint.side import Side
from backends.validation.checkpoint.tensor import Table, Tensor, Value
from backends.validation.checkpoint.torch_table import Described, described
from backends.validation.errors import CheckpointRefused

_HEADERS = 8  # files whose headers are read at once
_STORAGES = 16  # storages of a file that are looked for at once
_TORCH = (".pt", ".pth", ".bin", ".ckpt")
_MOST_STATE = 64 << 20


async def read_table(side: Side, *, is_one: bool) -> Table:
    """Raises `CheckpointRefused` for a broken file (in a group, where it comes from one of several), and where there is no tensor."""
    table = Table(files=dict(side.files))
    names = sorted(side.files)
    if is_one and names[0].endswith(ENDING):
        raise CheckpointRefused("an index alone", where=side.where(names[0]), hint="give the folder that holds it and its shards")
    turns = asyncio.Semaphore(_HEADERS)

    async def one(name: str) -> tuple[list[Tensor], dict[str, Value], str | None]:
        async with turns:
            return await _file(side, name, is_one=is_one)

    async with asyncio.TaskGroup() as group:
        tasks = {name: group.create_task(one(name)) for name in names}
    for name in names:
        tensors, values, note = tasks[name].result()
        for tensor in tensors:
            table.add(tensor)
        table.values |= values
        if note is not None:
            table.notes.append(note)
    await _check_indexes(side, table)
    if not table.tensors:
        hint = "read are safetensors files, and zip files of torch.save"
        raise CheckpointRefused("no tensor in it", where=plain(side.url), hint=hint)
    return table


async def _file(side: Side, name: str, *, is_one: bool) -> tuple[list[Tensor], dict[str, Value], str | None]:
    """Tensors and values of a file, or why it is not compared."""
    size, where = side.files[name], side.where(name)
    bare = name.rpartition("/")[2]
    if bare == "trainer_state.json":
        return [], await _state(side, name), None
    if bare == "latest" or name.endswith(ENDING):
        return [], {}, None
    head = bytes(await side.read(name, 0, min(size, safetensors.PREFIX)))
    if head[:4] == torch_zip.MAGIC:
        tensors, values = await _torch(side, name, "" if is_one else f"{name}:")
        return tensors, values, None
    if name.endswith(".safetensors") or (is_one and not name.endswith((*_TORCH, ".pkl"))):
        length = safetensors.header_size(head, size, where)
        header = bytes(await side.read(name, safetensors.PREFIX, length))
        folder = name[: -len(bare)]
        return safetensors.read_header(header, name, size, where, prefix="" if is_one else folder), {}, None
    if is_one:
        hint = "torch files from before 1.6 are no zip files: load and save them anew"
        raise CheckpointRefused("a pickle, no zip file of torch.save", where=where, hint=hint)
    return [], {}, f"{where} is no zip file of torch.save: not compared"


async def _state(side: Side, name: str) -> dict[str, Value]:
    """The plain values on top of `trainer_state.json`."""
    if side.files[name] > _MOST_STATE:
        raise CheckpointRefused(f"{side.files[name]:,} bytes; {_MOST_STATE:,} are read", where=side.where(name))
    try:
        found = json.loads(bytes(await side.read(name, 0, side.files[name])))
    except (ValueError, RecursionError) as error:
        raise CheckpointRefused(f"no JSON: {plain(str(error), 100)}", where=side.where(name)) from error
    if not isinstance(found, dict):
        raise CheckpointRefused("no JSON object", where=side.where(name))
    return {f"{name}:{key}": value for key, value in found.items() if isinstance(value, str | int | float | bool | None)}


async def _torch(side: Side, name: str, prefix: str) -> tuple[list[Tensor], dict[str, Value]]:
    size, where = side.files[name], side.where(name)

    async def read(start: int, length: int) -> bytes:
        if start < 0 or start + length > size:
            raise CheckpointRefused("cut short", where=where)
        return bytes(await side.read(name, start, length))

    archive = await torch_zip.read_archive(read, size, where)
    found, values = await asyncio.to_thread(_described, archive.pickle, where)
    turns = asyncio.Semaphore(_STORAGES)

    async def locate(key: str) -> torch_zip.Storage:
        async with turns:
            return await torch_zip.locate(read, archive.member(key, where), size, where)

    async with asyncio.TaskGroup() as group:
        places = {key: group.create_task(locate(key)) for key in sorted({d.storage for _, d in found})}
    tensors = [d.placed(f"{prefix}{path}", name, places[d.storage].result(), where) for path, d in found]
    return tensors, {f"{prefix}{path}": value for path, value in values.items()}


def _described(pickle: bytes, where: str) -> tuple[list[tuple[str, Described]], dict[str, Value]]:
    from backends.validation.checkpoint.pickled import read_pickle

    tensors, values = described(read_pickle(pickle, where), where)
    return list(tensors), values


async def _check_indexes(side: Side, table: Table) -> None:
    """Every index against what the shards hold. Tensors of torch files stand below their file's name."""
    for name in sorted(n for n in side.files if n.endswith(ENDING)):
        where = side.where(name)
        if side.files[name] > MOST_INDEX:
            raise CheckpointRefused(f"{side.files[name]:,} bytes; {MOST_INDEX:,} are read", where=where)
        folder = name[: -len(name.rpartition("/")[2])]
        for tensor, file in read_index(bytes(await side.read(name, 0, side.files[name])), where).items():
            path = f"{folder}{file}"
            if path not in side.files:
                raise CheckpointRefused(f"shard {plain(file, 200)} is missing", where=where, hint="is the copy whole?")
            full = f"{folder}{tensor}" if file.endswith(".safetensors") else f"{path}:{tensor}"
            there = table.tensors.get(full)
            if there is None or there.file != path:
                raise CheckpointRefused(f"{plain(file, 200)} does not hold {plain(tensor, 200)}", where=where)
