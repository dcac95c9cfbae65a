"""Backups of real stores: taken, tried, and found out when they are no more what was taken."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from backends.plan.backups import Backup
from backends.plan.models import Plan
from backends.ssh.pool import SshPool
from backends.stores.checksum import crc64nvme
from backends.stores.errors import StoreError
from backends.stores.s3 import S3Store
from backends.transfer.backup import Places, look, take, try_restoring
from backends.transfer.errors import BackupBroken
from backends.transfer.session import TransferSession
from tests.backends.stores.test_s3_versions import ENABLED
from tests.peers.ministack import MiniStack
from tests.peers.openssh import OpenSsh
from tests.peers.seaweedfs import SeaweedFs

SNAPSHOT = Backup(dataset="ckpt", kind="snapshot", to="backups")
BESIDE = Backup(dataset="ckpt", kind="snapshot")
VERSIONS = Backup(dataset="ckpt", kind="versioned")


def fill(folder: Path, count: int = 30) -> dict[str, bytes]:
    made = {f"step-{n // 10}/part-{n:03}": os.urandom(1000 + n) for n in range(count)} | {"latest": b"step-2"}
    for key, body in made.items():
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(body)
    return made


def trees(folder: Path, prefix: str = "file://") -> Plan:
    for name in ("legacy", "target", "backups"):
        (folder / name).mkdir(exist_ok=True)
    stores = {name: {"url": f"{prefix}{folder}/{name}/"} for name in ("legacy", "target", "backups")}
    return plan_of(stores)


def plan_of(stores: dict[str, dict[str, str]]) -> Plan:
    dataset = {"name": "ckpt", "from": "legacy", "to": "target", "reverse": True}
    sides = {side: {"provider": side} for side in ("legacy", "target")}
    return Plan.model_validate({"version": 1, "name": "b", **sides, "stores": stores, "datasets": [dataset]})


@asynccontextmanager
async def opened(plan: Plan, folder: Path, spec: Backup, number: int = 1, ssh: SshPool | None = None) -> AsyncIterator[Places]:
    async with TransferSession(plan, folder, folder / "state", ssh) as session, session.backup_places(spec, number) as places:
        yield places


@pytest.mark.parametrize("spec", [SNAPSHOT, BESIDE], ids=["elsewhere", "beside"])
async def test_a_snapshot_is_a_whole_copy_in_a_folder_of_its_own(tmp_path: Path, spec: Backup) -> None:
    plan, folder = trees(tmp_path), tmp_path / ("backups/ckpt-backup-1" if spec.to else "legacy.cutover-backup-1")
    made = fill(tmp_path / "legacy")
    async with opened(plan, tmp_path, spec) as places:
        taken = await take(places)
        assert (taken.objects, taken.bytes) == (31, sum(map(len, made.values())))
        assert taken.where == f"file://{folder}/"
        assert {k: (folder / k).read_bytes() for k in made} == made
        assert await look(places, taken.sum) == "20 of 31 objects read back"
        assert "20 restored on trial" in await try_restoring(places)
    left = [p for p in tmp_path.rglob("*trial*") for f in p.rglob("*") if f.is_file()]
    assert left == [], "what was restored on trial is taken away"


async def test_a_snapshot_by_sftp(tmp_path: Path, sshd: OpenSsh) -> None:
    made = fill(tmp_path / "legacy", 5)
    async with (
        SshPool(sshd.settings, [sshd.host("box")]) as pool,
        opened(trees(tmp_path, "ssh://box"), tmp_path, SNAPSHOT, ssh=pool) as places,
    ):
        taken = await take(places)
        assert taken.objects == 6
        assert "6 of 6" in await look(places, taken.sum)
        assert "6 restored on trial" in await try_restoring(places)
    assert {k: (tmp_path / "backups/ckpt-backup-1" / k).read_bytes() for k in made} == made


async def test_taking_goes_on_where_it_was_cut_off(tmp_path: Path) -> None:
    plan = trees(tmp_path)
    made = fill(tmp_path / "legacy")
    half = tmp_path / "backups/ckpt-backup-1"
    half.mkdir()
    for key in list(made)[:10]:
        (half / key).parent.mkdir(parents=True, exist_ok=True)
        (half / key).write_bytes(made[key] if key != "step-0/part-003" else b"damaged on the way")
    async with opened(plan, tmp_path, SNAPSHOT) as places:
        taken = await take(places)
        assert (await take(places)) == taken, "taken again it is the same"
    assert {k: (half / k).read_bytes() for k in made} == made


async def test_an_object_that_cannot_be_read_is_no_backup(tmp_path: Path) -> None:
    plan = trees(tmp_path)
    fill(tmp_path / "legacy", 3)
    (tmp_path / "legacy" / "odd").symlink_to("latest")
    async with opened(plan, tmp_path, SNAPSHOT) as places:
        with pytest.raises(StoreError, match="odd: is a symlink"):
            await take(places)


async def test_a_backup_that_was_damaged_or_has_gone_is_found_out(tmp_path: Path) -> None:
    plan = trees(tmp_path)
    fill(tmp_path / "legacy", 5)
    async with opened(plan, tmp_path, SNAPSHOT) as places:
        taken = await take(places)
        held = tmp_path / "backups/ckpt-backup-1/latest"
        held.write_bytes(b"step-9")
        with pytest.raises(BackupBroken, match="latest is not in the backup what was backed up"):
            await look(places, taken.sum)
        with pytest.raises(BackupBroken, match="latest: it is not in the backup what was backed up"):
            await try_restoring(places)
        held.unlink()
        with pytest.raises(BackupBroken, match="latest has gone from the backup"):
            await look(places, taken.sum)


async def test_a_manifest_that_was_lost_or_changed_is_found_out(tmp_path: Path) -> None:
    plan = trees(tmp_path)
    fill(tmp_path / "legacy", 5)
    async with opened(plan, tmp_path, SNAPSHOT) as places:
        taken = await take(places)
    (tmp_path / "state" / "index.db").unlink()
    async with opened(plan, tmp_path, SNAPSHOT) as places:
        with pytest.raises(BackupBroken, match="the manifest of 0 objects is not the one that was taken"):
            await look(places, taken.sum)


@pytest.fixture(params=["weed", "mini"])
def server(request: pytest.FixtureRequest) -> SeaweedFs | MiniStack:
    found = request.getfixturevalue(request.param)
    assert isinstance(found, SeaweedFs | MiniStack)
    return found


def buckets(server: SeaweedFs | MiniStack, name: str, prefix: str = "data/") -> Plan:
    keys = {"endpoint": server.endpoint, "access_key": server.access_key, "secret_key": server.secret_key}
    return plan_of({side: {"url": f"s3://{name}-{side}/{prefix}", **keys} for side in ("legacy", "target")})


async def versioned(store: S3Store) -> None:
    await store.create_bucket()
    await store._bucket.client.call("PUT", None, what="versions", params=(("versioning", ""),), body=ENABLED)


@pytest.mark.parametrize("prefix", ["data/", ""], ids=["below", "whole"])
async def test_versions_are_found_again_under_what_came_later(server: SeaweedFs | MiniStack, tmp_path: Path, prefix: str) -> None:
    name = f"versions-{len(prefix)}"
    async with opened(buckets(server, name, prefix), tmp_path, VERSIONS) as places:
        await versioned(places.bucket)
        bodies = {f"k{n}": os.urandom(100 + n) for n in range(7)}
        for key, body in bodies.items():
            await places.bucket.write(key, body, crc64nvme=crc64nvme(body))
        taken = await take(places)
        assert taken.objects == 7
        await places.bucket.write("k1", b"overwritten", crc64nvme=crc64nvme(b"overwritten"))
        await places.bucket.delete("k2")
        assert await look(places, taken.sum) == "7 of 7 objects read back"
        assert "7 restored on trial" in await try_restoring(places)
        row = await places.index.row(places.manifest, "k1")
        assert row is not None
        await places.bucket._bucket.call("DELETE", "k1", "deleting", params=(("versionId", row.target_id),))
        with pytest.raises(BackupBroken, match="k1 has gone from the backup"):
            await look(places, taken.sum)


async def test_a_bucket_without_versions_is_refused_with_the_cure(server: SeaweedFs | MiniStack, tmp_path: Path) -> None:
    async with opened(buckets(server, "plain"), tmp_path, VERSIONS) as places:
        await places.bucket.create_bucket()
        await places.bucket.write("k", b"body", crc64nvme=crc64nvme(b"body"))
        with pytest.raises(StoreError, match="k has no version") as refused:
            await take(places)
        assert "turn versions on" in str(refused.value.hint)
