"""Deletes and folders over real servers: the identities of a listing and of a last look are the same there too."""

from __future__ import annotations

import time

import pytest

from backends.stores.base import Store
from backends.transfer.index import Index
from backends.transfer.models import Progress, RoundOptions, RoundResult
from backends.transfer.round import sync_round
from backends.transfer.sums import Sums
from backends.transfer.verify import verify_dataset
from tests.backends.transfer.conftest import Stores

KINDS = ["local", "sftp", "s3"]
BODIES = {"s1/model": b"m" * 3000, "s1/sub/shard": b"s" * 50, "s1/_SUCCESS": b"ok", "other": b"o" * 10, "caf\u00e9 x": b"c"}


async def keys(store: Store) -> set[str]:
    return {info.key async for page in store.list_pages() for info in page}


async def put(store: Store, key: str, body: bytes) -> None:
    await store.write(key, body, crc64nvme=Sums.of(body).crc64nvme)


async def go(source: Store, target: Store, index: Index, **options: object) -> RoundResult:
    chosen = {"parallel": 4, "folders": True, "settle": 0.0, "delete": True, "delete_barred": "", "max_delete": 1.0, **options}
    return await sync_round("d", source, target, index, RoundOptions(**chosen), Progress())  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", KINDS)
async def test_what_legacy_lost_goes_and_what_changed_on_the_target_stays(stores: Stores, index: Index, kind: str) -> None:
    source, target = await stores.make(kind, "old"), await stores.make(kind, "new")
    for key, body in BODIES.items():
        await put(source, key, body)
    assert (await go(source, target, index)).is_proven
    await put(target, "theirs", b"t")
    await put(target, "caf\u00e9 x", b"changed there")
    for key in ("s1/model", "s1/sub/shard", "s1/_SUCCESS", "caf\u00e9 x"):
        await source.delete(key)
    dry = await go(source, target, index, dry_run=True)
    assert (dry.deleted, dry.deletes.listed) == (0, ("s1/_SUCCESS", "s1/model", "s1/sub/shard"))
    result = await go(source, target, index)
    assert (result.deleted, result.failed) == (3, 0)
    assert await keys(target) == {"other", "theirs", "caf\u00e9 x"}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_folder_waits_until_it_is_quiet_by_the_stores_own_clock(stores: Stores, index: Index, kind: str) -> None:
    source, target = await stores.make(kind, "old"), await stores.make(kind, "new")
    for key, body in BODIES.items():
        await put(source, key, body)
    began = time.time()
    result = await go(source, target, index, settle=60.0)
    assert time.time() - began < 60
    assert [w.folder for w in result.waiting] == ["s1"]
    assert await keys(target) == {"other", "caf\u00e9 x"}
    assert (await go(source, target, index)).is_proven
    assert await keys(target) == set(BODIES)


@pytest.mark.parametrize("kind", ["local", "sftp"])
async def test_folders_that_a_console_made_in_a_bucket_are_no_files_of_a_tree(stores: Stores, index: Index, kind: str) -> None:
    bucket, folder = await stores.make("s3", "old"), await stores.make(kind, "new")
    for key in ("models/", "models/v1/", "models/v1/weights", "empty/"):
        await put(bucket, key, b"w" if key.endswith("weights") else b"")
    progress = Progress()
    first = await sync_round("d", bucket, folder, index, RoundOptions(parallel=4), progress)
    assert (first.copied, first.failed, first.lag_objects, first.is_proven) == (1, 0, 0, True)
    assert sum("stand for folders" in note for note in progress.notes) == 1
    verified = await verify_dataset("d", bucket, folder, index, re_read=True, report=None)
    assert (verified.equal, verified.problems) == (1, ())
    await put(folder, "models/v1/tokenizer", b"t")
    back = await sync_round("d", folder, bucket, index, RoundOptions(parallel=4, direction="reverse"), progress)
    assert (back.copied, back.failed, back.lag_objects) == (1, 0, 0)
    assert await keys(bucket) == {"models/", "models/v1/", "models/v1/weights", "models/v1/tokenizer", "empty/"}


async def test_between_buckets_they_are_objects_as_any(stores: Stores, index: Index) -> None:
    source, target = await stores.make("s3", "old"), await stores.make("s3", "new")
    await put(source, "models/", b"")
    assert (await go(source, target, index)).copied == 1
    assert await keys(target) == {"models/"}
