"""Figures as people read them."""

from __future__ import annotations

import math


def percent(fraction: float, *, signed: bool = False) -> str:
    """0.0031 -> `0.31 %`, three digits that count."""
    text = f"{fraction * 100:{'+' if signed else ''}.3g}"
    if "e" in text and math.isfinite(fraction):
        text = f"{fraction * 100:{'+' if signed else ''}.0f}" if abs(fraction) > 1 else f"{0:{'+' if signed else ''}}"
    return f"{text} %"


def number(value: float | None) -> str:
    """A figure of a log as people read it: whole numbers whole, else six digits."""
    if value is None:
        return "-"
    if math.isfinite(value) and value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}.get(f"{value:.6g}", f"{value:.6g}")


def figure(value: float, beside: float | None = None) -> str:
    """A measured figure as people read it: four digits that count, no exponent where it is large, more digits where it would otherwise look
    like the one `beside` it."""
    for digits in (4, 5):
        text = _rounded(value, digits)
        if beside is None or value == beside or text != _rounded(beside, digits):
            return text
    return number(value)


def _rounded(value: float, digits: int) -> str:
    if not math.isfinite(value) or value == 0 or abs(value) >= 1e15:
        return number(value)
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return number(round(value, places) if places > 0 else round(value))
