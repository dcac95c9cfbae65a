"""One object from source to target, proven: compared where it may be there already, else copied whole or in parts.

A source that changes under the read is begun again from HEAD, damage found by a checksum is copied again and told, passing errors
are tried again by `Patience`. What remains is this object's own failure.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from backends.errors import CouldNot
from backends.escape import plain
from backends.stores.base import ObjectInfo
from backends.stores.errors import ChecksumRefused, KeyRefused, ObjectMissing, SourceChanged, UploadGone
from backends.transfer.errors import Damaged, KeepsChanging
from backends.transfer.models import Proof
from backends.transfer.parts import PartCopy
from backends.transfer.passage import Passage, now
from backends.transfer.server_copy import copy_by_server
from backends.transfer.sums import Sums, common_checksum
from backends.transfer.worklist import Work

WHOLE_UP_TO = 16 << 20
_TRIES = 3


class Outcome(NamedTuple):
    """What became of one object. `repaired` has a reason for each time it was damaged on the way and copied again."""

    kind: Literal["copied", "equal", "vanished"]
    proof: Proof | None = None
    repaired: tuple[str, ...] = ()


class Copier:
    """Carries out work, one object a call; many calls at once share the passage's streams."""

    def __init__(self, passage: Passage) -> None:
        self._passage = passage
        self._by_server = passage.target.capabilities.server_copy

    async def carry_out(self, work: Work, *, begun: bool, strict: bool = False) -> Outcome:
        """Raises the object's own failure. `begun`: an earlier attempt had sent some of it. `strict`: exactly the object that was
        listed, or `KeepsChanging`."""
        if work.action == "compare":
            outcome = await self._compare(work.source, begun=begun)
            if outcome is not None:
                return outcome
            self._passage.progress.to_copy_objects += 1
            self._passage.progress.to_copy_bytes += work.source.size
        if work.action == "lost":
            await self._look_for(work.source)
        return await self._copy(work.source, begun=begun, strict=strict)

    async def _look_for(self, source: ObjectInfo) -> None:
        """Some servers take a key for another (SeaweedFS `a//b` for `a/b`): copied for ever, and never there.

        Raises `KeyRefused` when the target gives this object by its key, though its listing does not have it.
        """
        p = self._passage
        held = await p.call(lambda: p.target.head(source.key))
        if held is not None:
            raise KeyRefused(f"{p.target.name} lists it under another name", hint="this server cannot hold this key")

    async def _copy(self, listed: ObjectInfo, *, begun: bool, strict: bool) -> Outcome:
        p, repaired, changed = self._passage, list[str](), 0
        source: ObjectInfo | None = listed
        while source is not None:
            try:
                return Outcome("copied", await self._send(source, begun=begun), tuple(repaired))
            except (SourceChanged, ObjectMissing, UploadGone):
                changed += 1
                if changed >= _TRIES:
                    raise KeepsChanging(
                        f"{plain(source.key)} changed under each of {changed} reads", hint="it is copied by a later round"
                    ) from None
            except (Damaged, ChecksumRefused) as error:
                repaired.append(error.message)
                if len(repaired) >= _TRIES:
                    raise
            source = await p.call(lambda: p.source.head(listed.key))
            if strict and (source is None or source.identity != listed.identity):
                raise KeepsChanging(f"{plain(listed.key)} changed since it was listed", hint="it is copied by a later round")
        return Outcome("vanished")

    async def _send(self, source: ObjectInfo, *, begun: bool) -> Proof:
        p = self._passage
        if self._by_server:
            proof = await copy_by_server(p, source)
            if proof is not None:
                return proof
            self._by_server = False
        if source.size <= WHOLE_UP_TO or not p.target.capabilities.parts:
            return await self._whole(source, begun=begun)
        told = await p.head(p.source, source)
        if told is None:
            raise ObjectMissing(f"{plain(source.key)} has gone since it was listed")
        return await PartCopy(p, told).run()

    async def _whole(self, listed: ObjectInfo, *, begun: bool) -> Proof:
        p = self._passage

        def sends(sums: Sums) -> None:
            p.index.begin(p.dataset, p.target_side, listed.key)
            p.tally.sent += sums.size
            p.tally.resent += sums.size if begun else 0

        async with p.streams:
            read_at = now()
            done = await p.haul_whole(listed, sends)
        p.record(p.row(done.source, done.target, done.sums.crc64nvme, done.proof, read_at))
        p.advance(listed.key, done.source.size, done.source.size)
        return done.proof

    async def _compare(self, listed: ObjectInfo, *, begun: bool) -> Outcome | None:
        """The outcome when both sides are equal or the source is gone; None when it is to be copied."""
        p, read_at = self._passage, now()
        source = await p.head(p.source, listed)
        if source is None:
            return Outcome("vanished")
        target = await p.call(lambda: p.target.head(listed.key))
        if target is None or target.size != source.size:
            return None
        proof: Proof = "stored_checksums"
        if (common := common_checksum(source.checksums, target.checksums)) is None:
            source, target = await p.joined(p.source, source), await p.joined(p.target, target)
            common, proof = common_checksum(source.checksums, target.checksums), "combined_parts"
        if common is not None:
            algorithm, left, right = common
            if left != right:
                return None
            p.record(p.row(source, target, left if algorithm == "crc64nvme" else "", proof, read_at))
            return Outcome("equal", proof)
        try:
            left_sums = await p.read_sums(p.source, source)
            right_sums = await p.read_sums(p.target, target)
        except (SourceChanged, ObjectMissing):
            return None
        p.tally.resent += source.size if begun else 0
        if left_sums != right_sums:
            return None
        p.record(p.row(source, target, left_sums.crc64nvme, "re_read", read_at))
        return Outcome("equal", "re_read")


def reason_of(error: CouldNot) -> str:
    """A failure's reason as it is kept and shown."""
    return plain(error.message)
