"""The five phases on a calendar, and which workload moves when within the cutover. The weeks are the guide's (`docs/planning.md`)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import date, timedelta

from backends.listed import counted
from backends.plan.calendar import is_free, weekly
from backends.plan.models import NoChanges, Plan, Workload
from backends.plan.order import order_of

DAY, WEEK = 86400.0, 7 * 86400.0
WEEKS = (("development", 1, 2), ("testing", 3, 4), ("staging", 5, 8), ("cutover", 9, 12), ("decommission", 13, 16))
_STEPS = 7  # days that a workload's steps take at least
_MOST_WAITED = 366  # days: who never may change anything has no calendar


@dataclass(frozen=True, slots=True)
class Span:
    """A phase on the calendar, both days included."""

    phase: str
    begins: date
    ends: date
    note: str = ""


@dataclass(frozen=True, slots=True)
class Move:
    """When a workload's steps are taken: not before the first day, and by the last one at 100 %, so that those behind it are not held up."""

    workload: str
    after: tuple[str, ...]
    begins: date
    ends: date


def calendar_of(plan: Plan, start: date, transfer: float | None) -> tuple[tuple[Span, ...], tuple[Move, ...]]:
    """The guide's weeks; testing holds the first whole copy of `transfer` seconds, the cutover a week for each of the workloads that move one after
    the other and the dual window after them, decommission the retire window: each lengthens what is too short. No phase is entered and no workload
    begins to move on a day without changes, and a dated period within the cutover is added to it; the guide's weeks have their weekends already."""
    spans: list[Span] = []
    moves: tuple[Move, ...] = ()
    day, periods = start, plan.windows.no_changes
    for phase, first, last in WEEKS:
        days, note = (last - first + 1) * 7, ""
        if phase == "testing" and transfer is not None and transfer / DAY > days - 7:
            days = math.ceil(transfer / DAY) + 7
            note = "lengthened: the data must be there a week before its end"
        if phase == "decommission" and plan.windows.retire / DAY > days:
            days, note = math.ceil(plan.windows.retire / DAY), "lengthened: the retire window"
        told = [note] if note else []
        if phase == "cutover":
            days, moves, told = _cutover(plan, day, days)
        waits = _waits(periods, day + timedelta(days=days)) if phase != "decommission" else 0
        told += [f"{counted(waits, 'day')} more: the next phase is not entered while nothing may be changed"] if waits else []
        days += waits
        spans.append(Span(phase, day, day + timedelta(days=days - 1), "; ".join(told)))
        day += timedelta(days=days)
    return tuple(spans), moves


def _cutover(plan: Plan, begins: date, days: int) -> tuple[int, tuple[Move, ...], list[str]]:
    """How many days it takes, when each workload moves in them, what is to be said of it."""
    periods = plan.windows.no_changes
    dated = tuple(p for p in periods if weekly(p.from_) is None)
    ranks = order_of(plan.workloads).ranks
    turns = max(ranks.values(), default=0) + 1
    dual = math.ceil(plan.windows.dual / DAY)
    steps, told = days - dual, []
    if steps < turns * _STEPS:
        steps = turns * _STEPS
        why = f", and {turns} workloads move one after the other" if turns > 1 else ""
        told.append(f"lengthened: the dual window follows the last step{why}")
    if periods:
        told.append(f"nothing moves from {'; '.join(f'{p.from_} to {p.to} ({p.zone})' for p in periods)}")
    at, frozen, waits = begins, 0, 0
    turn_begins: list[date] = []
    for turn in range(turns):
        waited = _waits(periods, at) if turn else 0
        share = steps * (turn + 1) // turns - steps * turn // turns
        more = _frozen(dated, at + timedelta(days=waited), share)
        turn_begins.append(at + timedelta(days=waited))
        at += timedelta(days=waited + share + more)
        waits, frozen = waits + waited, frozen + more
    moves = _moves(plan.workloads, ranks, [*turn_begins, at]) if turns > 1 else ()
    frozen += _frozen(dated, at, dual)
    told += [f"{counted(frozen, 'day')} more: dated periods without changes"] if frozen else []
    told += [f"{counted(waits, 'day')} more: no workload begins to move while nothing may be changed"] if waits else []
    return steps + dual + frozen + waits, moves, told


def _moves(workloads: tuple[Workload, ...], ranks: dict[str, int], begins: list[date]) -> tuple[Move, ...]:
    """In the order of their days. `begins` has the first day of each turn, and the one after the last."""
    following = {w.name: [other for other in workloads if w.name in other.after] for w in workloads}
    found = []
    for work in workloads:
        until = min((ranks.get(other.name, 0) for other in following[work.name]), default=len(begins) - 1)
        found.append(Move(work.name, work.after, begins[ranks.get(work.name, 0)], begins[until] - timedelta(days=1)))
    return tuple(sorted(found, key=lambda move: (move.begins, move.ends)))


def _frozen(dated: tuple[NoChanges, ...], begins: date, days: int) -> int:
    """Days without changes that a phase of so many working days meets, those that it meets by being longer too."""
    found, at, left = 0, begins, days
    while left and found < _MOST_WAITED:
        is_free_day = is_free(dated, at)
        found, left = (found, left - 1) if is_free_day else (found + 1, left)
        at += timedelta(days=1)
    return found


def _waits(periods: tuple[NoChanges, ...], day: date) -> int:
    """Days until the first on which something may be changed."""
    return next((n for n in range(_MOST_WAITED) if is_free(periods, day + timedelta(days=n))), 0)
