"""The step of the newest checkpoint that is complete, by what lies in a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from backends.children import Children
from backends.plan.models import Workload
from backends.ssh.models import SshSettings
from backends.ssh.pool import SshPool
from backends.stores.local import LocalStore
from backends.workloads.base import WorkloadControl, WorkloadError
from backends.workloads.newest import newest_step
from backends.workloads.open import open_workload


def keep(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


async def newest(root: Path, marker: str) -> int | None:
    async with LocalStore("ckpt", root) as store:
        return await newest_step(store, marker)


async def test_a_checkpoint_without_its_marker_is_not_yet_one(tmp_path: Path) -> None:
    keep(tmp_path, "run/checkpoint-900/done", "run/checkpoint-1000/done", "run/checkpoint-1100/model.bin")
    assert await newest(tmp_path, "done") == 1000


async def test_steps_are_numbers_and_not_text(tmp_path: Path) -> None:
    keep(tmp_path, "step-9.complete", "step-10.complete", "v2-step_0011x/a.complete", "no number/b.complete")
    assert await newest(tmp_path, "*.complete") == 11
    assert await newest(tmp_path, "nothing") is None


def control(legacy: Path, target: Path) -> WorkloadControl:
    spec = Workload.model_validate(
        {
            "name": "train",
            "class": "training",
            "quiesce": {"command": ["true"], "checkpoint": {"dataset": "ckpt", "marker": "done"}},
        }
    )
    made = {"legacy": legacy, "target": target}
    opened = open_workload(
        spec,
        SshPool(SshSettings(), []),
        base=legacy,
        children=Children(),
        store_of=lambda _, side: LocalStore("ckpt", made[side]),
    )
    assert opened is not None
    return opened


async def test_each_side_is_asked_by_its_own_store(tmp_path: Path) -> None:
    keep(tmp_path, "old/step-7/done", "old/step-8/done", "new/step-7/done")
    asked = control(tmp_path / "old", tmp_path / "new")
    assert (await asked.step("legacy"), await asked.step("target")) == (8, 7)


async def test_no_checkpoint_and_no_listing_are_errors_and_never_a_step(tmp_path: Path) -> None:
    keep(tmp_path, "old/step-7/model.bin")
    asked = control(tmp_path / "old", tmp_path / "gone")
    with pytest.raises(WorkloadError, match="none holds done"):
        await asked.step("legacy")
    with pytest.raises(WorkloadError, match="could not be listed"):
        await asked.step("target")
