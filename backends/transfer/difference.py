"""What of the source the target lacks: both listings, paired, held against the index; what differs goes on the work list."""

from __future__ import annotations

from dataclasses import dataclass

from backends.stores.base import ObjectInfo
from backends.transfer.deletes import adopt
from backends.transfer.index import LEGACY, SIZE, TARGET, Row, row_of
from backends.transfer.merge import Pair
from backends.transfer.passage import Passage
from backends.transfer.worklist import Action, WorkList


@dataclass(slots=True)
class Found:
    """What the comparison of both listings and the index came to."""

    objects: int = 0
    bytes: int = 0
    unchanged: int = 0
    unchanged_bytes: int = 0
    to_copy: int = 0
    to_copy_bytes: int = 0


class Difference:
    """Takes stretches of the merged listings, in order."""

    def __init__(self, passage: Passage, work: WorkList, *, dry_run: bool) -> None:
        self._passage = passage
        self._work = work
        self._dry_run = dry_run
        self.found = Found()

    async def take(self, pairs: list[Pair]) -> None:
        """Put a stretch on the work list, or count it as unchanged."""
        both = [(s, t) for s, t in pairs if s is not None]
        if not both:
            return
        p, found, todo, strange = self._passage, self.found, list[tuple[Action, ObjectInfo]](), list[ObjectInfo]()
        found.objects += len(both)
        found.bytes += sum([source.size for source, _ in both])
        rows = await p.index.known_between(p.dataset, both[0][0].key, both[-1][0].key)
        theirs, ours = (LEGACY, TARGET) if p.direction == "forward" else (TARGET, LEGACY)
        for source, target in both:
            values = rows.get(source.key.encode("utf-8", "surrogateescape").hex())
            if (
                target is not None
                and values is not None
                and source.size == target.size == values[SIZE]
                and (source.etag or source.identity) == values[theirs]
                and (target.etag or target.identity) == values[ours]
            ):  # nearly all of a later round: kept short
                found.unchanged += 1
                found.unchanged_bytes += source.size
                continue
            row = None if values is None else row_of(values)
            action = self._action(source, target, row)
            if action == "compare" and target is not None and (row is None or row.identity(p.target_side) != target.identity):
                strange.append(target)
            todo.append((action, source))
            if action != "compare":
                found.to_copy += 1
                found.to_copy_bytes += source.size
        if todo:
            await self._work.add(todo)
        if strange and not self._dry_run and p.direction == "forward":
            await adopt(p.index, p.dataset, strange)

    def _action(self, source: ObjectInfo, target: ObjectInfo | None, row: Row | None) -> Action:
        """Of an object that is not known to be the same on both sides."""
        p = self._passage
        if target is None:
            return "copy" if row is None else "lost"
        if target.size != source.size:
            return "copy"
        if row is None or row.size != source.size:
            return "compare"
        kept = row.identity(p.source_side)
        return "copy" if kept and kept != source.identity else "compare"
