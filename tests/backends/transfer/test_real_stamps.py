"""Time and rights of files on their way between trees: straight, through an object store, through a hub."""

from __future__ import annotations

import itertools
import os
import stat
from pathlib import Path

import pytest

from backends.transfer.hub.copier import HubOptions
from backends.transfer.hub.round import sync_round_by_hub
from backends.transfer.index import Index
from backends.transfer.models import Progress, RoundOptions
from backends.transfer.round import sync_round
from backends.transfer.sums import Sums
from tests.backends.transfer.conftest import Stores

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
