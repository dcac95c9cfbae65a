"""Whole comparisons: verdicts, order, what is read of far sides (a real sshd, a real S3)."""

from __future__ import annotations

import asyncio
import json
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.plan.models import Plan
from backends.plan.models import Store as StoreSpec
from backends.ssh.pool import SshPool
from backends.stores.checksum import crc64nvme
from backends.stores.open import open_store
from backends.stores.s3 import S3Store
from backends.validation.checkpoint.compare import compare_checkpoints
from backends.validation.checkpoint.difference import Tolerance
from backends.validation.checkpoint.opening import open_side
from backends.validation.checkpoint.pairs import PIECE
from backends.validation.checkpoint.side import LocalSide
from backends.validation.errors import CheckpointRefused
from tests.backends.validation.checkpoint.conftest import compared, saved
from tests.peers.openssh import OpenSsh, openssh
from tests.peers.seaweedfs import SeaweedFs


async def test_bit_equal_passes_and_one_bit_breaches(tmp_path: Path, weights: dict[str, Any]) -> None:
    old = saved(tmp_path / "old.safetensors", weights)
    assert (await compared(old, saved(tmp_path / "same.safetensors", weights))).verdict == "PASS"
    near = weights["a.weight"].copy()
    near[5, 5] = np.nextafter(near[5, 5], np.float32(9))
    report = await compared(old, saved(tmp_path / "near.safetensors", weights | {"a.weight": near}))
    assert report.verdict == "BREACH"
    assert report.reason.startswith("1 of 3 tensors differ, most a.weight (at most ")
    assert report.reason.endswith("1 ULP)")
    worst = report.tensors[0]
    assert worst.name == "a.weight"
    assert worst.found is not None
    assert (worst.found.differing, worst.found.ulp) == (1, 1)
    near_enough = await compared(old, tmp_path / "near.safetensors", Tolerance(1e-6, 0.0, True))
    assert near_enough.verdict == "PASS"
    assert near_enough.reason == "all 3 tensors within rtol 1e-06, atol 0"


async def test_what_is_absent_or_of_another_shape_stands_first(tmp_path: Path, weights: dict[str, Any]) -> None:
    old = saved(tmp_path / "old.safetensors", weights | {"only.old": np.zeros(3, np.float32)})
    changed = {"a.weight": weights["a.weight"] * 2, "b.bias": weights["b.bias"][:32], "c.table": weights["c.table"]}
    report = await compared(old, saved(tmp_path / "new.safetensors", changed | {"only.new": np.zeros(3, np.float32)}))
    assert [(r.name, r.missing, r.unlike) for r in report.tensors] == [
        ("only.new", "legacy", None),
        ("only.old", "target", None),
        ("b.bias", None, "shape"),
        ("a.weight", None, None),
        ("c.table", None, None),
    ]
    assert "target lacks 1 tensor: only.old" in report.reason
    assert report.tensors[3].found is not None
    assert report.tensors[3].found.relative == pytest.approx(1.0)


async def test_another_dtype_breaches_unless_a_tolerance_takes_it(tmp_path: Path) -> None:
    exact = np.array([1.0, 2.0, -0.5], np.float32)
    old = saved(tmp_path / "old.safetensors", {"w": exact})
    new = saved(tmp_path / "new.safetensors", {"w": exact.astype(np.float16)})
    assert "another dtype in 1 tensor: w" in (await compared(old, new)).reason
    assert (await compared(old, new, Tolerance(0.0, 0.0, True))).verdict == "PASS"


async def test_tensors_longer_than_a_piece_and_many_small_ones_are_all_compared(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    many = {f"small.{n}": rng.standard_normal(int(n % 7)).astype(np.float32) for n in range(300)}
    large = rng.standard_normal(PIECE // 4 * 2 + 17).astype(np.float32)
    old = saved(tmp_path / "old.safetensors", many | {"large": large})
    turned = large.copy()
    turned[-1] += 1
    turned[0] += 2
    new = saved(tmp_path / "new.safetensors", many | {"large": turned, "small.299": many["small.299"] + 1})
    report = await compared(old, new)
    assert [r.name for r in report.tensors if not r.equal] == ["small.299", "large"]
    assert report.tensors[1].found is not None
    assert report.tensors[1].found.differing == 2
    assert report.tensors[1].found.compared == len(large)
    assert report.bytes_read[0] < old.stat().st_size + 10_000_000


async def test_a_file_that_changes_under_the_comparison_is_an_error(tmp_path: Path, weights: dict[str, Any]) -> None:
    old, new = saved(tmp_path / "old.safetensors", weights), saved(tmp_path / "new.safetensors", weights)
    async with LocalSide(old) as first, LocalSide(new) as second:
        os.utime(new, ns=(1, 1))
        with pytest.raises(CheckpointRefused, match="changed while it was read"):
            await compare_checkpoints(first, second, Tolerance())


@pytest.fixture
async def pool(tmp_path: Path) -> AsyncIterator[SshPool]:
    async with openssh(tmp_path / "sshd") as server, SshPool(server.settings, [_box(server)]) as opened:
        yield opened


async def test_a_comparison_that_is_given_up_reads_no_more(tmp_path: Path) -> None:
    size = 1 << 30
    head = json.dumps({"w": {"dtype": "F32", "shape": [size // 4], "data_offsets": [0, size]}}).encode()
    for name in ("a", "b"):
        with (tmp_path / f"{name}.safetensors").open("wb") as out:
            out.write(len(head).to_bytes(8, "little") + head)
            out.truncate(8 + len(head) + size)  # holes: no byte of it lies on the disk
    async with LocalSide(tmp_path / "a.safetensors") as legacy, LocalSide(tmp_path / "b.safetensors") as target:
        task: asyncio.Task[Any] = asyncio.create_task(
            compare_checkpoints(legacy, target, Tolerance(0, 0, False), progress=lambda done, whole: task.cancel() and None)
        )
        with pytest.raises(asyncio.CancelledError):
            await task
        assert legacy.bytes_read < size
        assert not [t.name for t in threading.enumerate() if t.name.startswith("compare")]


def _box(server: OpenSsh) -> Any:
    return server.host()


async def test_over_ssh_hashes_are_made_there_and_only_what_differs_is_read(pool: SshPool, tmp_path: Path) -> None:
    rng = np.random.default_rng(6)
    weights = {f"layer.{n}": rng.standard_normal(1 << 18).astype(np.float32) for n in range(6)}
    far = tmp_path / "far folder; touch oops"
    saved(far / "model.safetensors", weights)
    changed = weights | {"layer.3": weights["layer.3"] * np.float32(1.5)}
    here = saved(tmp_path / "here" / "model.safetensors", changed).parent
    for first, second in (
        (f"ssh://box{far}", str(here)),
        (str(here), f"ssh://box{far}"),
        (f"ssh://box{far}/model.safetensors", f"ssh://box{here}"),
    ):
        old = await open_side("legacy", first, plan=None, base=tmp_path, ssh=pool)
        new = await open_side("target", second, plan=None, base=tmp_path, ssh=pool)
        async with old, new:
            report = await compare_checkpoints(old, new, Tolerance())
        assert [r.name for r in report.tensors if not r.equal] == ["layer.3"]
        assert "5 tensors were proven equal by checksums and not read" in report.notes
        assert max(report.bytes_read) < 2 << 20  # of 6 MiB
    assert not list(tmp_path.rglob("oops"))


async def test_objects_whose_kept_checksums_agree_are_not_read(weed: SeaweedFs, tmp_path: Path, weights: dict[str, Any]) -> None:
    spec = StoreSpec(url="s3://checkpoints/", endpoint=weed.endpoint, access_key=weed.access_key, secret_key=weed.secret_key)
    here = saved(tmp_path / "here" / "model.safetensors", weights)
    store = open_store("x", spec, ssh=None, base=tmp_path)
    assert isinstance(store, S3Store)
    await store.create_bucket()
    body = here.read_bytes()
    for key in ("old/model.safetensors", "new/model.safetensors"):
        await store.write(key, body, crc64nvme=crc64nvme(body))
    kept = bool((await store.head("old/model.safetensors") or pytest.fail("not there")).checksums)
    await store.close()
    plan = Plan.model_construct(stores={"x": spec})
    for first, second in (
        ("s3://checkpoints/old", "s3://checkpoints/new/model.safetensors"),
        ("s3://checkpoints/old/", str(here)),
    ):
        async with (
            await open_side("legacy", first, plan=plan, base=tmp_path, ssh=None) as old,
            await open_side("target", second, plan=plan, base=tmp_path, ssh=None) as new,
        ):
            report = await compare_checkpoints(old, new, Tolerance())
        assert report.verdict == "PASS"
        assert (report.bytes_read[0] < 1000) is kept  # the header only
    with pytest.raises(CheckpointRefused, match="no tensor in it"):
        async with await open_side("legacy", "s3://checkpoints/nothing", plan=plan, base=tmp_path, ssh=None) as empty:
            await compare_checkpoints(empty, empty, Tolerance())
