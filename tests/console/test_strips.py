"""A line that was drawn is freed when nobody holds it, without the garbage collector."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest
import textual
from hypothesis import given
from hypothesis import strategies as st
from rich.segment import Segment
from textual.strip import Strip

from console import strips


class Watched(Strip):
    """A line that can be seen to go."""


@pytest.fixture
def installed() -> Iterator[None]:
    assert strips.install()
    gc.disable()
    yield
    gc.enable()
    strips.remove()


def is_freed_at_once() -> bool:
    line = Watched([Segment("93.1 %")])
    line.divide([6])
    seen = weakref.ref(line)
    del line
    return seen() is None


def test_a_line_that_was_not_cut_is_freed_at_once(installed: None) -> None:
    assert is_freed_at_once()


def test_without_it_textual_leaves_each_line_to_the_collector() -> None:
    """Where this fails, Textual has mended it: `console.strips` can go."""
    assert not is_freed_at_once()


@given(text=st.text(alphabet="ab 日▇", max_size=12), cuts=st.lists(st.integers(0, 30), max_size=5, unique=True).map(sorted))
def test_it_divides_as_textual_does(text: str, cuts: list[int]) -> None:
    plain = [strip.text for strip in Strip([Segment(text)]).divide(cuts)]
    assert [strip.text for strip in strips._divide(Strip([Segment(text)]), cuts)] == plain


def test_it_fits_the_pinned_textual_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(textual, "__version__", "99.0")
    plain = Strip.divide
    assert not strips.install()
    assert Strip.divide is plain
