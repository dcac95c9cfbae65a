"""Both curves and their difference in the band that is allowed, for a terminal or a ticket: as the console draws them, without colours."""

from __future__ import annotations

from collections.abc import Sequence

from themes.palette import palette_of
from themes.themes import DARK
from widgets.delta import delta_band
from widgets.plot import finite, overlaid

Curve = Sequence[tuple[float, float]]
WIDTH, HEIGHT, BAND = 78, 11, 5


def draw_curves(
    legacy: Curve, target: Curve, deltas: Curve = (), *, tolerance: float = 0.0, by: str = "", unicode: bool = True
) -> list[str]:
    """Lines of the plot, legacy dashed and target drawn through; below them the `deltas` with the lines of what is allowed."""
    palette = palette_of(DARK.variables, ascii_only=not unicode)
    lines = overlaid(legacy, target, palette, WIDTH, HEIGHT, by)
    places = [x for x, _ in (*finite(legacy), *finite(target))]
    if lines and deltas and max(places) > min(places):
        lines += delta_band(sorted(deltas), (min(places), max(places)), tolerance, palette, WIDTH, BAND)
    return [line.text.rstrip() for line in lines]
