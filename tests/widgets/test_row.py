from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tests.fixtures.snapshots import EVIL, WIDE
from tests.widgets.stage import ASCII_PALETTE, PALETTE, assert_drawable, texts
from widgets.row import Row, fit, wrapped

hostile = st.text(st.characters(), max_size=30) | st.sampled_from((EVIL, WIDE, "🏳️‍🌈", "\x9b31m", "é́́"))


@given(st.lists(hostile, max_size=5), st.integers(0, 40), st.sampled_from((PALETTE, ASCII_PALETTE)))
def test_a_line_is_never_wider_than_it_may_be(pieces: list[str], width: int, palette) -> None:  # type: ignore[no-untyped-def]
    row = Row(palette)
    for piece in pieces:
        row.add(piece)
    assert_drawable([row.strip(width)], width, 1, palette)
    filled = row.strip(width, fill=palette.alarm)
    assert filled.cell_length == width


@given(hostile, st.integers(1, 30), st.sampled_from(("left", "right")))
def test_a_column_has_exactly_its_width(text: str, width: int, align) -> None:  # type: ignore[no-untyped-def]
    assert cell_len(Row(PALETTE).add(text, None, width, align).text()) == width


def test_what_is_cut_ends_in_an_ellipsis() -> None:
    assert fit("legacy", 4) == "leg…"
    assert Row(PALETTE).add("legacy silent").strip(8).text == "legacy …"


@given(hostile, st.integers(1, 30), st.integers(0, 5))
def test_a_wrapped_sentence_keeps_to_its_place(text: str, width: int, height: int) -> None:
    assert_drawable(wrapped(text, width, height, PALETTE), width, height)


def test_markup_in_a_name_is_text() -> None:
    assert texts([Row(PALETTE).add("[bold]x[/]").strip(20)]) == ["[bold]x[/]"]
