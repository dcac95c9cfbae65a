"""The second leg: what is on the hub, shown as the objects that they were on the source, and copied to the target like any other.

A compressed object is read by its frames: a range costs the frames that hold it. Damage shows in a frame's own checksum, and in the
checksums of the original, which are those that the copy is proven by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from backends.escape import plain
from backends.stores.base import Body, Capabilities, ObjectInfo, Store
from backends.stores.errors import ObjectMissing, SourceChanged
from backends.transfer.compress.errors import NotSeekable
from backends.transfer.compress.seekable import Table, frame_sizes, parse_tail, tail_size
from backends.transfer.compress.threads import Threads
from backends.transfer.hub.errors import HubObjectGone
from backends.transfer.hub.state import Arrived
from backends.transfer.index import Row
from backends.transfer.models import Proof
from backends.transfer.pace import Bandwidth
from backends.transfer.parts import part_size_of
from backends.transfer.passage import Passage


class HubSource:
    """A store of the objects that have arrived, by their own keys and identities. Read only."""

    capabilities = Capabilities()

    def __init__(self, hub: Store, threads: Threads, bandwidth: Bandwidth) -> None:
        self._hub = hub
        self._threads = threads
        self._bandwidth = bandwidth
        self.arrived: dict[str, Arrived] = {}
        self._tables: dict[str, Table] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._hub, name)  # name, url, notes: all that is not of single objects

    def offer(self, arrived: Arrived) -> ObjectInfo:
        """From now on this object may be read; as it was on the source, with the checksums that it had when it was read there."""
        key = arrived.source.key
        self.arrived[key] = arrived
        if arrived.table is not None:
            self._tables[key] = arrived.table
        sums = {"crc64nvme": arrived.sums.crc64nvme, "crc32c": f"{arrived.sums.crc32c:08x}"}
        return arrived.source._replace(checksums=sums)

    def withdraw(self, key: str) -> None:
        self.arrived.pop(key, None)
        self._tables.pop(key, None)

    @property
    def skipped(self) -> Sequence[Any]:
        return ()

    async def head(self, key: str) -> ObjectInfo | None:
        arrived = self.arrived.get(key)
        return None if arrived is None else self.offer(arrived)

    async def fetch(self, listed: ObjectInfo) -> tuple[ObjectInfo, Body]:
        return listed, await self.read(listed.key, if_match=listed.identity)

    async def read(
        self, key: str, *, start: int = 0, length: int | None = None, if_match: str | None = None, version: str | None = None
    ) -> Body:
        """A range of the original. Raises `HubObjectGone`, and `NotSeekable` for one that is damaged."""
        arrived = self.arrived.get(key)
        if arrived is None or (if_match is not None and if_match != arrived.source.identity):
            raise HubObjectGone(f"{plain(key, 300)} is not what is on the hub")
        size = arrived.source.size - start if length is None else length
        if size == 0:
            return b""
        if arrived.codec == "plain":
            return await self._read_hub(arrived, start, size)
        table = await self._table(arrived)
        span = table.span(start, size)
        encoded = memoryview(await self._read_hub(arrived, span.offset, span.size))

        def decode() -> bytes:
            out, at = [], 0
            for i in range(span.first, span.end):
                frame = encoded[at : at + table.encoded[i]]
                out.append(self._threads.decode_now(frame, table.original[i]))
                at += len(frame)
            return out[0] if len(out) == 1 else b"".join(out)

        data = await self._threads.run(decode)
        return data if len(data) == size else memoryview(data)[span.skip : span.skip + size]

    async def _table(self, arrived: Arrived) -> Table:
        key = arrived.source.key
        if key not in self._tables:
            sizes = frame_sizes(arrived.source.size, part_size_of(arrived.source.size))
            length = tail_size(len(sizes))
            tail = await self._read_hub(arrived, arrived.hub_size - length, length)
            table, sums = parse_tail(tail, arrived.hub_size)
            if sums != arrived.sums or list(table.original) != sizes:
                raise NotSeekable(f"{plain(arrived.name, 300)} is not what was sent to the hub")
            self._tables[key] = table
        return self._tables[key]

    async def _read_hub(self, arrived: Arrived, start: int, length: int) -> Body:
        await self._bandwidth.take(length)
        try:
            return await self._hub.read(arrived.name, start=start, length=length, if_match=arrived.hub_id)
        except (ObjectMissing, SourceChanged) as error:
            raise HubObjectGone(f"what had arrived on the hub is not there any more: {error.message}") from error


@dataclass(slots=True)
class SecondLeg(Passage):
    """From the hub to the target; what is recorded is the source's own."""

    arrived: dict[str, Arrived] = field(default_factory=dict)

    def row(self, source: ObjectInfo, target: ObjectInfo, sums_hex: str, proof: Proof, read_at: float) -> Row:
        arrived = self.arrived[source.key]
        return Passage.row(self, source, target, sums_hex, proof_of(proof, arrived), arrived.read_at)


def proof_of(proof: Proof, arrived: Arrived) -> Proof:
    """What the second leg's proof is worth: no more than that the target holds what we read, where the source keeps no checksum."""
    return "manifest" if proof in ("stored_checksums", "combined_parts") and not arrived.is_promised else proof
