"""The gap of an emergency rollback: what only target has comes beside legacy's data, and nothing of legacy's is touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from backends.plan.models import Dataset, Plan, Side, Transfer
from backends.plan.models import Store as StoreSpec
from backends.stores.base import Store
from backends.stores.errors import StoreError
from backends.stores.open import open_store
from backends.transfer.gap import gap_spec, side_spec
from tests.backends.transfer.test_session import session_of
from tests.peers.seaweedfs import SeaweedFs

WHOLE = ["s3://bucket", "s3://bucket/", "gs://bucket/", "az://account/box/", "az://account/box"]
TREES = ["s3://bucket/a/", "gs://bucket/a/b", "az://account/box/a/", "file:///srv/ckpt/", "ssh://box/srv/ckpt"]


@pytest.mark.parametrize("url", WHOLE)
def test_the_gap_of_a_whole_bucket_comes_below_a_prefix_of_the_same_bucket(url: str) -> None:
    spec = StoreSpec(url=url)
    assert gap_spec(spec, 3).url == url.rstrip("/") + "/.cutover-gap-3/"
    with pytest.raises(StoreError, match="no place beside it"):
        side_spec(spec, "try")


@pytest.mark.parametrize("url", TREES)
def test_the_gap_of_a_tree_comes_beside_it(url: str) -> None:
    assert gap_spec(StoreSpec(url=url), 3).url == url.rstrip("/") + ".cutover-gap-3/"


def test_a_container_with_its_account_beside_it_is_whole() -> None:
    assert StoreSpec(url="az://box/", account="account").is_whole_bucket
    assert not StoreSpec(url="az://box/a/", account="account").is_whole_bucket


async def keys(store: Store) -> dict[str, int]:
    return {o.key: o.size async for page in store.list_pages() for o in page}


async def test_a_gap_in_a_whole_bucket_is_kept_there_and_no_sync_sees_it(
    tmp_path: Path, servers: Callable[[str], object]
) -> None:
    weed = servers("weed")
    assert isinstance(weed, SeaweedFs)
    legacy = StoreSpec(url="s3://gap-whole/", endpoint=weed.endpoint, access_key=weed.access_key, secret_key=weed.secret_key)
    (tmp_path / "new").mkdir()
    plan = Plan(
        version=1,
        name="try",
        legacy=Side(provider="a"),
        target=Side(provider="b"),
        stores={"old": legacy, "new": StoreSpec(url=f"file://{tmp_path}/new/")},
        datasets=(Dataset.model_validate({"name": "ckpt", "from": "old", "to": "new", "reverse": True}),),
        transfer=Transfer(parallel=3),
    )
    bucket = open_store("old", legacy, ssh=None, base=tmp_path)
    async with bucket:
        await bucket.create_bucket()  # type: ignore[attr-defined]
        async with session_of(plan, tmp_path) as session:
            (tmp_path / "new" / "same").write_bytes(b"same")
            await session.round("ckpt", "reverse")
            (tmp_path / "new" / "same").write_bytes(b"written on target since")
            (tmp_path / "new" / "only").write_bytes(b"only on target")
            kept = await session.keep_gap("ckpt", 1)
            assert (kept.objects, kept.where) == (2, "s3://gap-whole/.cutover-gap-1/")
            again = await session.keep_gap("ckpt", 1)
            assert again.objects == 2
            forward = await session.round("ckpt", settled=True)
            assert (forward.objects_total, forward.failed) == (1, 0), "what is kept aside is no data"
        assert await keys(bucket) == {"same": 4}
    aside = open_store("aside", gap_spec(legacy, 1), ssh=None, base=tmp_path)
    async with aside:
        assert await keys(aside) == {"only": 14, "same": 23}
