"""Which side serves: what is done by itself when a side is dead or cannot be seen (cutover.md, section 3). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from backends.vocabulary import Health

Exposure = Literal["none", "some", "all"]
Action = Literal["plan", "hold", "tell", "rollback", "blocked"]


@dataclass(frozen=True, slots=True)
class Decision:
    """`plan`: go on by plan. `rollback`: emergency, by itself. `blocked`: legacy is dead, target goes on serving."""

    action: Action
    words: str = ""


_A, _D, _U = Health.ALIVE, Health.DEAD, Health.UNKNOWN

_TABLE: dict[tuple[Health, Health], tuple[Decision, Decision, Decision]] = {
    (_A, _A): (Decision("plan"), Decision("plan"), Decision("plan")),
    (_A, _U): (
        Decision("hold", "target cannot be seen"),
        Decision("hold", "target cannot be seen: rollback by hand is possible at once"),
        Decision("hold", "target cannot be seen: rollback by hand is possible at once"),
    ),
    (_A, _D): (
        Decision("hold", "target is dead"),
        Decision("rollback", "target is dead"),
        Decision("rollback", "target is dead"),
    ),
    (_U, _A): (
        Decision("hold", "legacy cannot be seen"),
        Decision("hold", "legacy cannot be seen: rollback needs --accept-unknown"),
        Decision("hold", "legacy cannot be seen; target goes on serving"),
    ),
    (_D, _A): (
        Decision("tell", "legacy is dead, and its clients with it"),
        Decision("hold", "legacy is dead: its clients are failing; target is alive"),
        Decision("blocked", "legacy is dead: rollback is blocked; target goes on serving"),
    ),
    (_U, _D): (
        Decision("tell", "legacy cannot be seen and target is dead"),
        Decision("hold", "target is dead and legacy cannot be seen: rollback with --accept-unknown loses nothing"),
        Decision("hold", "target is dead and legacy cannot be seen: rollback with --accept-unknown loses nothing"),
    ),
}
_BOTH = Decision("hold", "neither side is alive: nothing moves by itself")


def decide(legacy: Health, target: Health, exposure: Exposure) -> Decision:
    """What the engine does by itself at this exposure of the target."""
    row = _TABLE.get((legacy, target))
    if row is None:
        return _BOTH
    return row[("none", "some", "all").index(exposure)]
