"""A large object to the hub, in parts of whole frames: read, compressed and sent side by side, in bounded memory.

Frames hold as much of the original as a part of the second leg, so that each of its parts costs one frame. They are compressed a few at a
time, put together in their order until they make a part of that size, and sent while the next are compressed. The last part ends with
the table. The index notes a part, with the sizes of its frames and its sums, before it is sent: after a kill the parts that the hub lists
as the index knows them are not read or sent again, and what was in flight is made again from the same frames.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace

from backends.stores.base import Body, ObjectInfo, PartInfo
from backends.stores.errors import ShortBody, SourceChanged, StoreUnreachable, UploadGone
from backends.transfer.compress.seekable import Table, frame_sizes, tail
from backends.transfer.errors import Damaged
from backends.transfer.haul import check_source
from backends.transfer.hub.first import FirstLeg
from backends.transfer.hub.names import Codec
from backends.transfer.hub.state import Arrived, HubPart, HubUpload
from backends.transfer.index import Upload
from backends.transfer.merge import first_error
from backends.transfer.parts import end_upload, part_size_of
from backends.transfer.passage import now
from backends.transfer.sums import Sums, sums_of

FRAMES_AHEAD = 4  # read and compressed before they are put together
PARTS_IN_FLIGHT = 3  # of an object
PLAIN = 0  # the level of an upload that is not compressed


@dataclass(frozen=True, slots=True)
class _Frame:
    data: Body  # encoded
    original: Sums


@dataclass(slots=True)
class _Pending:
    """Frames that do not make a part yet."""

    frames: list[_Frame] = field(default_factory=list)
    size: int = 0

    def add(self, frame: _Frame) -> None:
        self.frames.append(frame)
        self.size += len(frame.data)


class LargeCopy:
    """Brings one object; may be begun again, after any end, by another one of these."""

    def __init__(self, leg: FirstLeg, source: ObjectInfo) -> None:
        self._leg = leg
        self._source = source
        self._frame_size = part_size_of(source.size)
        self._sizes = frame_sizes(source.size, self._frame_size)
        self._level = PLAIN
        self._upload = HubUpload(source.key, "", "", source.size, source.identity, PLAIN)
        self._noted: list[HubPart] = []
        self._parts: dict[int, PartInfo] = {}
        self._earlier: frozenset[int] = frozenset()  # numbers that an earlier attempt had begun
        self._first: tuple[Body, Sums] | None = None  # the first frame, where it was read to be tried
        self._room = asyncio.Semaphore(PARTS_IN_FLIGHT)

    async def run(self) -> Arrived:
        """Raises `SourceChanged`, `UploadGone` or `Damaged`, with nothing left open, when it has to begin anew."""
        read_at = now()
        await self._resume()
        try:
            await self._send_missing()
            original = sum((part.original for part in self._noted), Sums())
            check_source(original, self._source)
            encoded = sum((part.encoded for part in self._noted), Sums())
            held = await self._complete(encoded)
            held = await self._leg.prove(self._upload.name, held, encoded)
        except (SourceChanged, Damaged, UploadGone):
            await self._abandon()
            raise
        table = None
        if self._level != PLAIN:
            table = Table([size for part in self._noted for size in part.frames], self._sizes)
        promised = original.agrees(self._source.checksums) is True
        name = self._upload.name
        return Arrived(self._source, read_at, original, promised, self._codec, name, held.identity, held.size, table)

    @property
    def _codec(self) -> Codec:
        return "plain" if self._level == PLAIN else "zstd"

    # begin, or go on

    async def _resume(self) -> None:
        leg, p, source = self._leg, self._leg.passage, self._source
        found = await leg.state.upload(source.key)
        if found is not None:
            upload, noted = found
            if upload.upload and (upload.size, upload.source_id) == (source.size, source.identity):
                listed = await p.call(lambda: p.target.list_parts(upload.name, upload.upload))
                if listed is not None:
                    self._upload, self._level, self._noted = upload, upload.level, noted
                    self._earlier = frozenset(part.number for part in noted)
                    rows = {part.number: part for part in noted}
                    self._parts = {i.number: i for i in listed if i.number in rows and _has_arrived(rows[i.number], i)}
                    return
            self._earlier = frozenset(part.number for part in noted)
            await end_upload(p, as_upload(upload))
        await self._begin()

    async def _begin(self) -> None:
        """Read the first frame, decide by it, note the upload, begin it, note its id: a death in between leaves what to look for."""
        leg, p, source, tries = self._leg, self._leg.passage, self._source, 0
        async with p.streams:
            body = await p.read(p.source, source, 0, self._sizes[0])
        self._first = body, await sums_of(body)
        self._level = await leg.choice.level(source.key, source.size, body) or PLAIN
        name = leg.name(source.key, self._codec)
        noted = HubUpload(source.key, name, "", source.size, source.identity, self._level, now())
        await leg.state.note_upload(noted)

        async def create() -> str:
            nonlocal tries
            tries += 1
            return await p.target.create_upload(name, like=leg.like(name, self._codec, source, None))

        ident = await p.call(create)
        self._upload = replace(noted, upload=ident)
        await leg.state.note_upload(self._upload)
        if tries > 1:
            await end_upload(p, as_upload(noted), keep=ident)

    # frames and parts

    async def _send_missing(self) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                await self._send_again(group)
                await self._send_rest(group)
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors

    async def _send_again(self, group: asyncio.TaskGroup) -> None:
        """What was in flight when an earlier run ended: the same frames, and they must come to the same bytes."""
        begin = offset = 0
        for part in self._noted:
            end = begin + len(part.frames)
            if part.number not in self._parts:
                pending = _Pending()
                async for frame in self._frames(group, begin, end):
                    pending.add(frame)
                made, body = await self._put_together(part.number, pending, is_last=end == len(self._sizes))
                if made != replace(part, etag=""):
                    raise UploadGone("the source, or zstd, gives other bytes than when the upload was begun")
                await self._dispatch(group, made, body, offset)
            begin, offset = end, offset + part.encoded.size

    async def _send_rest(self, group: asyncio.TaskGroup) -> None:
        begin = sum(len(part.frames) for part in self._noted)
        offset = sum(part.encoded.size for part in self._noted)
        pending, index = _Pending(), begin
        async for frame in self._frames(group, begin, len(self._sizes)):
            pending.add(frame)
            index += 1
            is_last = index == len(self._sizes)
            # The last part may be small, and the table goes with it: there is one part at most for each frame.
            if is_last or pending.size >= self._frame_size:
                part, body = await self._put_together(len(self._noted) + 1, pending, is_last=is_last)
                pending = _Pending()
                self._noted.append(part)
                self._leg.state.note_part(self._source.key, part)
                await self._dispatch(group, part, body, offset)
                offset += part.encoded.size

    async def _frames(self, group: asyncio.TaskGroup, begin: int, end: int) -> AsyncIterator[_Frame]:
        """These frames in their order, a few under way."""
        window: deque[asyncio.Task[_Frame]] = deque()
        for index in range(begin, end):
            window.append(group.create_task(self._frame(index)))
            if len(window) == FRAMES_AHEAD:
                yield await window.popleft()
        while window:
            yield await window.popleft()

    async def _frame(self, index: int) -> _Frame:
        p = self._leg.passage
        first, self._first = (self._first, None) if index == 0 else (None, self._first)
        if first is not None:
            body, sums = first
        else:
            async with p.streams:
                body = await p.read(p.source, self._source, index * self._frame_size, self._sizes[index])
            sums = await sums_of(body)
        if sums.size != self._sizes[index]:
            raise Damaged(f"{sums.size} bytes were read of {self._sizes[index]}")
        if self._level == PLAIN:
            return _Frame(body, sums)
        return _Frame(await self._leg.threads.encode(body, self._level), sums)

    async def _put_together(self, number: int, pending: _Pending, *, is_last: bool) -> tuple[HubPart, Body]:
        """A part and its bytes; the last one with the table behind it."""
        sizes = tuple(len(frame.data) for frame in pending.frames)
        original = sum((frame.original for frame in pending.frames), Sums())
        pieces = [frame.data for frame in pending.frames]
        if is_last and self._level != PLAIN:
            before = [part for part in self._noted if part.number < number]
            encoded = [size for part in before for size in part.frames] + list(sizes)
            pieces.append(tail(encoded, self._sizes, sum((part.original for part in before), Sums()) + original))
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        return HubPart(number, sizes, original, await sums_of(body)), body

    async def _dispatch(self, group: asyncio.TaskGroup, part: HubPart, body: Body, offset: int) -> None:
        await self._room.acquire()
        group.create_task(self._send(part, body, offset))

    async def _send(self, part: HubPart, body: Body, offset: int) -> None:
        leg, p, up = self._leg, self._leg.passage, self._upload
        try:
            async with p.streams:
                await leg.bandwidth.take(len(body))
                with leg.link.sending(len(body)):
                    info = await p.call(
                        lambda: p.target.write_part(
                            up.name, up.upload, part.number, offset, body, crc64nvme=part.encoded.crc64nvme
                        )
                    )
        finally:
            self._room.release()
        leg.state.note_part(self._source.key, replace(part, etag=info.etag))
        leg.count(len(body), part.original.size - len(body))
        p.tally.resent += len(body) if part.number in self._earlier else 0
        self._parts[part.number] = info

    # the end

    async def _complete(self, whole: Sums) -> ObjectInfo:
        p, up = self._leg.passage, self._upload
        parts = [self._parts[number] for number in sorted(self._parts)]
        like = self._leg.like(up.name, self._codec, self._source, None)

        async def complete() -> ObjectInfo:
            try:
                return await p.target.complete_upload(
                    up.name, up.upload, parts, size=whole.size, crc64nvme=whole.crc64nvme, like=like
                )
            except (StoreUnreachable, ShortBody, UploadGone, TimeoutError):
                # The answer may have been lost after the hub had done it: the object itself tells.
                held = await p.target.head(up.name)
                if held is None or held.size != whole.size or whole.agrees(held.checksums) is not True:
                    raise
                return held

        return await p.call(complete)

    async def _abandon(self) -> None:
        await end_upload(self._leg.passage, as_upload(self._upload))
        await self._leg.state.drop_upload(self._source.key)


def as_upload(upload: HubUpload) -> Upload:
    """As the transfer's own calls know one."""
    return Upload(upload.name, upload.upload, upload.size, upload.source_id, 0, upload.begun_at)


def _has_arrived(part: HubPart, info: PartInfo) -> bool:
    if info.size != part.encoded.size:
        return False
    if info.checksum:
        return info.checksum == part.encoded.crc64nvme
    return bool(part.etag) and info.etag == part.etag
