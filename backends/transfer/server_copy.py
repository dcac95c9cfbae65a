"""An object that the store copies itself, where both sides are in one: no byte comes here, and none is paid for as egress."""

from __future__ import annotations

from backends.escape import plain
from backends.stores.base import ObjectInfo
from backends.stores.errors import SourceChanged
from backends.transfer.errors import Damaged
from backends.transfer.models import Proof
from backends.transfer.passage import Passage, now
from backends.transfer.sums import common_checksum


async def copy_by_server(passage: Passage, listed: ObjectInfo) -> Proof | None:
    """The proof; None where the target does not copy from this source. Proven by the checksums that both sides keep, else by
    reading both. Raises `SourceChanged`, and `Damaged` when the copy is not the source."""
    p, read_at = passage, now()
    async with p.streams:
        target = await p.call(lambda: p.target.copy_from(p.source, listed))
        if target is None:
            return None
        source = await p.head(p.source, listed)
    if source is None or source.identity != listed.identity:
        raise SourceChanged(f"{plain(listed.key)} has changed since it was listed")
    proof: Proof
    if common := common_checksum(source.checksums, target.checksums):
        algorithm, left, right = common
        if left != right:
            raise Damaged("the target holds other bytes than the source")
        proof, crc64nvme = "stored_checksums", left if algorithm == "crc64nvme" else ""
    else:
        held, copied = await p.read_sums(p.source, source), await p.read_sums(p.target, target)
        if held != copied:
            raise Damaged("the target holds other bytes than the source")
        proof, crc64nvme = "re_read", held.crc64nvme
    p.record(p.row(source, target, crc64nvme, proof, read_at))
    p.advance(source.key, source.size, source.size)
    return proof
