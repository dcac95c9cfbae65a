"""Keys that break tools, and sizes at the limit: every object arrives under its own key, or is refused by name."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from backends.escape import plain
from backends.stores.local import LocalStore
from backends.transfer import parts
from backends.transfer.index import Index
from tests.faults.transfer.rig import PART, Rig, assert_same, contents, go, put, rigged, verified
from tests.peers.ministack import MiniStack

LONGEST = "\u00e9" * 508  # 1,016 bytes; the prefix makes it at most 1,024
NO_TREE = ("a//b", "a/./b", "../x", "a/../../x", "/lead", "dir/", "deep/dir/", ".cutover/x", "..", "n" * 300, "a b//c")
ANY = (
    " ", "  ", " lead", "trail ", "new\nline", "cr\rlf\n", "tab\t", "\U0001f6f0\ufe0f", "%2F", "a%2Fb", "100%", "a+b", "a b", "caf\u00e9",
    "cafe\u0301", "q?x=1&y#f", "back\\slash", "[red]b[/red]", "\x1b[31m", "\u202etxt", "~", "c/only/deep", "&amp;<x>", "\x01", "'\"`$(x)",
)  # fmt: skip


@pytest.fixture
def mini_server(mini: MiniStack) -> MiniStack:
    return mini


@pytest_asyncio.fixture
async def flat(mini_server: MiniStack, index: Index) -> AsyncIterator[Rig]:
    """Both stores keep any key as it is: SeaweedFS would rewrite `a//b`."""
    async with rigged(mini_server, index) as made:
        yield made


def objects(*keys: str) -> dict[str, bytes]:
    """Each with bytes of its own; markers and one more are empty."""
    return {key: b"" if key.endswith("/") else f"<{key}>".encode() for key in keys} | {"zero": b""}


async def test_every_key_arrives_between_two_stores_that_hold_it(flat: Rig) -> None:
    long = LONGEST[: (1024 - len(f"{flat.prefix}old/")) // 2]
    wanted = objects(*NO_TREE, *ANY, long)
    await put(flat.old, wanted)
    result = await flat.round()
    assert (result.copied, result.failed, result.lag_objects) == (len(wanted), 0, 0)
    await assert_same(flat.new, wanted)
    assert (await flat.round()).unchanged == len(wanted)
    assert (await flat.verify(re_read=True)).equal == len(wanted)


async def test_large_objects_of_odd_keys_arrive_in_parts(flat: Rig) -> None:
    body = bytes(range(256)) * ((PART + (2 << 20)) // 256)
    wanted = {key: body + key.encode() for key in ("a//b", "../x", "%2F+ \u00e9\n")}
    await put(flat.old, wanted)
    result = await flat.round(parallel=2)
    assert (result.copied, result.failed) == (len(wanted), 0)
    await assert_same(flat.new, wanted)
    assert await flat.new.list_uploads() == []


async def test_a_tree_refuses_by_name_what_would_escape_it_and_takes_the_rest(flat: Rig, tmp_path: Path) -> None:
    refused = [
        "full/",
        *(key for key in NO_TREE if not key.endswith("/")),
    ]  # an empty marker is a folder, which a tree has by itself
    await put(flat.old, objects(*NO_TREE, *ANY) | {"full/": b"bytes"})
    async with LocalStore("tree", tmp_path / "in" / "tree") as tree:
        (tmp_path / "in").mkdir()
        await tree.prepare()
        result = await go(flat.source, tree, flat.index)
        assert sorted(f.key for f in result.failures) == sorted(refused)
        assert all("tree" in f.reason or plain(f.key) in f.reason for f in result.failures)
        await assert_same(tree, objects(*ANY))
        found = await verified(flat.source, tree, flat.index)
        assert sorted(p.key for p in found.problems) == sorted(refused)
    assert sorted(p.name for p in (tmp_path / "in").iterdir()) == ["tree"]
    assert not (tmp_path / "x").exists()
    assert {p.name for p in tmp_path.iterdir()} <= {"in", "index.db", "index.db-wal", "index.db-shm"}


async def test_twins_of_unicode_form_and_case_stay_two(flat: Rig) -> None:
    """aws-cli 1639, rclone 4228: duplicates; mc merges distinct keys."""
    wanted = {"caf\u00e9": b"nfc", "cafe\u0301": b"nfd", "A": b"upper", "a": b"lower", "k/": b"", "k": b"no slash"}
    await put(flat.old, wanted)
    await flat.round()
    await assert_same(flat.new, wanted)
    await put(flat.old, {"cafe\u0301": b"new"})
    assert (await flat.round()).copied == 1
    assert await contents(flat.new) == wanted | {"cafe\u0301": b"new"}


@pytest.fixture
def real_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()


@given(st.integers(0, 5 << 40))
def test_an_object_of_any_size_to_5_tib_has_parts_that_s3_takes(size: int) -> None:
    """As arithmetic: 10,000 parts at most, none over 5 GiB, none but the last under 5 MiB, together the object."""
    chosen = parts.part_size_of(size)
    count = -(-size // chosen)
    assert count <= 10_000
    assert 5 << 20 <= chosen <= 5 << 30
    assert sum(min(chosen, size - start) for start in range(0, size, chosen)) == size


def test_5_tib_has_the_parts_that_it_needs_and_78_gib_the_least() -> None:
    assert parts.part_size_of(5 << 40) * 10_000 >= 5 << 40
