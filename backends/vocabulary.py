"""The words of a migration that have a fixed set: sides, states, phases, health, levels."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

SideName = Literal["legacy", "target"]
SIDES: tuple[SideName, SideName] = ("legacy", "target")


class State(StrEnum):
    """The states of a migration (the table is `backends.cutover.states`)."""

    PLANNED = "planned"
    PREPARING = "preparing"
    ARMED = "armed"
    SHIFTING = "shifting"
    SOAKING = "soaking"
    DUAL = "dual"
    COMMITTED = "committed"
    RETIRING = "retiring"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    RECONCILING = "reconciling"
    ROLLBACK_BLOCKED = "rollback_blocked"
    DECOMMISSIONED = "decommissioned"


class Phase(StrEnum):
    """The five phases of every plan."""

    DEVELOPMENT = "development"
    TESTING = "testing"
    STAGING = "staging"
    CUTOVER = "cutover"
    DECOMMISSION = "decommission"


class Health(StrEnum):
    """What we know of a side: silence of our own link is `unknown`, not `dead`."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"


class Level(StrEnum):
    """The four meanings that have a colour and a glyph."""

    GOOD = "good"
    WAITING = "waiting"
    HELD = "held"
    BREACH = "breach"
