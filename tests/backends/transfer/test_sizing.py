"""What a dataset holds and how fast its way is, looked up without leaving anything behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backends.plan.load import parse_plan
from backends.plan.models import Plan, Store
from backends.stores.base import ObjectInfo
from backends.stores.local import LocalStore
from backends.transfer.sizing import MOST_BYTES, Listed, list_all, place_beside, sample_of
from backends.transfer.sizing_plan import sizes_of

PLAN = """\
version: 1
name: m
legacy: {{provider: a}}
target: {{provider: b}}
stores: {{old: {{url: "file://{0}/old/"}}, new: {{url: "file://{0}/new/"}}}}
datasets: [{{name: d, from: old, to: new, exclude: ["tmp/**"]{1}}}]
"""


def plan(folder: Path, more: str = "") -> Plan:
    found = parse_plan(PLAN.format(folder, more), folder / "plan.yaml").plan
    assert found is not None
    return found


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "old" / "tmp").mkdir(parents=True)
    (tmp_path / "new").mkdir()
    for i in range(300):
        (tmp_path / "old" / f"{i:04}.txt").write_bytes(b"x" * 2000 + os.urandom(1000))
    (tmp_path / "old" / "tmp" / "left-out").write_bytes(b"z" * 10**6)
    return tmp_path


async def test_a_listing_counts_what_would_be_copied(tree: Path) -> None:
    async with LocalStore("old", tree / "old") as store:
        listed = await list_all(store, ("tmp/**",))
    assert (listed.objects, listed.bytes, len(listed.kept)) == (300, 900_000, 300)


async def test_a_trial_copy_gives_a_range_and_leaves_nothing_behind(tree: Path) -> None:
    sizes, measured, failed = await sizes_of(plan(tree), tree, None, listing=True, measure=True)
    assert (sizes["d"].bytes, sizes["d"].objects, sizes["d"].source, failed) == (900_000, 300, "listed", {})
    found = measured["d"]
    assert 0 < found.seconds.low < found.seconds.high
    assert found.objects + 37 == 300, "an eighth went with one stream"
    assert found.single is not None
    assert sorted(p.name for p in tree.iterdir()) == ["new", "old"]
    assert list((tree / "new").iterdir()) == []


async def test_what_a_killed_trial_left_is_removed_by_the_next(tree: Path) -> None:
    left = tree / "new.cutover-estimate"
    left.mkdir()
    (left / "0001.txt").write_bytes(b"half")
    await sizes_of(plan(tree), tree, None, listing=True, measure=True)
    assert not left.exists()


async def test_a_size_that_the_plan_gives_is_taken_without_a_look(tmp_path: Path) -> None:
    spec = plan(tmp_path, ", size: 12 TB, objects: 3000000")
    sizes, measured, _ = await sizes_of(spec, tmp_path, None, listing=True, measure=False)
    assert (sizes["d"].bytes, sizes["d"].objects, sizes["d"].source) == (12 * 10**12, 3_000_000, "plan")
    assert measured == {}


def test_a_sample_is_bounded_and_never_empty() -> None:
    large = [ObjectInfo(f"k{i}", MOST_BYTES + i, None, None) for i in range(5)]
    assert [i.key for i in sample_of(Listed(5, 0, large))] == ["k0"]
    mixed = [*large, *(ObjectInfo(f"s{i}", 1000, None, None) for i in range(1000))]
    chosen = sample_of(Listed(1005, 0, mixed))
    assert len(chosen) == 400
    assert sum(i.size for i in chosen) <= MOST_BYTES
    assert sample_of(Listed()) == []


def test_the_place_of_a_trial_is_beside_the_tree_or_below_a_prefix_of_its_own() -> None:
    assert place_beside(Store(url="s3://b/ckpt/")).url == "s3://b/ckpt.cutover-estimate/"
    assert place_beside(Store(url="s3://b/")).url == "s3://b/.cutover-estimate/"
