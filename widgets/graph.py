"""A filled graph of samples: braille dots, two samples a cell and four steps a line; in ASCII one sample a cell. A sample that is
missing is a gap."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.style import Style

from themes.palette import Palette
from widgets.row import Row

Samples = Sequence[float | None]
_LEFT = (0x00, 0x40, 0x44, 0x46, 0x47)  # the lowest so many dots of a column of braille
_RIGHT = (0x00, 0x80, 0xA0, 0xB0, 0xB8)


def joined(samples: Samples, most: int, count: int = 0) -> list[float | None]:
    """At most so many samples: neighbours become their mean. `count`: how many there ever were, so that with each new sample only the
    newest mean changes. What holds no sample is missing."""
    if most <= 0 or not samples:
        return []
    each = -(-len(samples) // most)
    if each == 1:
        return list(samples)
    groups: dict[int, list[float]] = {}
    first = max(count, len(samples)) - len(samples)
    for i, sample in enumerate(samples, first):
        group = groups.setdefault(i // each, [])
        if sample is not None and math.isfinite(sample):
            group.append(sample)
    return [sum(group) / len(group) if group else None for group in groups.values()][-most:]


def graph_rows(
    samples: Samples, palette: Palette, width: int, height: int, style: Style, *, low: float, high: float, count: int = 0
) -> list[Row]:
    """So many lines, the newest sample on the right. Everything known shows at least a dot."""
    across, each = (1, len(palette.glyphs.rise)) if palette.glyphs.ascii else (2, 4)
    kept = joined(samples, width * across, count)
    columns: list[float | None] = [*[None] * (width * across - len(kept)), *kept]
    levels = [_level(sample, low, high, height * each) for sample in columns]
    rows = []
    for line in range(height):
        over = [max(0, min(each, level - (height - 1 - line) * each)) for level in levels]
        if palette.glyphs.ascii:
            text = "".join(palette.glyphs.rise[level - 1] if level else " " for level in over)
        else:
            text = "".join(_cell(left, right) for left, right in zip(over[::2], over[1::2], strict=True))
        rows.append(Row(palette).add(text, style))
    return rows


def _level(sample: float | None, low: float, high: float, steps: int) -> int:
    if sample is None or not math.isfinite(sample):
        return 0
    part = (sample - low) / (high - low) if high > low else 1.0
    return max(1, min(steps, round(part * steps)))


def _cell(left: int, right: int) -> str:
    bits = _LEFT[left] | _RIGHT[right]
    return chr(0x2800 + bits) if bits else " "
