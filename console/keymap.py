"""Every key of the console, once: bindings, help, palette, foot line and docs/keys.md are made from this table.

Lower-case letters look, capital letters act.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from textual.binding import Binding


class Act(StrEnum):
    """What an operator may do; each is previewed and confirmed."""

    ADVANCE = "advance"
    HOLD = "hold"
    RESUME = "resume"
    ROLLBACK = "rollback"
    EVACUATE = "evacuate"
    APPROVE = "approve"
    OVERRIDE = "override"
    SIGN = "sign"
    SEAT = "seat"


@dataclass(frozen=True, slots=True)
class Key:
    """One key: `shown` is how it is written, `action` the app's action, `act` set where it acts."""

    key: str
    shown: str
    label: str  # at the foot
    action: str
    help: str
    act: Act | None = None


@dataclass(frozen=True, slots=True)
class ScreenName:
    """One of the eight screens."""

    number: int
    mode: str
    title: str
    help: str


SCREENS: tuple[ScreenName, ...] = (
    ScreenName(1, "overview", "overview", "are we safe, is it moving, can I take it back"),
    ScreenName(2, "transfer", "transfer", "every dataset: bytes, objects, rate, lag, proofs, failures"),
    ScreenName(3, "gpus", "GPUs", "every GPU of both providers, side by side"),
    ScreenName(4, "validation", "validation", "what is compared, and both curves"),
    ScreenName(5, "traffic", "traffic", "every route: desired, observed, as its clients see it"),
    ScreenName(6, "hosts", "hosts", "every host: health, driver, CUDA, errors"),
    ScreenName(7, "plan", "plan and gates", "gates by phase, the next step and what refuses it"),
    ScreenName(8, "events", "events", "the journal's last events"),
)

ACTS: tuple[Key, ...] = (
    Key("A", "A", "advance", "act('advance')", "preview one step forward; typing `advance` does it", Act.ADVANCE),
    Key("H", "H", "hold", "act('hold')", "stop forward movement; `y` confirms. Rollback stays possible", Act.HOLD),
    Key("U", "U", "resume", "act('resume')", "lift the hold, or arm anew after a rollback; asks for the reason", Act.RESUME),
    Key("R", "R", "ROLLBACK", "rollback", "preview the rollback; typing the migration's name does it", Act.ROLLBACK),
    Key("E", "E", "evacuate", "evacuate", "legacy is dead: preview moving all to target; typing the name does it", Act.EVACUATE),
    Key("P", "P", "approve", "act('approve')", "preview what another operator asked for; typing `approve` does it", Act.APPROVE),
    Key("O", "O", "override", "act('override')", "lift a rule for a time; typing rule, time and why does it", Act.OVERRIDE),
    Key("S", "S", "sign", "act('sign')", "sign an item of the checklist or waive one of preflight; typing why does it", Act.SIGN),
    Key("T", "T", "seat", "act('seat')", "take the seat: the right to command the engine", Act.SEAT),
)

LOOKS: tuple[Key, ...] = (
    *(Key(str(s.number), str(s.number), s.title, f"look('{s.mode}')", s.help) for s in SCREENS),
    Key("slash", "/", "filter", "filter", "filter the list; Enter keeps the filter, Esc clears it"),
    Key("s", "s", "sort", "sort", "sort the list by the next column"),
    Key("y", "y", "copy", "copy", "copy what is under the cursor to the clipboard (OSC 52)"),
    Key("r", "r", "steps", "steps", "the steps of what runs now, or ran last"),
    Key("question_mark", "?", "help", "help", "the keys of this screen"),
    Key("ctrl+p", "^P", "more", "command_palette", "every action by name, themes too"),
    Key("ctrl+l", "^L", "redraw", "redraw", "draw the whole screen again"),
    Key("q", "q", "leave", "leave", "leave the console; the engine goes on"),
)

MOVES: tuple[tuple[str, str], ...] = (
    ("Tab", "to the next panel or button; Shift+Tab to the one before"),
    ("Enter", "open what is under the cursor; on a button: what its key does, and no more"),
    ("Esc", "back to where you came from"),
    ("↑ ↓ PgUp PgDn", "move in a list; ← → too where it has columns"),
)

KEYS: tuple[Key, ...] = ACTS + LOOKS
BY_ACTION = {key.action: key for key in KEYS}


def bindings() -> list[Binding | tuple[str, str] | tuple[str, str, str]]:
    """The app's bindings. `ctrl+p` is Textual's own."""
    made: list[Binding | tuple[str, str] | tuple[str, str, str]] = [
        Binding(key.key, key.action, key.label, show=False) for key in KEYS if key.key != "ctrl+p"
    ]
    return made
