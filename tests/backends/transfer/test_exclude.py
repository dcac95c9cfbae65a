"""Which keys a pattern leaves out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import UsageError
from backends.transfer.exclude import excluder


@pytest.mark.parametrize(
    ("pattern", "out", "kept"),
    [
        ("tmp/**", ["tmp/a", "tmp/a/b"], ["tmp", "x/tmp/a", "tmpx/a"]),
        ("*.tmp", ["a.tmp", "x/y/a.tmp", "d.tmp/inside"], ["a.tmpx", "tmp"]),
        ("/top.txt", ["top.txt"], ["a/top.txt"]),
        ("logs/", ["logs/a", "x/logs/a"], ["logs"]),
        ("a/*/c", ["a/b/c", "a/b/c/d"], ["a/b/x/c", "a/c"]),
        ("a/**/c", ["a/c", "a/b/c", "a/b/x/c"], ["c", "b/a/c/d/../x"]),
        ("**/x", ["x", "a/x", "a/b/x"], ["ax"]),
        ("s[0-3]", ["s0", "a/s3"], ["s4", "s/"]),
        ("s[!0-3]", ["s4"], ["s0", "s/"]),
        ("a?c", ["abc"], ["a/c", "ac"]),
        ("x.y", ["x.y"], ["xzy"]),
        ("new\nline", ["new\nline"], ["new"]),
    ],
)
def test_a_pattern_leaves_out_what_it_says(pattern: str, out: list[str], kept: list[str]) -> None:
    left_out = excluder([pattern])
    assert [key for key in out if not left_out(key)] == []
    assert [key for key in kept if left_out(key)] == []


def test_without_patterns_nothing_is_left_out() -> None:
    assert not excluder([])("anything")


@pytest.mark.parametrize("pattern", ["", "/", "!a", "[z-a]"])
def test_a_pattern_that_cannot_be_used_is_told(pattern: str) -> None:
    with pytest.raises(UsageError):
        excluder([pattern])


@given(st.text(st.sampled_from("ab*?[]!^-\\&~|/."), min_size=1, max_size=8), st.text("ab/[-\\", max_size=6))
def test_any_pattern_is_either_told_or_usable(pattern: str, key: str) -> None:
    try:
        left_out = excluder([pattern])
    except UsageError:
        return
    assert left_out(key) in (True, False)
