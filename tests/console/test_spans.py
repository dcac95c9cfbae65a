"""Only cells that differ are sent, and the terminal ends up with what Textual drew."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import textual
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.geometry import Region
from textual.strip import Strip

from console import spans
from console.spans import Frame, Pen, cells_of


class Terminal:
    """A terminal that knows what this module writes: moves, steps to the right, and SGR."""

    def __init__(self, width: int, height: int) -> None:
        self.cells = [[(" ", frozenset[str]())] * width for _ in range(height)]

    def take(self, data: str) -> None:
        x = y = 0
        look: dict[str, str] = {}
        for numbers, what, char in re.findall(r"\x1b\[([\d;]*)([HCm])|([^\x1b])", data):
            if what == "H":
                y, x = (int(part) - 1 for part in numbers.split(";"))
            elif what == "C":
                x += int(numbers or 1)
            elif what == "m":
                take_look(look, numbers)
            else:
                width = 2 if char in "日本" else 1
                self.cells[y][x : x + width] = [(char, frozenset(look.values())), ("", frozenset(look.values()))][:width]
                x += width
        assert not look, "the look is ended"


def take_look(look: dict[str, str], numbers: str) -> None:
    """What a terminal does with SGR: marks add up, an ink takes the place of another, 0 ends all."""
    for number in numbers.split(";"):
        kind = "ink" if number.startswith("3") else "ground" if number.startswith("4") and len(number) > 1 else number
        if number in ("", "0"):
            look.clear()
        elif number in ("39", "49"):
            look.pop(kind, None)
        else:
            look[kind] = number


def seen(cells: list[tuple[str, str]]) -> list[tuple[str, frozenset[str]]]:
    """Cells as a terminal shows them."""
    return [(text, frozenset(codes.split(";")) if codes else frozenset()) for text, codes in cells]


RED, BOLD = Style(color="red"), Style(bold=True)
PIECES = st.lists(
    st.tuples(st.text(alphabet="ab .日本▇", min_size=1, max_size=6), st.sampled_from([None, RED, BOLD, RED + BOLD])),
    max_size=6,
)


def row_of(pieces: list[tuple[str, Style | None]], width: int = 40) -> list[tuple[str, str]]:
    strip = Strip([Segment(text, style) for text, style in pieces]).adjust_cell_length(width)
    return cells_of(strip, ColorSystem.STANDARD)


@given(frames=st.lists(PIECES, min_size=1, max_size=6))
@settings(max_examples=80, deadline=None)
def test_the_terminal_shows_what_was_drawn_whatever_was_there(frames: list[list[tuple[str, Style | None]]]) -> None:
    terminal, frame = Terminal(40, 1), Frame()
    for pieces in frames:
        cells = row_of(pieces)
        pen = Pen()
        for x, run in frame.changes(0, 0, cells):
            pen.write(x, 0, run)
        terminal.take(pen.text())
        assert terminal.cells[0] == seen(cells)


def test_the_look_is_said_once_and_only_what_differs_of_it() -> None:
    pen = Pen()
    pen.write(0, 0, [("a", "38;2;1;2;3;48;2;4;5;6"), ("b", "38;2;7;8;9;48;2;4;5;6"), ("c", "1;38;2;7;8;9;48;2;4;5;6")])
    pen.write(9, 0, [("d", "1;38;2;7;8;9;48;2;4;5;6"), ("e", "38;2;7;8;9;48;2;4;5;6")])
    assert pen.text() == (
        "\x1b[1;1H\x1b[38;2;1;2;3;48;2;4;5;6ma\x1b[38;2;7;8;9mb\x1b[1mc\x1b[6Cd\x1b[0;38;2;7;8;9;48;2;4;5;6me\x1b[m"
    )


def test_after_a_sign_whose_width_terminals_differ_on_the_place_is_said_anew() -> None:
    pen = Pen()
    pen.write(0, 0, [("日", ""), ("", "")])
    pen.write(5, 0, [("a", "")])
    assert pen.text() == "\x1b[1;1H日\x1b[1;6Ha"


def test_what_is_the_same_is_not_sent() -> None:
    frame = Frame()
    assert frame.changes(0, 0, row_of([("abc", RED)]))
    assert frame.changes(0, 0, row_of([("abc", RED)])) == []
    ((x, cells),) = frame.changes(0, 0, row_of([("abd", RED)]))
    assert (x, len(cells)) == (2, 1)


def test_what_has_no_width_stays_with_its_cell() -> None:
    cells = cells_of([Segment("日\u0301b")], ColorSystem.STANDARD)
    assert cells == [("日\u0301", ""), ("", ""), ("b", "")]


class FakeConsole:
    """What an update asks of a console."""

    _color_system = ColorSystem.STANDARD


@pytest.fixture
def installed() -> Iterator[FakeConsole]:
    assert spans.install()
    yield FakeConsole()
    spans.remove()


def test_a_partial_update_is_cut_to_its_span(installed: FakeConsole) -> None:
    strip = Strip([Segment("0123456789")])
    update = ChopsUpdate([{0: strip}], [(0, 4, 6)], [[10]])
    assert update.render_segments(installed) == "\x1b[1;5H45"  # type: ignore[arg-type]
    assert update.render_segments(installed) == ""  # type: ignore[arg-type]


def test_a_full_update_is_written_whole_and_remembered(installed: FakeConsole) -> None:
    full = LayoutUpdate([[Strip([Segment("0123456789")])]], Region(0, 0, 10, 1))
    assert "0123456789" in full.render_segments(installed)  # type: ignore[arg-type]
    assert "0123456789" in full.render_segments(installed)  # type: ignore[arg-type]
    update = ChopsUpdate([{0: Strip([Segment("0123x56789")])}], [(0, 0, 10)], [[10]])
    assert update.render_segments(installed) == "\x1b[1;5Hx"  # type: ignore[arg-type]


def test_a_line_that_cannot_be_counted_is_sent_as_textual_would(installed: FakeConsole) -> None:
    odd = Strip([Segment("ab")], cell_length=5)
    update = ChopsUpdate([{0: odd}], [(0, 0, 5)], [[5]])
    assert "ab" in update.render_segments(installed)  # type: ignore[arg-type]
    assert "ab" in update.render_segments(installed)  # type: ignore[arg-type]


def test_it_fits_the_pinned_textual_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    assert spans.fits(), "a new Textual: read its compositor again before FITS is changed"
    monkeypatch.setattr(textual, "__version__", "99.0")
    plain = ChopsUpdate.render_segments
    assert not spans.install()
    assert ChopsUpdate.render_segments is plain
