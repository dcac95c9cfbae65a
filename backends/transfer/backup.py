"""Backups of legacy's side of a dataset: taken, tried, looked at again. The manifest lies in the index.

A manifest is the rows of a dataset of its own, `NAME#backup-N`: key, size, CRC64NVME, legacy's identity when it was taken, and what the backup
has of it: the version's id in a bucket that keeps versions, else the identity in the snapshot's folder. Its sum goes into the journal, so
that an index that was lost or changed is found out. A snapshot is taken object by object while writers go on: each object is whole, the
tree is not of one moment.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from backends.escape import plain
from backends.plan.backups import Backup
from backends.stores.base import ObjectInfo, Store
from backends.stores.errors import StoreError
from backends.stores.s3 import S3Store
from backends.transfer.errors import BackupBroken
from backends.transfer.exclude import excluder
from backends.transfer.index import Index, Row
from backends.transfer.models import Progress, RoundOptions
from backends.transfer.passage import Passage
from backends.transfer.round import sync_round
from backends.transfer.views import OldVersions, TheseKeys

SAMPLE = 20  # objects that are read back at a time
SAMPLE_BYTES = 1 << 30  # of them together, beyond the first
_PAGE = 1000
_AT_ONCE = 10


@dataclass(frozen=True, slots=True)
class Taken:
    """A backup that is there; `sum` is that of its manifest."""

    objects: int
    bytes: int
    where: str
    sum: str


def manifest_of(dataset: str, number: int) -> str:
    """The manifest's name in the index."""
    return f"{dataset}#backup-{number}"


@dataclass(frozen=True, slots=True)
class Places:
    """Where one backup and what belongs to it are. `place` is None where the versions of legacy's own bucket are the backup.

    `side` opens a store beside, for the name of what is put there; the caller closes it.
    """

    dataset: str
    spec: Backup
    number: int
    legacy: Store
    target: Store
    place: Store | None
    side: Callable[[str], Store]
    index: Index
    options: RoundOptions

    @property
    def manifest(self) -> str:
        return manifest_of(self.dataset, self.number)

    @property
    def kept(self) -> Store:
        """The backup as a store that is read."""
        if self.place is not None:
            return self.place
        found: Store = OldVersions(self.bucket, self.index, self.manifest)
        return found

    @property
    def bucket(self) -> S3Store:
        if not isinstance(self.legacy, S3Store):
            raise StoreError(
                f"{self.legacy.name} keeps no versions that could be named", where=self.legacy.url, hint="kind: snapshot"
            )
        return self.legacy

    def passage(self, source: Store, name: str) -> Passage:
        """For calls to a store that are tried again, and reads at the pace."""
        return Passage.of(name, source, source, self.index, self.options, Progress())


async def take(places: Places) -> Taken:
    """Take the backup of this number, or go on with it where an earlier attempt ended. Raises `CouldNot`."""
    if places.place is None:
        await _note_versions(places)
    else:
        await _copy(places, places.place)
        await _complete(places, places.place)
    objects, size, digest = await manifest_sum(places)
    where = places.legacy.url if places.place is None else places.place.url
    return Taken(objects, size, where, digest)


async def manifest_sum(places: Places) -> tuple[int, int, str]:
    """Objects and bytes of the manifest, and a digest of all that it says."""
    digest, objects, size, after = hashlib.sha256(), 0, 0, ""
    while rows := await places.index.rows_after(places.manifest, after, _PAGE):
        for row in rows:
            digest.update(repr((row.key, row.size, row.crc64nvme, row.target_id)).encode("utf-8", "surrogateescape"))
            objects, size = objects + 1, size + row.size
        after = rows[-1].key
        await asyncio.sleep(0)
    return objects, size, digest.hexdigest()


async def _copy(places: Places, place: Store) -> None:
    """A snapshot: a round of its own into the folder of this number."""
    await place.prepare()
    options = replace(places.options, delete=False, folders=False, newest_first=False, accept_empty=True)
    result = await sync_round(places.manifest, places.legacy, place, places.index, options, Progress())
    if result.failed or result.lag_objects:
        first = result.failures[0] if result.failures else None
        said = f", first {plain(first.key, 200)}: {first.reason}" if first is not None else ""
        raise StoreError(f"{max(result.failed, result.lag_objects)} objects could not be backed up{said}", where=place.url)


async def _complete(places: Places, place: Store) -> None:
    """What a server copied by itself has no sum of ours yet: it is read."""
    after, p = "", places.passage(place, places.manifest)
    while rows := await places.index.rows_after(places.manifest, after, _PAGE):
        for row in rows:
            if not row.crc64nvme:
                info = await p.call(lambda key=row.key: place.head(key))  # type: ignore[misc]
                if info is None:
                    raise BackupBroken(f"{plain(row.key, 200)} has gone from the backup", where=place.url)
                sums = await p.read_sums(place, info)
                await places.index.record_many(places.manifest, [row._replace(crc64nvme=sums.crc64nvme, target_id=info.identity)])
        after = rows[-1].key


async def _note_versions(places: Places) -> None:
    """The version of each object as it is now. Costs a HEAD an object, and a read where neither bucket nor index knows a sum."""
    await places.index.forget_objects(places.manifest)
    p, left_out = places.passage(places.bucket, places.manifest), excluder(places.options.exclude)
    async for listed in places.bucket.list_pages():
        page = [info for info in listed if not left_out(info.key)]
        if not page:
            continue
        known = await places.index.rows_between(places.dataset, page[0].key, page[-1].key)
        for start in range(0, len(page), _AT_ONCE):
            some = page[start : start + _AT_ONCE]
            rows = await asyncio.gather(*(_version(places, p, info, known.get(info.key)) for info in some))
            await places.index.record_many(places.manifest, [row for row in rows if row is not None])


async def _version(places: Places, p: Passage, listed: ObjectInfo, known: Row | None) -> Row | None:
    """None where the object has gone since it was listed."""
    info = await p.call(lambda: places.bucket.head(listed.key))
    if info is None:
        return None
    if not info.version or info.version == "null":
        raise StoreError(
            f"{places.legacy.name}: {plain(info.key, 200)} has no version: the bucket keeps none, or did not when it was written",
            where=f"backups: {places.dataset}",
            hint="turn versions on for the bucket and write what is older anew (copy it onto itself), or take kind: snapshot",
        )
    crc, proof = info.checksums.get("crc64nvme", ""), "stored_checksums"
    if not crc and known is not None and known.legacy_id == info.identity:
        crc, proof = known.crc64nvme, known.proof
    if not crc:
        crc, proof = (await p.read_sums(places.bucket, info)).crc64nvme, "re_read"
    return Row(info.key, info.size, crc, proof, info.etag or "", info.version)  # type: ignore[arg-type]


async def look(places: Places, wanted: str) -> str:
    """Is the backup still what was taken? The manifest's sum, and a sample read back and held against it. Returns what was seen; raises
    `BackupBroken`, and `CouldNot` where it cannot be told."""
    objects, _, digest = await manifest_sum(places)
    if digest != wanted:
        raise BackupBroken(f"the manifest of {objects} objects is not the one that was taken", where=places.manifest)
    rows = await sample(places)
    p = places.passage(places.kept, places.manifest)
    for row in rows:
        await _look_at(places, p, row)
    return f"{len(rows)} of {objects} objects read back"


async def sample(places: Places) -> list[Row]:
    """Rows by chance: at most `SAMPLE`, and of more than one not more than `SAMPLE_BYTES` together."""
    out: list[Row] = []
    for row in await places.index.sample(places.manifest, SAMPLE):
        if not out or sum(r.size for r in out) + row.size <= SAMPLE_BYTES:
            out.append(row)
    return out


async def _look_at(places: Places, p: Passage, row: Row) -> None:
    where, key = p.source.url, plain(row.key, 200)
    info = await p.call(lambda: p.source.head(row.key))
    if info is None:
        raise BackupBroken(f"{key} has gone from the backup", where=where)
    if info.size != row.size or (await p.read_sums(p.source, info)).crc64nvme != row.crc64nvme:
        raise BackupBroken(f"{key} is not in the backup what was backed up", where=where)


async def try_restoring(places: Places) -> str:
    """Restore a sample on trial, into a side place, and compare it there. Returns what was done. Raises `BackupBroken` and `CouldNot`."""
    rows = await sample(places)
    if not rows:
        return "nothing to restore yet"
    side = places.side(f"trial-{places.number}")
    try:
        broken = await stage(places, side, {row.key: row for row in rows}, f"trial-{places.number}")
        for key, reason in broken.items():
            raise BackupBroken(f"{plain(key, 200)}: {reason}", where=side.url)
        return f"{len(rows)} restored on trial under {plain(side.url, 200)}, compared and taken away"
    finally:
        for row in rows:
            await side.delete(row.key)
        await side.close()


async def stage(places: Places, side: Store, rows: Mapping[str, Row], what: str) -> dict[str, str]:
    """Bring these objects from the backup into a side place, and hold them there against the manifest. Returns which could not be, and why."""
    name, broken = f"{places.dataset}#{what}", dict[str, str]()
    await side.prepare()
    await places.index.forget_objects(name)
    options = replace(places.options, delete=False, folders=False, newest_first=False, accept_empty=True)
    kept, onto = TheseKeys(places.kept, rows), TheseKeys(side, rows)
    result = await sync_round(name, kept, onto, places.index, options, Progress())
    failed = {failure.key: failure.reason for failure in result.failures}
    p = places.passage(side, name)
    for key, row in rows.items():
        info = None if key in failed else await p.call(lambda key=key: side.head(key))  # type: ignore[misc]
        if info is None:
            broken[key] = failed.get(key, "it has gone from the backup")
        elif info.size != row.size or (await p.read_sums(side, info)).crc64nvme != row.crc64nvme:
            broken[key] = "it is not in the backup what was backed up"
    return broken
