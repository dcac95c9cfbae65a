"""`cutover probe --watch` on a terminal: one frame over the other, as large as the terminal and no larger.

Drawn by the functions of the console's GPU screen: both sides beside each other, each GPU on a line where there is room, else a host, else
several hosts on a line.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from datetime import datetime

from rich.console import Console
from rich.segment import Segment, Segments
from textual.strip import Strip

from backends.snapshot import SIDES, HostView, SideName
from themes.meaning import speaks_unicode
from themes.palette import Palette, palette_of
from widgets.columns import beside
from widgets.figures import counted
from widgets.fleet_map import Form, block_rows, layout_of, trouble_rows
from widgets.gpu_grid import BETWEEN, side_rows
from widgets.row import Row

HOME, TO_LINES_END, TO_SCREENS_END = "\x1b[H", "\x1b[K", "\x1b[J"
MOST_TROUBLES = 4  # lines that are kept at the foot for hosts whose trouble has none above


def frame(hosts: Sequence[HostView], palette: Palette, width: int, height: int, now: str, *, has_sides: bool) -> list[Strip]:
    """At most `height` lines of at most `width` cells; `now` stands in the first."""
    sides = [side for side in SIDES if has_sides and any(host.side == side for host in hosts)]
    blocks = [[host for host in hosts if host.side == side] for side in sides] or [list(hosts)]
    shown: list[SideName] = sides or ["target"]
    column = width if len(blocks) == 1 else (width - BETWEEN) // 2
    gpus = sum(host.together().count for host in hosts)
    head = Row(palette).add(f"{counted(gpus, 'GPU')} on {counted(len(hosts), 'host')}", palette.strong)
    rows = [head.right(Row(palette).add(f"{now}  Ctrl-C ends", palette.muted), width)]
    heads = [side_rows(mine, None, side, palette, column, has_history=False) for side, mine in zip(shown, blocks, strict=True)]
    rows += _joined([(one if sides else one[1:]) for one in heads], palette, width, column)
    room = max(1, height - len(rows))
    layout = layout_of(blocks, column, room)
    kept = min(MOST_TROUBLES, room // 3) if layout.form in (Form.TILES, Form.CELLS) else 0
    under = trouble_rows(hosts, palette, width, kept)
    lines = range(room - len(under) - (layout.form is Form.HOSTS))
    rows += _joined([block_rows(mine, layout, palette, column, lines) for mine in blocks], palette, width, column)
    if layout.form in (Form.GPUS, Form.HOSTS):  # beside each other sides have room for the first words only
        under = [Row(palette), *trouble_rows(hosts, palette, width, height - len(rows) - 1)] if height > len(rows) + 1 else []
    return [row.strip(width) for row in [*rows, *under][:height]]


def _joined(blocks: Sequence[list[Row]], palette: Palette, width: int, column: int) -> list[Row]:
    return blocks[0] if len(blocks) == 1 else beside(blocks[0], blocks[1], palette, width, at=column)


class Watch:
    """Draws on standard output, which is a terminal."""

    def __init__(self, environ: dict[str, str]) -> None:
        self._console = Console(no_color=bool(environ.get("NO_COLOR")))
        self._palette = palette_of({}, ascii_only=not speaks_unicode(environ))
        self._is_first = True

    def draw(self, hosts: Sequence[HostView], *, has_sides: bool) -> None:
        """One frame over the last. The last line stays free, for the cursor and what comes after."""
        columns, lines = shutil.get_terminal_size()
        strips = frame(hosts, self._palette, columns, lines - 1, f"{datetime.now():%H:%M:%S}", has_sides=has_sides)
        with self._console.capture() as drawn:
            for strip in strips:
                self._console.print(Segments([*strip, Segment.line()]), end="", no_wrap=True, crop=False, overflow="ignore")
        text = drawn.get().replace("\n", f"{TO_LINES_END}\n")
        sys.stdout.write(f"{HOME}{TO_SCREENS_END if self._is_first else ''}{text}{TO_SCREENS_END}")
        sys.stdout.flush()
        self._is_first = False
