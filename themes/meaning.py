"""What each colour and each glyph means, the same everywhere: screen.md, "Rules of the eye".

Four meanings have a colour and a glyph: good, waiting or unknown, held or late, breach or dead. No state is told by colour
alone, so every glyph has a form for terminals that draw nothing but ASCII.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from backends.snapshot import Health, Level, State
from backends.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One set of signs. Each is one cell wide; `rise` goes from nothing to full, `bar` likewise."""

    good: str
    waiting: str
    held: str
    breach: str
    step: str  # between a name and its state, and before the step that runs
    arrow: str
    back: str
    dot: str
    ellipsis: str
    plus_minus: str
    legacy: str  # a cell of a two-sided bar
    target: str
    track: str  # the part of a bar that is not filled
    gap: str  # a sample that is missing
    bar: str  # nothing .. full, for the last cell of a bar
    rise: str  # lowest .. highest, for sparklines
    heat: str  # idle .. busy
    rule: str
    done: str
    ascii: bool = False

    def of(self, level: Level) -> str:
        """The sign of a meaning."""
        return {
            Level.GOOD: self.good,
            Level.WAITING: self.waiting,
            Level.HELD: self.held,
            Level.BREACH: self.breach,
        }[level]


UNICODE = Glyphs(
    good="✓",
    waiting="?",
    held="!",
    breach="✗",
    step="▸",
    arrow="→",
    back="←",
    dot="·",
    ellipsis="…",
    plus_minus="±",
    legacy="▇",
    target="▄",
    track="▁",
    gap=" ",
    bar="▁▂▃▄▅▆▇",
    rise="▁▂▃▄▅▆▇",
    heat="▁▂▃▄▅▆▇",
    rule="─",
    done="●",
)
ASCII = Glyphs(
    good="+",
    waiting="?",
    held="!",
    breach="x",
    step=">",
    arrow=">",
    back="<",
    dot=".",
    ellipsis="~",
    plus_minus="~",
    legacy="#",
    target="=",
    track=".",
    gap=" ",
    bar=".-=#",
    rise="_.-=*#",
    heat="_.-=*#",
    rule="-",
    done="*",
    ascii=True,
)

# One cell for one cell, so that no width changes.
_TO_ASCII = str.maketrans(
    {
        "→": ">",
        "←": "<",
        "↑": "^",
        "╌": ".",
        "─": "-",
        "▸": ">",
        "…": "~",
        "·": ".",
        "±": "~",
        "–": "-",
        "—": "-",
        "−": "-",
        "✓": "+",
        "✗": "x",
        "≥": ">",
        "≤": "<",
        "×": "x",
        "°": " ",
        "“": '"',
        "”": '"',
        "‘": "'",
        "’": "'",
    }
)


def to_ascii(text: str) -> str:
    """`text` with nothing but ASCII in it; what has no likeness becomes `?`."""
    return text.translate(_TO_ASCII).encode("ascii", "replace").decode("ascii")


def speaks_unicode(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether the terminal's locale says UTF-8, and `CUTOVER_ASCII` does not say otherwise."""
    if environ.get("CUTOVER_ASCII", "") not in ("", "0"):
        return False
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    return "utf-8" in locale.lower() or "utf8" in locale.lower()


def level_of_verdict(verdict: Verdict | None) -> Level:
    """ERROR is held like what is late; INCONCLUSIVE and nothing yet are waiting."""
    if verdict is Verdict.PASS:
        return Level.GOOD
    if verdict is Verdict.BREACH:
        return Level.BREACH
    return Level.HELD if verdict is Verdict.ERROR else Level.WAITING


def level_of_health(health: Health) -> Level:
    """Silence of our own link is unknown, not dead."""
    return {Health.ALIVE: Level.GOOD, Health.DEAD: Level.BREACH, Health.UNKNOWN: Level.WAITING}[health]


def level_of_host(health: str) -> Level:
    """`health` of a host as the probes say it."""
    if health == "live":
        return Level.GOOD
    if health in ("connecting", "unknown"):
        return Level.WAITING
    return Level.HELD if health == "late" else Level.BREACH


_STATES = {
    State.ROLLING_BACK: Level.HELD,
    State.RECONCILING: Level.HELD,
    State.ROLLBACK_BLOCKED: Level.BREACH,
    State.PLANNED: Level.WAITING,
}


def level_of_state(state: State) -> Level:
    """How a state of the migration is coloured."""
    return _STATES.get(state, Level.GOOD)
