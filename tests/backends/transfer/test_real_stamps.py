"""Time and rights of files on their way between trees: straight, through an object store, through a hub."""

from __future__ import annotations

import asyncio
import itertools
import os
import stat
from pathlib import Path

import pytest

from backends.stores.base import Store
from backends.transfer.hub.copier import HubOptions
from backends.transfer.hub.round import sync_round_by_hub
from backends.transfer.index import Index
from backends.transfer.models import Progress, RoundOptions
from backends.transfer.round import sync_round
from backends.transfer.sums import Sums
from tests.backends.transfer.conftest import Stores
from tests.bench.contenders import program
from tests.bench.processes import Command, run_to_end
from tests.bench.servers import Missing
from tests.peers.seaweedfs import SeaweedFs

FILES = {"bin/run.sh": (b"#!/bin/sh\n", 0o755, 1_577_836_800), "weights": (b"w" * (17 << 20), 0o640, 1_700_000_001)}


def filled(root: Path) -> dict[str, tuple[int, int]]:
    """`FILES` below `root`: mode and mtime in nanoseconds of each, whole seconds as SFTP tells them."""
    for key, (body, mode, mtime) in FILES.items():
        path = root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
        path.chmod(mode)
        os.utime(path, (mtime, mtime))
    return seen(root)


def seen(root: Path) -> dict[str, tuple[int, int]]:
    files = {key: (root / key).stat() for key in FILES}
    return {key: (stat.S_IMODE(status.st_mode), status.st_mtime_ns) for key, status in files.items()}


@pytest.mark.parametrize(
    "way",
    [
        ["local", "local"],
        ["local", "sftp"],
        ["sftp", "local"],
        ["local", "s3", "local"],
        ["sftp", "s3", "sftp"],
        ["local", "s3", "s3", "local"],
    ],
    ids="-".join,
)
async def test_they_are_the_same_at_the_end_of_the_way(stores: Stores, index: Index, tmp_path: Path, way: list[str]) -> None:
    opened = [await stores.make(kind, f"n{place}") for place, kind in enumerate(way)]
    before = filled(tmp_path / "n0")
    for place, (source, target) in enumerate(itertools.pairwise(opened)):
        for copied in (len(FILES), 0):
            result = await sync_round(f"d{place}", source, target, index, RoundOptions(parallel=4), Progress())
            assert (result.copied, result.failed, result.lag_objects) == (copied, 0, 0)
    assert seen(tmp_path / f"n{len(way) - 1}") == before
    assert not [store.notes for store in (opened[0], opened[-1]) if store.notes]


@pytest.mark.parametrize("hub", ["local", "s3"])
@pytest.mark.parametrize("compress", ["never", "zstd"])
async def test_they_survive_a_hub(stores: Stores, index: Index, tmp_path: Path, hub: str, compress: str) -> None:
    source, between, target = [await stores.make(kind, name) for kind, name in (("local", "old"), (hub, "hub"), ("local", "new"))]
    before = filled(tmp_path / "old")
    options = HubOptions("move", "d", 4, compress=compress)  # type: ignore[arg-type]
    result = await sync_round_by_hub(between, options, source, target, index, RoundOptions(parallel=4), Progress())
    assert (result.copied, result.failed) == (len(FILES), 0)
    assert seen(tmp_path / "new") == before


@pytest.mark.parametrize("ours_up", [True, False])
async def test_rclone_reads_what_we_tell_and_we_what_it_tells(
    stores: Stores, index: Index, tmp_path: Path, weed: SeaweedFs, *, ours_up: bool
) -> None:
    try:
        rclone = program("rclone")
    except Missing as error:
        pytest.skip(str(error))
    source, bucket, target = [
        await stores.make(kind, name) for kind, name in (("local", "old"), ("s3", "bucket"), ("local", "new"))
    ]
    before = filled(tmp_path / "old")
    there = f"B:{bucket.url.removeprefix('s3://')}"
    remote = {"TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": weed.endpoint, "REGION": weed.region}
    remote |= {"ACCESS_KEY_ID": weed.access_key, "SECRET_ACCESS_KEY": weed.secret_key}
    env = {
        "HOME": str(tmp_path),
        "RCLONE_CONFIG": "/dev/null",
        **{f"RCLONE_CONFIG_B_{name}": value for name, value in remote.items()},
    }

    async def copied(here: Store, to: Store) -> None:
        assert (await sync_round("d", here, to, index, RoundOptions(parallel=4), Progress())).copied == len(FILES)

    async def by_rclone(here: str, to: str) -> None:
        await asyncio.to_thread(run_to_end, Command([rclone, "copy", "--metadata", here, to], env, tmp_path), limit=60)

    if ours_up:
        await copied(source, bucket)
        await by_rclone(there, str(tmp_path / "new"))
    else:
        await by_rclone(str(tmp_path / "old"), there)
        await copied(bucket, target)
    assert seen(tmp_path / "new") == before


async def test_an_object_without_any_gives_its_own_time(stores: Stores, index: Index, tmp_path: Path) -> None:
    source, target = await stores.make("s3", "old"), await stores.make("local", "new")
    await source.write("a", b"1", crc64nvme=Sums.of(b"1").crc64nvme)
    info = await source.head("a")
    assert info is not None
    assert info.mtime is not None
    assert (await sync_round("d", source, target, index, RoundOptions(parallel=4), Progress())).copied == 1
    status = (tmp_path / "new" / "a").stat()
    assert abs(status.st_mtime - info.mtime.timestamp()) < 1
    assert stat.S_IMODE(status.st_mode) == 0o644
