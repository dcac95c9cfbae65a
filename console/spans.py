"""Sends only the cells that differ from what the terminal shows: for slow links.

Textual 8.2.8 writes every changed widget again from its left edge (`ChopsUpdate.render_segments` of its compositor):
85-176 kB/s for a live screen. Here each update is cut to its span and compared, cell by cell, with the last frame that
was written. A full update (`LayoutUpdate`: start, resize, another screen, `^L`) is written whole and remembered.

The classes are private to Textual, so this is put in place only for the version it was written for; a test holds the
shape. Elsewhere Textual draws as it does by itself.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any

import textual
from rich.cells import cell_len
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import ChopsUpdate, LayoutUpdate
from textual.strip import Strip

FITS = "8.2.8"
JUMP = 4  # bytes of a step to the right
PIECE = 8  # cells
Cell = tuple[str, str]  # what is shown, how (SGR codes); the second half of a wide sign is ("", how)


class Frame:
    """What the terminal shows, as far as this process wrote it."""

    def __init__(self) -> None:
        self._rows: dict[int, list[Cell | None]] = {}

    def forget(self) -> None:
        """Nothing is known of the terminal any more."""
        self._rows.clear()

    def forget_row(self, y: int) -> None:
        """Nothing is known of this line any more."""
        self._rows.pop(y, None)

    def remember(self, y: int, x: int, cells: Sequence[Cell]) -> None:
        """These cells were written."""
        row = self._row(y, x + len(cells))
        row[x : x + len(cells)] = cells

    def changes(self, y: int, x: int, cells: Sequence[Cell]) -> list[tuple[int, Sequence[Cell]]]:
        """The runs of `cells` that must be written, and from which column; they are remembered."""
        row = self._row(y, x + len(cells))
        old = row[x : x + len(cells)]
        if old == cells:
            return []
        differ: list[int] = []
        for at in range(0, len(cells), PIECE):  # most pieces are as they were: those are compared whole
            if old[at : at + PIECE] != cells[at : at + PIECE]:
                pairs = enumerate(zip(old[at : at + PIECE], cells[at : at + PIECE], strict=True), at)
                differ += [i for i, (was, now) in pairs if was is not now and was != now]
        row[x : x + len(cells)] = cells
        return [(x + start, cells[start:end]) for start, end in _runs(differ, cells)]

    def _row(self, y: int, width: int) -> list[Cell | None]:
        row = self._rows.setdefault(y, [])
        if len(row) < width:
            row.extend([None] * (width - len(row)))
        return row


def _runs(differ: Sequence[int], cells: Sequence[Cell]) -> Iterable[tuple[int, int]]:
    """Joins changed cells that lie near each other, and never begins or ends inside a wide sign."""
    if not differ:
        return
    start = end = differ[0]
    for index in differ[1:]:
        if index - end > 1 and not _is_cheap(cells, end, index):
            yield _whole(start, end + 1, cells)
            start = index
        end = index
    yield _whole(start, end + 1, cells)


def _is_cheap(cells: Sequence[Cell], first: int, last: int) -> bool:
    """Are the cells between these two written again in no more bytes than a jump over them takes?"""
    if last - first > JUMP + 1:
        return False
    how, left = cells[first][1], JUMP
    for text, codes in cells[first + 1 : last]:
        left -= 1 if text.isascii() else len(text.encode())
        if left < 0 or codes != how:
            return False
    return cells[last][1] == how


def _whole(start: int, end: int, cells: Sequence[Cell]) -> tuple[int, int]:
    while start > 0 and not cells[start][0]:
        start -= 1
    while end < len(cells) and not cells[end][0]:
        end += 1
    return start, end


def cells_of(strip: Iterable[Segment], colours: ColorSystem) -> list[Cell]:
    """The cells of a strip. What has no width of its own belongs to the cell before it."""
    cells: list[Cell] = []
    for text, style, control in strip:
        if control:
            continue
        how = _codes(style, colours) if style is not None else ""
        plain = _plain_cells(text, how)
        if plain is not None:
            cells.extend(plain)
            continue
        for char in text:
            _add(cells, char, how)
    return cells


@lru_cache(maxsize=4096)
def _plain_cells(text: str, how: str) -> tuple[Cell, ...] | None:
    """The cells of a text whose every sign is one cell wide; else None."""
    if not text.isascii() and any(cell_len(char) != 1 for char in text):
        return None
    return tuple((char, how) for char in text)


def _add(cells: list[Cell], char: str, how: str) -> None:
    width = cell_len(char)
    if width == 0:
        if cells:
            at = len(cells) - 1
            while at > 0 and not cells[at][0]:
                at -= 1
            cells[at] = (cells[at][0] + char, cells[at][1])
        return
    cells.append((char, how))
    cells.extend([("", how)] * (width - 1))


@lru_cache(maxsize=4096)
def _codes(style: Style, colours: ColorSystem) -> str:
    """SGR codes; a link is kept in front of them, after a NUL."""
    codes = Strip.render_ansi(style, colours)
    return f"{codes}\0{style.link}" if style.link else codes


class Pen:
    """Where the terminal's cursor is and how it writes: what need not be said again. Starts and ends without any look."""

    def __init__(self) -> None:
        self._out: list[str] = []
        self._at: tuple[int, int] | None = None  # None: not known
        self._how = ""

    def write(self, x: int, y: int, cells: Sequence[Cell]) -> None:
        """A run of cells."""
        self._go(x, y)
        for text, codes in cells:
            if codes != self._how:
                self._out.append(_switch(self._how, codes))
                self._how = codes
            self._out.append(text)
        # Terminals count the cells of some signs in their own way: after those the place is said anew.
        is_plain = all(len(text) == 1 for text, _ in cells)
        self._at = (x + len(cells), y) if is_plain else None

    def write_as_is(self, x: int, y: int, text: str) -> None:
        """What somebody else has rendered."""
        self._out += [_switch(self._how, ""), f"\x1b[{y + 1};{x + 1}H", text]
        self._at, self._how = None, ""

    def text(self) -> str:
        """All that was written, the last look ended."""
        return "".join([*self._out, _switch(self._how, "")])

    def _go(self, x: int, y: int) -> None:
        if self._at is not None and self._at[1] == y and x >= self._at[0]:
            step = x - self._at[0]
            self._out.append("" if step == 0 else "\x1b[C" if step == 1 else f"\x1b[{step}C")
        else:
            self._out.append(f"\x1b[{y + 1};{x + 1}H")


@lru_cache(maxsize=4096)
def _switch(old: str, new: str) -> str:
    """From one look to the next: only what differs, since true colours of ink and ground take 40 bytes."""
    if old == new:
        return ""
    before, _, old_link = old.partition("\0")
    after, _, link = new.partition("\0")
    leave = "\x1b]8;;\x1b\\" if old_link and old_link != link else ""
    enter = f"\x1b]8;;{link}\x1b\\" if link and link != old_link else ""
    return f"{leave}{_sgr(before, after)}{enter}"


def _sgr(before: str, after: str) -> str:
    if before == after:
        return ""
    if not after:
        return "\x1b[m"
    (marks, ink, ground), (new_marks, new_ink, new_ground) = _parts(before), _parts(after)
    if not marks <= new_marks:  # bold and the like can only be undone by a reset
        return f"\x1b[0;{after}m"
    changes = sorted(new_marks - marks)
    changes += [new_ink or "39"] if new_ink != ink else []
    changes += [new_ground or "49"] if new_ground != ground else []
    return f"\x1b[{';'.join(changes)}m"


@lru_cache(maxsize=4096)
def _parts(codes: str) -> tuple[frozenset[str], str, str]:
    """Marks (bold, reverse …), ink and ground of SGR codes."""
    marks: list[str] = []
    ink = ground = ""
    left = codes.split(";") if codes else []
    while left:
        number = int(left[0])
        size = {"2": 5, "5": 3}.get(left[1], 1) if number in (38, 48) and len(left) > 1 else 1
        part, left = ";".join(left[:size]), left[size:]
        if number in range(30, 40) or number in range(90, 98):
            ink = part
        elif number in range(40, 50) or number in range(100, 108):
            ground = part
        else:
            marks.append(part)
    return frozenset(marks), ink, ground


_frames: dict[int, Frame] = {}
_plain_full = LayoutUpdate.render_segments
_plain_spans = ChopsUpdate.render_segments


def frame_of(console: Console) -> Frame:
    """The frame of this console's terminal."""
    return _frames.setdefault(id(console), Frame())


def _render_full(update: LayoutUpdate, console: Console) -> str:
    frame = frame_of(console)
    frame.forget()
    colours = _colours(console)
    lines = [[strip for strip in line] for line in update.strips]
    for y, line in enumerate(lines, update.region.y):
        x = update.region.x
        for strip in line:
            cells = cells_of(strip, colours)
            frame.remember(y, x, cells)
            x += len(cells)
    return _plain_full(LayoutUpdate(list(lines), update.region), console)


def _render_spans(update: ChopsUpdate, console: Console) -> str:
    frame, colours, pen = frame_of(console), _colours(console), Pen()
    for y, x1, x2 in update.spans:
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=False):
            if strip is None or x >= x2 or end <= x1:
                continue
            left, right = max(x, x1), min(end, x2)
            cells: Sequence[Cell] = cells_of(strip, colours)
            if len(cells) != end - x:  # signs whose width Rich and we count differently
                frame.forget_row(y)
                pen.write_as_is(left, y, strip.crop(left - x, right - x).render(console))
                continue
            left, right = _whole(left - x, right - x, cells)
            left, cells = left + x, cells[left:right]
            for start, run in frame.changes(y, left, cells):
                pen.write(start, y, run)
    return pen.text()


def _colours(console: Console) -> ColorSystem:
    return console._color_system or ColorSystem.TRUECOLOR


def fits() -> bool:
    """Is this the Textual that the classes were read from?"""
    return textual.__version__ == FITS and {"chops", "spans", "chop_ends"} <= set(ChopsUpdate.__init__.__code__.co_varnames)


def install() -> bool:
    """Put it in place where it fits; says whether it did."""
    if not fits():
        return False
    _set(LayoutUpdate, _render_full)
    _set(ChopsUpdate, _render_spans)
    return True


def remove() -> None:
    """Textual draws by itself again."""
    _set(LayoutUpdate, _plain_full)
    _set(ChopsUpdate, _plain_spans)
    _frames.clear()


def _set(cls: type[Any], function: Any) -> None:
    cls.render_segments = function
