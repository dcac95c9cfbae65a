"""What stands at the foot: the acts that apply now, then the ways to look. Seven entries at most at 80 columns."""

from __future__ import annotations

from console.keymap import BY_ACTION, Act, Key
from console.view import View
from widgets.foot import FootEntry

NARROW = 100


def foot_entries(view: View, *, width: int, in_list: bool) -> tuple[FootEntry, ...]:
    """The entries of this moment. The acts come first and R ROLLBACK is always among them."""
    wide = width >= NARROW
    entries = [_act(view, "act('advance')", Act.ADVANCE)]
    lifts = view.offers(Act.RESUME)
    if not lifts or wide:
        entries.append(_act(view, "act('hold')", Act.HOLD))
    if lifts or wide:
        entries.append(_act(view, "act('resume')", Act.RESUME))
    entries.append(_act(view, "rollback", Act.ROLLBACK))
    if not view.holds_seat and not view.observe and wide:
        entries.append(_act(view, "act('seat')", Act.SEAT))
    looks = ["filter"] if in_list else []
    if wide:
        looks += ["sort", "copy"] if in_list else ["copy"]
    if wide or not in_list:
        entries.append(FootEntry("1-8", "screens", "command_palette", True, False))
    entries += [_look(BY_ACTION[action]) for action in (*looks, "help", "command_palette", "leave")]
    return tuple(entries)


def _act(view: View, action: str, act: Act) -> FootEntry:
    key = BY_ACTION[action]
    return FootEntry(key.shown, key.label, action, view.offers(act), act is Act.ROLLBACK)


def _look(key: Key) -> FootEntry:
    return FootEntry(key.shown, key.label, key.action, True, False)
