"""Both curves as a small picture of characters, for a terminal or a ticket: no colours, an ASCII form where needed."""

from __future__ import annotations

import math
from collections.abc import Sequence

Curve = Sequence[tuple[float, float]]
WIDTH, HEIGHT = 60, 10


def draw_curves(legacy: Curve, target: Curve, *, unicode: bool = True) -> list[str]:
    """Lines of the plot: `o` legacy, `x` target (`●`, `×` with Unicode), `*` (`◆`) where they are one on it."""
    marks = ("●", "×", "◆") if unicode else ("o", "x", "*")
    bar, corner, dash = ("│", "└", "─") if unicode else ("|", "+", "-")
    curves = [[p for p in c if math.isfinite(p[1]) and math.isfinite(p[0])] for c in (legacy, target)]
    every = curves[0] + curves[1]
    if len(every) < 2:
        return []
    left, right = min(p[0] for p in every), max(p[0] for p in every)
    low, high = min(p[1] for p in every), max(p[1] for p in every)
    grid = [[" "] * WIDTH for _ in range(HEIGHT)]
    for curve, mark in zip(curves, marks, strict=False):
        for x, y in curve:
            column = round((x - left) / (right - left) * (WIDTH - 1)) if right > left else WIDTH // 2
            row = round((high - y) / (high - low) * (HEIGHT - 1)) if high > low else HEIGHT // 2
            grid[row][column] = mark if grid[row][column] in (" ", mark) else marks[2]
    lines = [f"{_scale(i, low, high):>10} {bar}{''.join(row).rstrip()}" for i, row in enumerate(grid)]
    lines.append(f"{'':>10} {corner}{dash * WIDTH}")
    lines.append(f"{'':>12}{f'{left:.6g}':<{WIDTH // 2}}{f'{right:.6g}':>{WIDTH - WIDTH // 2}}")
    lines.append(f"{'':>12}{marks[0]} legacy  {marks[1]} target  {marks[2]} both")
    return lines


def _scale(row: int, low: float, high: float) -> str:
    if row in (0, HEIGHT - 1):
        return f"{high if row == 0 else low:.5g}"
    return ""
