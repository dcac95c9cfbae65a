"""The nearest known name to one that is not known: what an operator most likely meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from backends.escape import plain
from backends.listed import listed

_MOST = 8  # names listed where none is near


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, or None where none is near."""
    folded: dict[str, str] = {}
    for candidate in known:
        folded.setdefault(_fold(candidate), candidate)
    close = difflib.get_close_matches(_fold(name[:200]), folded, n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def name_hint(name: str, known: Iterable[str], what: str) -> str:
    """A hint in words: the nearest name, else the known ones. `what` is their plural, such as `hosts`."""
    names = sorted(set(known))
    near = nearest_name(name, names)
    if near is not None:
        return f"did you mean {plain(near, 80)}?"
    if not names:
        return f"the plan has no {what} yet: add one, or leave this out"
    return f"the {what} are {listed([plain(n, 80) for n in names], _MOST)}"


def _fold(name: str) -> str:
    return name.casefold().replace("_", "-")
