"""What is known to be equal before it is read: by the checksums that stores keep, or by hashes made on the hosts themselves."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence

from backends.validation.checkpoint.pairs import Known, Pair, Part, pieces
from backends.validation.checkpoint.side import Range, Side

_ALGORITHMS = ("crc64nvme", "crc32c", "md5")
_FILES = 4  # pairs of files that are hashed at once


async def known_equal(legacy: Side, target: Side, pairs: Sequence[Pair]) -> Known:
    """The keys of the parts whose bytes are equal. Nothing where both sides lie here: reading is cheaper."""
    if not legacy.is_far and not target.is_far:
        return set()
    by_files: dict[tuple[str, str], list[Part]] = defaultdict(list)
    same = [p for p in pairs if p.is_raw and p.legacy.kind.name == p.target.kind.name]
    for piece in pieces(same):
        by_files[piece.files] += piece.parts
    turns = asyncio.Semaphore(_FILES)

    async def one(files: tuple[str, str], parts: list[Part]) -> list[Part]:
        async with turns:
            return parts if await _are_equal(legacy, target, files, parts) else await _equal_parts(legacy, target, files, parts)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(files, parts)) for files, parts in by_files.items()]
    return {part.key for task in tasks for part in task.result()}


async def _are_equal(legacy: Side, target: Side, files: tuple[str, str], parts: list[Part]) -> bool:
    """The whole files, by what stores keep. Only where the parts lie at the same places."""
    if legacy.files[files[0]] != target.files[files[1]] or any(part.at[0] != part.at[1] for part in parts):
        return False
    kept, other = await asyncio.gather(legacy.kept_sums(files[0]), target.kept_sums(files[1]))
    for algorithm in _ALGORITHMS:
        old, new = kept.get(algorithm), other.get(algorithm)
        if old is not None and new is None and not target.is_far:
            new = await target.whole_sum(files[1], algorithm)
        elif new is not None and old is None and not legacy.is_far:
            old = await legacy.whole_sum(files[0], algorithm)
        if old is not None and new is not None:
            return old == new
    return False


async def _equal_parts(legacy: Side, target: Side, files: tuple[str, str], parts: list[Part]) -> list[Part]:
    ranges: tuple[list[Range], list[Range]] = ([(p.at[0], p.size[0]) for p in parts], [(p.at[1], p.size[1]) for p in parts])
    both: tuple[list[str] | None, list[str] | None]
    far, near = (legacy, target) if legacy.is_far else (target, legacy)
    at = (0, 1) if legacy.is_far else (1, 0)
    if near.is_far:
        both = await asyncio.gather(far.hashes(files[at[0]], ranges[at[0]]), near.hashes(files[at[1]], ranges[at[1]]))
    else:  # not in vain, where the host makes no hashes
        there = await far.hashes(files[at[0]], ranges[at[0]])
        both = (there, await near.hashes(files[at[1]], ranges[at[1]]) if there is not None else None)
    first, second = both
    if first is None or second is None:
        return []
    return [part for part, one, other in zip(parts, first, second, strict=True) if one == other]
