"""Rights on stores, found by doing: a real server that checks signatures, and trees."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from backends.live.stores import try_store
from backends.plan.backups import Backup
from backends.plan.load import load_plan
from backends.plan.models import Plan
from backends.stores.open import open_store
from backends.stores.s3 import S3Store
from tests.backends.transfer.test_backup import versioned
from tests.peers.seaweedfs import SeaweedFs

_numbers = itertools.count()


def plan_of(folder: Path, weed: SeaweedFs, bucket: str) -> Plan:
    path = folder / "plan.yaml"
    (folder / "tree").mkdir(exist_ok=True)
    path.write_text(
        "version: 1\nname: move\nlegacy: {provider: old}\ntarget: {provider: new}\n"
        f"stores: {{from: {{url: 'file://{folder}/tree/'}}, to: {{url: 's3://{bucket}/data/', endpoint: '{weed.endpoint}', "
        "access_key: '${env:LIVE_KEY}', secret_key: '${env:LIVE_SECRET}'}}\ndatasets: [{name: data, from: from, to: to}]\n"
    )
    checked = load_plan(path)
    assert checked.plan is not None
    return checked.plan


async def bucket_plan(folder: Path, weed: SeaweedFs) -> Plan:
    """A plan whose target is a new bucket."""
    bucket = f"live-{next(_numbers)}"
    plan = plan_of(folder, weed, bucket)
    store = open_store("to", plan.stores["to"], ssh=None, base=folder)
    assert isinstance(store, S3Store)
    try:
        await store.create_bucket()
    finally:
        await store.close()
    return plan


@pytest.fixture
def keys(weed: SeaweedFs, monkeypatch: pytest.MonkeyPatch) -> SeaweedFs:
    monkeypatch.setenv("LIVE_KEY", weed.access_key)
    monkeypatch.setenv("LIVE_SECRET", weed.secret_key)
    return weed


async def test_a_store_that_lets_us_do_all_gives_no_problem_and_is_left_as_it_was(keys: SeaweedFs, tmp_path: Path) -> None:
    plan = await bucket_plan(tmp_path, keys)
    assert await try_store(plan, "to", None, tmp_path) == []
    store = open_store("to", plan.stores["to"], ssh=None, base=tmp_path)
    try:
        assert [page async for page in store.list_pages() if page] == []
    finally:
        await store.close()


async def test_keys_that_do_not_fit_are_told_by_what_they_may_not_do(
    keys: SeaweedFs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = await bucket_plan(tmp_path, keys)
    monkeypatch.setenv("LIVE_SECRET", "not-the-secret")
    found = await try_store(plan, "to", None, tmp_path)
    assert [f.severity for f in found] == ["error", "error"]
    assert [f.message for f in found] == ["store to does not let us list", "store to does not let us write"]
    assert all(f.path == ("stores", "to") and f.evidence and "not-the-secret" not in f.evidence for f in found)


async def test_a_source_whose_folder_is_not_there_is_told_and_a_target_that_is_yet_to_be_made_is_not(
    keys: SeaweedFs, tmp_path: Path
) -> None:
    plan = plan_of(tmp_path, keys, "none")
    (tmp_path / "tree").rmdir()
    [found] = await try_store(plan, "from", None, tmp_path)
    assert (found.code, found.message) == ("root_missing", "store from has no such folder")
    swapped = plan.model_copy(update={"datasets": (plan.datasets[0].model_copy(update={"from_": "to", "to": "from"}),)})
    assert await try_store(swapped, "from", None, tmp_path) == []
    assert not (tmp_path / "tree").exists()


async def test_a_bucket_that_a_backup_rests_on_has_to_keep_versions(keys: SeaweedFs, tmp_path: Path) -> None:
    plan = await bucket_plan(tmp_path, keys)
    swapped = plan.model_copy(
        update={
            "datasets": (plan.datasets[0].model_copy(update={"from_": "to", "to": "from"}),),
            "backups": (Backup(dataset="data", kind="versioned"),),
        }
    )
    [found] = await try_store(swapped, "to", None, tmp_path)
    assert (found.code, found.message) == ("no_versions", "store to keeps no versions, and a backup rests on them")
    assert "turn versions on" in found.cure
    store = open_store("to", plan.stores["to"], ssh=None, base=tmp_path)
    assert isinstance(store, S3Store)
    await versioned(store)
    await store.close()
    assert await try_store(swapped, "to", None, tmp_path) == []
