"""Textual's lines without circles, so that what was drawn is freed at once.

A line that is not cut is kept by Textual 8.2.8 in a cache of its own (`Strip.divide`): every line that was ever drawn waits for the
garbage collector. Of a large fleet that is thousands of objects a second, a tenth of the console's CPU, and pauses of 50 ms in which a
key waits. Put in place, like `console.spans`, only for the version that it was written for.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from textual.strip import Strip

from console import spans

_plain_divide = Strip.divide


def _divide(strip: Strip, cuts: Iterable[int]) -> Sequence[Strip]:
    wanted = list(cuts)
    return [strip] if wanted == [strip.cell_length] else _plain_divide(strip, wanted)


def install() -> bool:
    """Put it in place where it fits; says whether it did."""
    if not spans.fits():
        return False
    _set(_divide)
    return True


def remove() -> None:
    """Textual divides by itself again."""
    _set(_plain_divide)


def _set(divide: Any) -> None:
    Strip.divide = divide  # type: ignore[method-assign]
