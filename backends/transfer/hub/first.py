"""The first leg: an object from its source to the hub, compressed where that pays, and proven there.

Proven means: the hub keeps a checksum of what it holds and it is that of what was sent, else it is read again. What had arrived in an
earlier run, of the same source object and still there, is not sent again.
"""

from __future__ import annotations

from dataclasses import dataclass

from backends.escape import plain
from backends.stores.base import Body, ObjectInfo
from backends.stores.errors import ObjectMissing
from backends.transfer.compress.choice import Choice, LinkRate
from backends.transfer.compress.seekable import Table, frame_sizes, tail
from backends.transfer.compress.threads import Threads
from backends.transfer.copier import WHOLE_UP_TO
from backends.transfer.errors import Damaged
from backends.transfer.haul import check_source
from backends.transfer.hub.names import Codec, name_of
from backends.transfer.hub.state import Arrived, HubState
from backends.transfer.pace import Bandwidth
from backends.transfer.parts import part_size_of
from backends.transfer.passage import Passage, kept_identity, now
from backends.transfer.sums import Sums, sums_of

_TYPES: dict[Codec, str] = {"plain": "application/octet-stream", "zstd": "application/zstd"}


@dataclass(frozen=True, slots=True)
class FirstLeg:
    """What the copies to the hub share. `passage` goes from source to hub; its own bandwidth has no limit: what counts against
    `bandwidth` is what is sent."""

    passage: Passage
    root: str  # below the hub's prefix
    state: HubState
    choice: Choice
    threads: Threads
    bandwidth: Bandwidth
    link: LinkRate

    def name(self, key: str, codec: Codec) -> str:
        return self.root + name_of(key, codec, blind=self.passage.target.capabilities.case_blind)

    async def known(self, listed: ObjectInfo) -> Arrived | None:
        """What had arrived of exactly this object and is there still."""
        arrived = await self.state.arrived(listed.key)
        if arrived is None:
            return None
        if kept_identity(arrived.source, arrived.read_at) == listed.identity and arrived.source.size == listed.size:
            hub = self.passage.target
            held = await self.passage.call(lambda: hub.head(arrived.name))
            if held is not None and (held.identity, held.size) == (arrived.hub_id, arrived.hub_size):
                return arrived
        self.state.forget(listed.key)
        return None

    async def whole(self, listed: ObjectInfo) -> Arrived:
        """Bring an object that is held in memory."""
        p = self.passage
        async with p.streams:
            read_at = now()
            source, body = await p.fetch(p.source, listed)
            sums = await sums_of(body)
            check_source(sums, source, body)
            if sums.size != source.size:
                raise Damaged(f"{sums.size} bytes were read of {source.size}")
            level = await self.choice.level(source.key, source.size, body)
            sent, sent_sums, table = body, sums, None
            if level is not None:
                sent, table = await self.threads.run(lambda: _encode(self.threads, body, level, sums))
                sent_sums = await sums_of(sent)
            codec: Codec = "plain" if table is None else "zstd"
            name = self.name(source.key, codec)
            like = self.like(name, codec, source, sums)
            await self.bandwidth.take(len(sent))
            with self.link.sending(len(sent)):
                held = await p.call(lambda: p.target.write(name, sent, crc64nvme=sent_sums.crc64nvme, like=like))
            self.count(len(sent), len(body) - len(sent))
        held = await self.prove(name, held, sent_sums, sent)
        promised = sums.agrees(source.checksums, body) is True
        return Arrived(source, read_at, sums, promised, codec, name, held.identity, held.size, table)

    def like(self, name: str, codec: Codec, source: ObjectInfo, sums: Sums | None) -> ObjectInfo:
        """What the hub is told of an object. Without `sums` (they are not known before its end) what the source promises."""
        said = {"cutovercodec": codec, "cutoversize": str(source.size)}  # names that every store takes
        crc64 = sums.crc64nvme if sums else source.checksums.get("crc64nvme")
        crc32c = f"{sums.crc32c:08x}" if sums else source.checksums.get("crc32c")
        said |= {f"cutover{n}": v for n, v in (("crc64nvme", crc64), ("crc32c", crc32c)) if v}
        return ObjectInfo(name, source.size, content_type=_TYPES[codec], metadata=said)

    async def prove(self, name: str, held: ObjectInfo, sent: Sums, body: Body | None = None) -> ObjectInfo:
        """The object as the hub has it. Raises `Damaged` when it is not what was sent."""
        p = self.passage
        if p.target.capabilities.stored_checksum and sent.agrees(held.checksums, body) is None:
            found = await p.call(lambda: p.target.head(name))
            if found is None:
                raise ObjectMissing(f"{plain(name, 300)} has gone from the hub")
            held = found
        agrees = sent.agrees(held.checksums, body)
        if agrees is None:
            agrees = held.size == sent.size and await p.read_sums(p.target, held._replace(key=name)) == sent
        if not agrees or held.size != sent.size:
            raise Damaged("the hub holds other bytes than were sent")
        return held

    def count(self, sent: int, saved: int) -> None:
        self.passage.progress.hub_bytes += sent
        self.passage.progress.saved_bytes += saved


def is_whole(size: int) -> bool:
    """Held in memory, not sent in parts."""
    return size <= WHOLE_UP_TO


def _encode(threads: Threads, body: Body, level: int, sums: Sums) -> tuple[bytes, Table]:
    """The whole file of an object, in the calling thread."""
    view, frame_size = memoryview(body), part_size_of(sums.size)
    sizes = frame_sizes(sums.size, frame_size)
    frames = [threads.encode_now(view[i * frame_size : i * frame_size + size], level) for i, size in enumerate(sizes)]
    table = Table([len(frame) for frame in frames], sizes)
    return b"".join((*frames, tail(table.encoded, sizes, sums))), table
