"""What stands in the way and what is lifted: who waits for whom, calendars, overrides, what is proven and signed, what remains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from textual.strip import Strip

from backends.snapshot import Level, Snapshot, State
from backends.verdict import Verdict
from themes.palette import Palette
from widgets.figures import duration, share
from widgets.panel import Panel
from widgets.plan_items import TRIED_FROM, is_missing, is_proven, preflight_level, present_phase, remains_words
from widgets.readiness import HOME
from widgets.row import Row

LABEL = 10


@dataclass(frozen=True, slots=True)
class Standing:
    """One thing: `short` for a line that many share, `long` for a line of its own."""

    label: str
    level: Level | None
    short: str
    long: str


def standings(snapshot: Snapshot) -> list[Standing]:
    """All of them, the most urgent first; what says nothing is left out."""
    found = [*_asked(snapshot), *_lifted(snapshot), *_calendar(snapshot), *_rollback(snapshot)]
    return found + [s for s in (_preflight(snapshot), _checklist(snapshot), _remains(snapshot)) if s is not None]


def _asked(snapshot: Snapshot) -> list[Standing]:
    asked = snapshot.approval
    if asked is None:
        return []
    left, why = duration(asked.seconds_left), f" ({asked.reason})" if asked.reason else ""
    long = f"stands {left} more: {asked.what}, asked by {asked.by}{why}"
    return [Standing("approval", Level.WAITING, f"approval: {left} more", long)]


def _lifted(snapshot: Snapshot) -> list[Standing]:
    return [
        Standing(
            "override",
            Level.HELD,
            f"{o.rule} lifted {duration(o.seconds_left)} more",
            f"{o.rule} is lifted for {duration(o.seconds_left)} more by {o.by}: {o.reason}",
        )
        for o in snapshot.overrides
    ]


def _calendar(snapshot: Snapshot) -> list[Standing]:
    said = snapshot.no_changes
    return [Standing("calendar", Level.HELD, said.partition(" (")[0], said)] if said else []


def _rollback(snapshot: Snapshot) -> list[Standing]:
    """What blocks the way back, or lowers it: one line each, since each has a cure of its own."""
    ready = snapshot.rollback
    if not ready.possible or snapshot.state in (State.PLANNED, *HOME, State.ROLLING_BACK):
        return []
    found = [Standing("rollback", Level.BREACH, "", f"blocked by {reason}") for reason in ready.blocked_by]
    return found + [Standing("rollback", Level.HELD, "", f"lowered by {reason}") for reason in ready.warnings]


def _preflight(snapshot: Snapshot) -> Standing | None:
    items = snapshot.preflight
    if not items:
        return None
    missing = [i for i in items if is_missing(i)]
    waived = sum(bool(i.waived_by) and not is_proven(i) for i in items)
    words = f"{sum(is_proven(i) for i in items)} of {len(items)} proven" + (f", {waived} waived" if waived else "")
    if not missing:
        level = Level.HELD if waived else Level.GOOD
        told = [i.name for i in items if not i.needed and not is_proven(i)]
        return Standing("preflight", level, f"preflight {words}", f"{words}; not needed: {', '.join(told)}" if told else words)
    if snapshot.phase not in TRIED_FROM:
        return Standing("preflight", None, "", f"{words}; the rest is tried in staging")
    level = Level.BREACH if any(i.verdict is Verdict.BREACH for i in missing) else Level.WAITING
    names = ", ".join(i.name for i in sorted(missing, key=lambda i: preflight_level(i) is not Level.BREACH))
    return Standing("preflight", level, f"preflight {words}", f"{words}; not proven: {names}")


def _checklist(snapshot: Snapshot) -> Standing | None:
    now = present_phase(snapshot)
    items = [i for i in snapshot.checklist if i.phase is now]
    if not items:
        return None
    words = f"{sum(bool(i.signed_by) for i in items)} of {len(items)} signed"
    late = [i.name for i in items if i.must and not i.signed_by]
    optional = [i.name for i in items if not i.must and not i.signed_by]
    if late:
        return Standing("checklist", Level.WAITING, f"checklist {words}", f"{words}; {now.value} waits for {', '.join(late)}")
    if optional:
        return Standing("checklist", None, f"checklist {words}", f"{words}; optional: {', '.join(optional)}")
    return Standing("checklist", Level.GOOD, f"checklist {words}", words)


def _remains(snapshot: Snapshot) -> Standing | None:
    if not snapshot.inventory:
        return None
    left = f"{share(snapshot.legacy_left, 0)} left"
    return Standing("remains", None, f"{left} of legacy", f"{left} of {remains_words(snapshot.inventory)}")


def standing_row(standing: Standing, palette: Palette) -> Row:
    """`preflight  ? 9 of 12 proven, 1 waived; not proven: clocks`."""
    glyph = palette.glyphs.of(standing.level) if standing.level is not None else palette.glyphs.dot
    style = palette.of(standing.level) if standing.level is not None else palette.muted
    row = Row(palette).add(standing.label, palette.muted, LABEL).gap().add(f"{glyph} ", style)
    return row.add(standing.long, style if standing.level in (Level.HELD, Level.BREACH) else palette.text)


def standing_line(snapshot: Snapshot, palette: Palette, width: int) -> Strip:
    """All in one line, short; those that do not fit are counted."""
    row = Row(palette).gap()
    told: Sequence[Standing] = [s for s in standings(snapshot) if s.short]
    for i, standing in enumerate(told):
        glyph = palette.glyphs.of(standing.level) if standing.level is not None else palette.glyphs.dot
        style = palette.of(standing.level) if standing.level is not None else palette.muted
        piece = Row(palette).add(f"{glyph} {standing.short}", style)
        gap, more = 3 if i else 0, f"   {len(told) - i} more"
        last = i == len(told) - 1
        if row.used + gap + piece.used + (0 if last else len(more)) > width:
            return row.add(more, palette.muted).strip(width)
        row.gap(gap).join(piece)
    return row.strip(width)


class StandingLine(Panel, can_focus=False):
    """One line of it for the main screen, where that is high enough."""

    DEFAULT_CSS = """
    StandingLine { height: 1; }
    """

    def draw(self, snapshot: Snapshot, palette: Palette, width: int, height: int) -> list[Strip]:
        return [standing_line(snapshot, palette, width)]
