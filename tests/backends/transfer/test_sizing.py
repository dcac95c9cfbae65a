"""What a dataset holds and how fast its way is, looked up without leaving anything behind."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backends.plan.load import parse_plan
from backends.plan.models import Plan, Store
from backends.stores.base import ObjectInfo
from backends.stores.local import LocalStore
from backends.transfer.sizing import HEAD, MOST_BYTES, Stratum, list_all, place_beside, sample_of
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
    assert (listed.objects, listed.bytes, len(listed.whole.kept)) == (300, 900_000, 300)


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
    large = [ObjectInfo(f"k{i}", (MOST_BYTES << 10) + i, None, None) for i in range(5)]
    assert len(sample_of(Stratum(5, 0, large))) == MOST_BYTES // HEAD
    small = sample_of(Stratum(1000, 0, [ObjectInfo(f"s{i}", 1 << 20, None, None) for i in range(1000)]))
    assert sum(i.size for i in small) == MOST_BYTES
    assert len(sample_of(Stratum(1000, 0, [ObjectInfo(f"s{i}", 1, None, None) for i in range(1000)]))) == 400
    assert sample_of(Stratum()) == []


@pytest.mark.parametrize("sizes", [[70 << 20], [70 << 20, 90 << 20], [5], [5, 70 << 20, 5]])
async def test_a_trial_of_few_objects_copies_beginnings_of_the_large_ones(tmp_path: Path, sizes: list[int]) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    for i, size in enumerate(sizes):
        with (tmp_path / "old" / f"{i}.bin").open("wb") as file:
            file.truncate(size)
    _, measured, failed = await sizes_of(plan(tmp_path), tmp_path, None, listing=True, measure=True)
    assert failed == {}
    found = measured["d"]
    large = [min(size, HEAD) for size in sizes if size > 100]
    small = [size for size in sizes if size <= 100]
    assert found.bytes == sum(large[1:] or large) + sum(small[1:] or small)
    assert 0 < found.seconds.low < found.seconds.high
    assert sorted(p.name for p in tmp_path.iterdir()) == ["new", "old"]


def test_the_place_of_a_trial_is_beside_the_tree_or_below_a_prefix_of_its_own() -> None:
    assert place_beside(Store(url="s3://b/ckpt/")).url == "s3://b/ckpt.cutover-estimate/"
    assert place_beside(Store(url="s3://b/")).url == "s3://b/.cutover-estimate/"
