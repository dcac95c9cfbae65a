from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.stores import tree
from backends.stores.base import PartInfo
from backends.stores.checksum import crc64nvme
from backends.stores.errors import ChecksumRefused, KeyRefused, StoreFull, UploadGone


@pytest.mark.parametrize(
    "key",
    ["", "/a", "a//b", "a/", "./a", "a/../b", "..", "a\0b", ".cutover/x", ".cutover", "x" * 256, "a/" * 2000 + "b", "\ud800"],
)
def test_a_key_that_a_tree_cannot_hold_is_refused(key: str) -> None:
    with pytest.raises(KeyRefused):
        tree.split_key("ckpt", key)


@pytest.mark.parametrize(
    "key", ["a", "a/b/c", "...", "a b", "new\nline", "é", "e\u0301", "raw\udcff", ".hidden", "a/.cutover", "😀"]
)
def test_a_key_that_a_tree_can_hold_is_its_names(key: str) -> None:
    assert "/".join(tree.split_key("ckpt", key)) == key


def test_a_refusal_shows_the_key_without_its_escapes() -> None:
    with pytest.raises(KeyRefused, match=r"\\x1b\[31m") as refused:
        tree.split_key("ckpt", "\x1b[31m/../x")
    assert "\x1b" not in refused.value.message


@given(st.text(max_size=20), st.lists(st.tuples(st.integers(1, 5), st.integers(0, 99), st.integers(0, 99)), max_size=5))
def test_a_log_says_what_was_written_to_it(key: str, lines: list[tuple[int, int, int]]) -> None:
    data = tree.log_head(key) + b"".join(tree.log_line(n, o, s, "ab" * 8) for n, o, s in lines)
    log = tree.parse_log(data)
    assert log is not None
    assert log.key == key
    assert log.parts == {n: (o, PartInfo(n, "ab" * 8, s, "ab" * 8)) for n, o, s in lines}


@given(st.integers(0, 200))
def test_a_log_cut_anywhere_never_tells_more_than_was_there(cut: int) -> None:
    data = tree.log_head("k") + tree.log_line(1, 0, 5, "aa" * 8) + tree.log_line(2, 5, 5, "bb" * 8)
    log = tree.parse_log(data[:cut])
    whole = tree.parse_log(data)
    assert whole is not None
    if log is None:
        assert b"\n" not in data[:cut]
    else:
        assert log.parts.items() <= whole.parts.items()


@given(st.binary(max_size=300))
def test_a_log_of_anything_never_raises(data: bytes) -> None:
    found = tree.parse_log(b'{"key": "k"}\n' + data + b"\n")
    assert found is not None
    assert found.key == "k"


def _log(*parts: tuple[int, int, bytes]) -> tree.UploadLog:
    return tree.UploadLog("k", {n: (o, PartInfo(n, "", len(b), crc64nvme(b))) for n, o, b in parts})


def test_parts_that_join_to_the_object_are_complete() -> None:
    log = _log((1, 0, b"abc"), (2, 3, b"de"))
    parts = [PartInfo(2, "", 2), PartInfo(1, "", 3)]
    tree.check_complete("ckpt", "k", log, parts, 5, crc64nvme(b"abcde"))
    with pytest.raises(ChecksumRefused):
        tree.check_complete("ckpt", "k", log, parts, 5, crc64nvme(b"other"))


@pytest.mark.parametrize(
    ("parts", "size"),
    [
        ([PartInfo(1, "", 3)], 5),  # one lacks
        ([PartInfo(1, "", 3), PartInfo(2, "", 2), PartInfo(3, "", 1)], 6),  # one never came
        ([PartInfo(2, "", 2)], 2),  # a gap
        ([PartInfo(1, "", 4), PartInfo(2, "", 2)], 6),  # another size than arrived
    ],
)
def test_parts_that_lack_something_are_not_complete(parts: list[PartInfo], size: int) -> None:
    log = _log((1, 0, b"abc"), (2, 3, b"de"))
    with pytest.raises(UploadGone):
        tree.check_complete("ckpt", "k", log, parts, size, crc64nvme(b"abcde"))


@pytest.mark.parametrize(
    ("folder", "after", "pruned"),
    [(b"a/", b"b", True), (b"a/", b"a-b", False), (b"a/", b"a/b", False), (b"a/", b"a0", True), (b"b/", b"a", False)],
)
def test_a_folder_is_passed_over_only_when_nothing_in_it_comes_later(folder: bytes, after: bytes, pruned: bool) -> None:
    assert tree.is_whole_pruned(folder, after) is pruned


@pytest.mark.parametrize("upload", ["../../etc/passwd", "upload-", "upload-zz", "", "whole-" + "0" * 24])
def test_an_upload_id_from_elsewhere_names_no_file(upload: str) -> None:
    with pytest.raises(UploadGone):
        tree.checked_upload("ckpt", upload)


def test_names_that_find_out_blindness_are_forgotten_like_single_writes() -> None:
    name, other_case, other_form = tree.probe_names()
    assert tree.is_whole(name)
    assert tree.is_whole(other_form)
    assert name != other_case
    assert name.casefold() == other_case.casefold()
    assert name != other_form
    assert unicodedata.normalize("NFC", other_form) == name


def test_a_log_tells_the_boot_under_which_it_was_begun() -> None:
    log = tree.parse_log(tree.log_head("k", "boot-1"))
    assert log is not None
    assert log.boot == "boot-1"
    old = tree.parse_log(b'{"key": "k"}\n')
    assert old is not None
    assert old.boot == ""


def test_an_object_larger_than_what_is_free_is_refused_with_figures() -> None:
    tree.check_room("ckpt", "k", 5, 5)
    with pytest.raises(StoreFull, match=r"6,000 bytes, and 5,000 are free"):
        tree.check_room("ckpt", "k", 6000, 5000)
