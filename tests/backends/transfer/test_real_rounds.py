"""Deletes and folders over real servers: the identities of a listing and of a last look are the same there too."""

from __future__ import annotations

import time

import pytest

from backends.stores.base import Store
from backends.transfer.index import Index
from backends.transfer.models import Progress, RoundOptions, RoundResult
from backends.transfer.round import sync_round
from backends.transfer.sums import Sums
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
