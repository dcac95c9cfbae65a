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
from console.spans import Frame, cells_of, written


class Terminal:
    """A terminal that knows what this module writes: moves and SGR."""

    def __init__(self, width: int, height: int) -> None:
        self.cells = [[(" ", "")] * width for _ in range(height)]

    def take(self, data: str) -> None:
        x = y = 0
        how = ""
        for move, sgr, char in re.findall(r"\x1b\[(\d+;\d+)H|\x1b\[([\d;]*)m|([^\x1b])", data):
            if move:
                y, x = (int(part) - 1 for part in move.split(";"))
            elif char:
                width = 2 if char in "日本" else 1
                self.cells[y][x : x + width] = [(char, how), ("", how)][:width]
                x += width
            else:
                how = "" if sgr in ("", "0") else sgr.removeprefix("0;")


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
        for x, run in frame.changes(0, 0, cells):
            terminal.take(written(x, 0, run))
        assert terminal.cells[0] == cells


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
