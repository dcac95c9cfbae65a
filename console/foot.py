"""What stands at the foot: the acts that apply now, then the ways to look. Eight entries at most at 80 columns."""

from __future__ import annotations

from dataclasses import replace

from console.keymap import BY_ACTION, Act, Key
from console.view import View
from widgets.foot import FootEntry
from widgets.plan_items import to_sign

NARROW = 100
ROOMY = 120


def foot_entries(view: View, *, width: int, in_list: bool, signs: bool = False) -> tuple[FootEntry, ...]:
    """The entries of this moment. The acts come first and R ROLLBACK is always among them; an observer is told that none is offered,
    and who does not hold the seat how to take it.

    `signs` where the screen shows what can be signed.
    """
    wide = width >= NARROW
    entries = [FootEntry("observing", "", "", enabled=False, keep=True, note=True)] if view.observe else []
    entries.append(_act(view, "act('advance')", Act.ADVANCE))
    lifts = view.offers(Act.RESUME)
    if not lifts or wide:
        entries.append(_act(view, "act('hold')", Act.HOLD))
    if lifts or wide:
        entries.append(_act(view, "act('resume')", Act.RESUME))
    entries.append(_act(view, "rollback", Act.ROLLBACK))
    waits = view.snapshot is not None and bool(to_sign(view.snapshot, must=True))
    now = _of_the_moment(view, signs=signs or wide or waits)
    entries += now
    takes = not view.holds_seat and not view.observe
    if takes:
        seat = _act(view, "act('seat')", Act.SEAT)
        entries.append(replace(seat, label="take the seat", short="seat", keep=True))
    if width >= ROOMY and view.offers(Act.OVERRIDE):
        entries.append(_act(view, "act('override')", Act.OVERRIDE))
    looks = ["filter"] if in_list else []
    looks += ["sort"] if in_list and (wide or not (now or takes or view.observe)) else []
    looks += ["copy"] if wide else []
    if wide or not (in_list or now or takes or view.observe):
        entries.append(FootEntry("1-8", "screens", "command_palette", True, False))
    entries += [_look(BY_ACTION[action]) for action in (*looks, "help", "command_palette", "leave")]
    return tuple(entries)


def _of_the_moment(view: View, *, signs: bool) -> list[FootEntry]:
    """Acts that few moments offer: they are told where they do, and never left out."""
    wanted = [("evacuate", Act.EVACUATE), ("act('approve')", Act.APPROVE)]
    if signs:
        wanted.append(("act('sign')", Act.SIGN))
    return [replace(_act(view, action, act), keep=True) for action, act in wanted if view.offers(act)]


def _act(view: View, action: str, act: Act) -> FootEntry:
    key = BY_ACTION[action]
    return FootEntry(key.shown, key.label, action, view.offers(act), act is Act.ROLLBACK)


def _look(key: Key) -> FootEntry:
    return FootEntry(key.shown, key.label, key.action, True, False, keep=key.action in ("help", "command_palette", "leave"))
