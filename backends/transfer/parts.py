"""One large object in parts, several in flight; what an earlier attempt left on the target is not sent again.

The index notes an upload before it is begun and each part's checksums before it is sent. After a kill, a part counts as arrived
only when the store lists it with the size, and the checksum or ETag, that the index knows.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial

from backends.stores.base import ObjectInfo, PartInfo
from backends.stores.errors import ObjectMissing, ShortBody, SourceChanged, StoreUnreachable, UploadGone
from backends.transfer.errors import Damaged
from backends.transfer.haul import check_source, prove
from backends.transfer.index import PartRow, Upload
from backends.transfer.merge import first_error
from backends.transfer.models import Proof
from backends.transfer.pace import Lane, Streams
from backends.transfer.passage import Passage, now
from backends.transfer.sums import Sums

LEAST_PART = 8 << 20
MOST_PARTS = 10_000
STREAMS_AN_OBJECT = 4  # where no pace says more
_MEBIBYTE = 1 << 20
_MEMORY = 256 * _MEBIBYTE  # that the parts of one object take


def part_size_of(size: int) -> int:
    """8 MiB, and whole MiB more where there would be more than 10,000 parts."""
    least = -(-size // MOST_PARTS)
    return max(LEAST_PART, -(-least // _MEBIBYTE) * _MEBIBYTE)


class PartCopy:
    """Copies one object; `run` may be called again after it failed."""

    def __init__(self, passage: Passage, source: ObjectInfo) -> None:
        self._passage = passage
        self._source = source
        self._upload = Upload(source.key, "", source.size, source.identity, part_size_of(source.size))
        self._sums: dict[int, Sums] = {}
        self._parts: dict[int, PartInfo] = {}
        self._earlier: set[int] = set()  # numbers whose sending an earlier attempt had begun
        pace = passage.pace
        self._pours = passage.source.capabilities.pours and passage.target.capabilities.part_files
        self._streams = (pace.pours if self._pours else pace.parts) if pace else Streams(STREAMS_AN_OBJECT)
        turns = (pace.files if self._pours else pace.large) if pace else Streams(1)
        self._turn = turns.lane(passage.dataset)

    async def run(self) -> Proof:
        """Raises `SourceChanged` or `Damaged`, with nothing left open, when it has to begin anew."""
        async with self._turn:
            return await self._run()

    async def _run(self) -> Proof:
        read_at = now()
        await self._resume()
        try:
            await self._send_missing()
            whole = sum((self._sums[n] for n in sorted(self._sums)), Sums())
            source = self._source if self._source.checksums else await self._passage.joined(self._passage.source, self._source)
            check_source(whole, source)
            target = await self._complete(whole)
            proof = prove(whole, source, target, in_parts=True)
            if proof == "stored_checksums" and not self._source.checksums:
                proof = "combined_parts"
        except (SourceChanged, ObjectMissing, Damaged, UploadGone):
            await self._abandon()
            raise
        p = self._passage
        p.record(p.row(self._source, target, whole.crc64nvme, proof, read_at))
        p.index.settle(p.dataset, p.target_side, self._source.key)
        return proof

    async def _resume(self) -> None:
        p, source = self._passage, self._source
        found = await p.index.upload(p.dataset, p.target_side, source.key)
        if found is not None:
            upload, rows = found
            self._earlier = set(rows)
            if upload.upload and _is_same(upload, self._upload):
                arrived = await p.call(lambda: p.target.list_parts(source.key, upload.upload))
                if arrived is not None:
                    self._upload = upload
                    self._take_over(rows, arrived)
                    return
            await end_upload(p, upload)
        await self._begin()

    async def _begin(self) -> None:
        """Note it, begin it, note its id. A death or a lost answer in between leaves a note that tells what to look for."""
        p, source, tries = self._passage, self._source, 0
        noted = replace(self._upload, upload="", begun_at=now())
        await p.index.note_upload(p.dataset, p.target_side, noted)

        async def create() -> str:
            nonlocal tries
            tries += 1
            return await p.target.create_upload(source.key, like=source)

        ident = await p.call(create)
        self._upload = replace(noted, upload=ident)
        await p.index.note_upload(p.dataset, p.target_side, self._upload)
        if tries > 1:
            await end_upload(p, noted, keep=ident)

    def _take_over(self, rows: dict[int, PartRow], arrived: list[PartInfo]) -> None:
        for part in arrived:
            row = rows.get(part.number)
            if row is not None and _has_arrived(row, part):
                self._sums[part.number], self._parts[part.number] = row.sums, part
        self._show()

    async def _send_missing(self) -> None:
        pace = self._passage.pace
        most = pace.writers if pace and self._pours else self._streams.limit
        count = -(-self._source.size // self._upload.part_size)
        missing = iter([n for n in range(1, count + 1) if n not in self._parts])
        try:
            with self._streams.own_lane(self._passage.dataset) as lane:
                async with asyncio.TaskGroup() as group:
                    for _ in range(min(count, most, max(2, _MEMORY // self._upload.part_size))):
                        group.create_task(self._stream(missing, lane))
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors

    async def _stream(self, missing: Iterator[int], lane: Lane) -> None:
        for number in missing:
            async with lane, self._passage.streams:
                await self._send(number)

    async def _send(self, number: int) -> None:
        p, upload = self._passage, self._upload
        offset = (number - 1) * upload.part_size
        size = min(upload.part_size, self._source.size - offset)
        if self._pours:
            sums, part = await self._pour(number, offset, size)
        else:
            begun = partial(self._begun, number)
            sums, part = await p.haul_part(self._source, upload.upload, number, offset, size, begun)
        p.index.note_part(p.dataset, p.target_side, self._source.key, number, sums, part)
        self._sums[number], self._parts[number] = sums, part
        self._show()

    async def _pour(self, number: int, offset: int, size: int) -> tuple[Sums, PartInfo]:
        """Each piece is summed and written as it comes, in the thread that received it."""
        p, source, upload = self._passage, self._source, self._upload.upload
        sums = Sums()
        await p.bandwidth.take(size)
        async with p.target.part_file(source.key, upload, offset) as file:
            self._begun(number, Sums(size))  # which sums it has is known at its end

            def take(piece: memoryview) -> None:
                nonlocal sums
                sums += Sums.of(piece)
                file.write(piece)

            async def attempt() -> None:
                nonlocal sums
                sums = Sums()
                file.begin()
                await p.source.pour(source.key, take, start=offset, length=size, if_match=source.identity, version=source.version)

            await p.call(attempt)
        if sums.size != size:
            raise Damaged(f"{sums.size} bytes were read of {size}")
        part = await p.call(lambda: p.target.note_part(source.key, upload, number, offset, size, crc64nvme=sums.crc64nvme))
        return sums, part

    def _begun(self, number: int, sums: Sums) -> None:
        p = self._passage
        p.index.note_part(p.dataset, p.target_side, self._source.key, number, sums, None)
        p.tally.sent += sums.size
        p.tally.resent += sums.size if number in self._earlier else 0

    def _show(self) -> None:
        self._passage.advance(self._source.key, sum(s.size for s in self._sums.values()), self._source.size)

    async def _complete(self, whole: Sums) -> ObjectInfo:
        p, source = self._passage, self._source
        parts = [self._parts[n] for n in sorted(self._parts)]

        async def complete() -> ObjectInfo:
            try:
                return await p.target.complete_upload(
                    source.key, self._upload.upload, parts, size=whole.size, crc64nvme=whole.crc64nvme, like=source
                )
            except (StoreUnreachable, ShortBody, UploadGone, TimeoutError):
                # The answer may have been lost after the store had done it: the object itself tells.
                held = await p.target.head(source.key)
                if held is None or held.size != whole.size or whole.agrees(held.checksums) is not True:
                    raise
                return held

        info = await p.call(complete)
        if p.target.capabilities.stored_checksum and whole.agrees(info.checksums) is None:
            return await p.head(p.target, info) or info
        return info

    async def _abandon(self) -> None:
        p, source = self._passage, self._source
        await p.call(lambda: p.target.abort_upload(source.key, self._upload.upload))
        p.index.settle(p.dataset, p.target_side, source.key)
        await p.index.database.flush()


def _is_same(found: Upload, wanted: Upload) -> bool:
    return (found.size, found.source_id, found.part_size) == (wanted.size, wanted.source_id, wanted.part_size)


def _has_arrived(row: PartRow, part: PartInfo) -> bool:
    if part.size != row.sums.size:
        return False
    if part.checksum:
        return part.checksum == row.sums.crc64nvme
    return bool(row.etag) and part.etag == row.etag


async def end_upload(passage: Passage, upload: Upload, *, keep: str = "") -> None:
    """Abort it; where its id was never learnt, all that can be it, but for `keep`."""
    p, key = passage, upload.key
    idents = [upload.upload]
    if not upload.upload:
        begun_at = datetime.fromtimestamp(upload.begun_at, UTC)
        idents = [ident for ident in await p.call(lambda: p.target.orphans_of(key, begun_at)) if ident != keep]
    for ident in idents:
        await p.call(lambda ident=ident: p.target.abort_upload(key, ident))  # type: ignore[misc]


async def abort_leftovers(passage: Passage, keep: frozenset[str]) -> int:
    """Abort writes in parts that an earlier run left open, but those of `keep`; returns how many."""
    count = 0
    for upload in await passage.index.open_uploads(passage.dataset, passage.target_side):
        if upload.key in keep:
            continue
        await end_upload(passage, upload)
        passage.index.settle(passage.dataset, passage.target_side, upload.key)
        count += 1
    return count
