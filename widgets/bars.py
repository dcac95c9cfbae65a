"""Bars and sparklines in one style: cells filled to seven eighths at most, so that lines of them stay apart."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.style import Style

from themes.palette import Palette
from widgets.row import Row

Samples = Sequence[float | None]


def bar(palette: Palette, fraction: float | None, width: int, style: Style) -> Row:
    """A bar filled to `fraction`; not known is all blank track, anything above nothing shows."""
    row = Row(palette)
    glyphs = palette.glyphs
    if width <= 0:
        return row
    if fraction is None or not math.isfinite(fraction):
        return row.add(glyphs.gap * width if fraction is None else glyphs.track * width, palette.track)
    filled = min(1.0, max(0.0, fraction)) * width
    whole = int(filled)
    part = filled - whole
    steps = glyphs.bar
    row.add(steps[-1] * whole, style)
    if whole < width and (part > 0.06 or (fraction > 0 and whole == 0)):
        row.add(steps[min(len(steps) - 2, max(1, round(part * (len(steps) - 1))))], style)
        whole += 1
    return row.add(glyphs.track * (width - whole), palette.track)


def split_bar(palette: Palette, target: float | None, width: int) -> Row:
    """Who serves: legacy's part on the left, target's on the right, each with its own sign. Neither vanishes before it is 0."""
    row = Row(palette)
    glyphs = palette.glyphs
    if width <= 0:
        return row
    if target is None:
        return row.add(glyphs.track * width, palette.stale)
    part = min(1.0, max(0.0, target))
    cells = round(part * width)
    if 0 < part < 1 and width > 1:
        cells = min(width - 1, max(1, cells))
    return row.add(glyphs.legacy * (width - cells), palette.legacy).add(glyphs.target * cells, palette.target)


def sparkline(palette: Palette, samples: Samples, width: int, style: Style, *, top: float | None = None) -> Row:
    """The newest samples, one a cell, newest on the right. A missing sample is a gap, never a flat line.

    The scale runs from the lowest to the highest that is seen; with `top` from 0 to there (what is above is full).
    """
    row = Row(palette)
    if width <= 0:
        return row
    recent = list(samples)[-width:]
    seen = [s for s in recent if s is not None and math.isfinite(s)]
    low, high = (0.0, top) if top else (min(seen, default=0.0), max(seen, default=0.0))
    row.gap(width - len(recent))
    return row.add("".join(_cell(palette, s, low, high) for s in recent), style)


def _cell(palette: Palette, sample: float | None, low: float, high: float) -> str:
    glyphs = palette.glyphs
    if sample is None:
        return glyphs.gap
    if not math.isfinite(sample):
        return glyphs.breach
    steps = glyphs.rise
    span = high / 2 - low / 2  # halves: the difference of two large numbers would overflow
    if span <= 0:
        return steps[0 if sample <= low else -1]
    part = min(1.0, max(0.0, (sample / 2 - low / 2) / span))
    return steps[min(len(steps) - 1, int(part * len(steps)))]


def heat(palette: Palette, fraction: float | None, steps: str = "") -> str:
    """One GPU as one cell, by how busy it is, in these signs or in all there are."""
    steps = steps or palette.glyphs.heat
    if fraction is not None and 0.0 <= fraction < 1.0:  # asked of thousands a second
        return steps[int(fraction * len(steps))]
    if fraction is None or not math.isfinite(fraction):
        return "-"
    return steps[min(len(steps) - 1, max(0, int(fraction * len(steps))))]
