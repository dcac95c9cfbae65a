"""What happened, the newest first."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from textual.strip import Strip

from backends.snapshot import EventView, Level, Snapshot
from themes.palette import Palette
from widgets.figures import stamp
from widgets.panel import Panel, nothing_yet
from widgets.row import Row

ROUND = "sync.round"  # the kind of a dataset's round that is over
FRESH = 10.0  # seconds for which an event is marked as new


def event_rows(events: Sequence[EventView], now: datetime, palette: Palette, width: int, height: int) -> list[Strip]:
    """A line an event; those of the last seconds are marked. Of good rounds of a dataset the last alone is told: they push out what matters."""
    if not events:
        return nothing_yet("nothing has happened yet", palette, width, height)
    newest = last_rounds(sorted(events, key=lambda e: e.seq, reverse=True))
    return [event_line(e, now, palette, width) for e in newest[:height]]


def last_rounds(newest: Sequence[EventView]) -> list[EventView]:
    """Without the rounds that a later one of the same dataset and way has made old."""
    seen: set[str] = set()
    kept: list[EventView] = []
    for event in newest:
        if event.kind == ROUND and event.level in (None, Level.GOOD):
            whose = event.text.partition(":")[0]
            if whose in seen:
                continue
            seen.add(whose)
        kept.append(event)
    return kept


def event_line(event: EventView, now: datetime, palette: Palette, width: int) -> Strip:
    """`03:11:58 ✓ chat 10 → 25 % confirmed: authority, 3 of 3 resolvers, data plane`."""
    fresh = 0 <= (now - event.at).total_seconds() <= FRESH
    level = event.level
    row = Row(palette).add(stamp(event.at, now), palette.strong if fresh else palette.muted).gap()
    glyph = palette.glyphs.of(level) if level else palette.glyphs.step if fresh else palette.glyphs.dot
    row.add(glyph, palette.of(level) if level else palette.muted).gap()
    loud = level in (Level.HELD, Level.BREACH)
    style = palette.of(level) if loud else palette.strong if fresh else palette.text
    return row.add(event.text, style).strip(width)


class EventsPanel(Panel):
    """The last events."""

    OPENS = "events"
    TITLE = "events"

    def draw(self, snapshot: Snapshot, palette: Palette, width: int, height: int) -> list[Strip]:
        return event_rows(snapshot.events, snapshot.at, palette, width, height)
