"""A small app that shows panels as the console does, and what tests ask of drawn lines."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

from rich.cells import cell_len
from textual.app import App, ComposeResult
from textual.strip import Strip
from textual.widget import Widget

from backends.snapshot import Snapshot
from themes.palette import Palette, palette_of
from themes.themes import DARK, THEMES, VARIABLE_DEFAULTS, tcss
from widgets.foot import FootBar, FootEntry
from widgets.overview import Overview

ENTRIES = (
    FootEntry("A", "advance", "advance"),
    FootEntry("H", "hold", "hold"),
    FootEntry("R", "ROLLBACK", "rollback", danger=True),
    FootEntry("1-8", "screens", "screens"),
    FootEntry("/", "filter", "filter", enabled=False),
    FootEntry("?", "help", "help", keep=True),
    FootEntry("^P", "more", "palette"),
    FootEntry("q", "leave", "quit", keep=True),
)
PALETTE = palette_of(DARK.variables)
ASCII_PALETTE = palette_of(DARK.variables, ascii_only=True)


class Stage(App[None]):
    """Shows some widgets under the project's themes."""

    AUTO_FOCUS = None
    CSS_PATH = [tcss("panels"), tcss("main")]  # noqa: RUF012
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (160, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-short"), (34, "-tall"), (50, "-huge")]  # noqa: RUF012

    def __init__(self, *shown: Widget, theme: str = "cutover-dark", ascii_only: bool = False) -> None:
        super().__init__(ansi_color=True if theme == "cutover-16" else None)
        for known in THEMES:
            self.register_theme(known)
        self.ascii_only = ascii_only
        self.theme = theme
        self.shown = shown
        self.heard: list[object] = []
        if ascii_only:
            self.add_class("-ascii")

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return VARIABLE_DEFAULTS

    def compose(self) -> ComposeResult:
        yield from self.shown


def main_screen(snapshot: Snapshot | None, theme: str = "cutover-dark", *, ascii_only: bool = False) -> Stage:
    """The main screen with its foot, showing this moment."""
    overview, foot = Overview(), FootBar()
    foot.entries = ENTRIES
    overview.snapshot = snapshot
    return Stage(overview, foot, theme=theme, ascii_only=ascii_only)


def texts(lines: Iterable[Strip]) -> list[str]:
    """Drawn lines without styles."""
    return [line.text for line in lines]


def assert_drawable(lines: list[Strip], width: int, height: int, palette: Palette = PALETTE) -> None:
    """No line too wide, not too many, nothing in them that a terminal would act on."""
    assert len(lines) <= max(0, height)
    for line in lines:
        assert line.cell_length == cell_len(line.text) <= width, line.text
        assert not [c for c in line.text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")], ascii(line.text)
        if palette.glyphs.ascii:
            assert line.text.isascii(), line.text
