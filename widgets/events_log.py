"""The journal's last words in full, the newest first."""

from __future__ import annotations

from textual.strip import Strip

from backends.snapshot import EventView, Level, Snapshot
from themes.palette import Palette
from widgets.columns import fact
from widgets.events import event_line
from widgets.fitting import WEIGHT
from widgets.listing import Entry, ListPanel
from widgets.row import Row, wrapped


class EventsLog(ListPanel[EventView]):
    """All events that the snapshot carries."""

    TITLE = "events"
    NONE = "nothing has happened yet"
    SORTS = ("time", "level")
    DETAIL = 6

    def entries(self, snapshot: Snapshot) -> list[Entry[EventView]]:
        return [
            Entry(
                key=str(e.seq),
                thing=e,
                search=f"{e.text} {e.kind} {e.actor} {e.level or ''}",
                value=f"{e.at.isoformat()} {e.text}",
                sorts={"time": -e.seq, "level": (-WEIGHT[e.level or Level.GOOD], -e.seq)},
            )
            for e in sorted(snapshot.events, key=lambda e: -e.seq)
        ]

    def entry_row(self, entry: Entry[EventView], palette: Palette, width: int) -> Row:
        assert self.snapshot is not None
        row = Row(palette).add(f"#{entry.thing.seq}", palette.muted, 6, "right").gap()
        for segment in event_line(entry.thing, self.snapshot.at, palette, width - 7):
            row.add(segment.text, segment.style)
        return row

    def detail(self, entry: Entry[EventView], palette: Palette, width: int, height: int) -> list[Strip]:
        event = entry.thing
        when = fact(palette, "at", f"{event.at:%Y-%m-%d %H:%M:%S} UTC, {event.kind}, by {event.actor or '-'}")
        return [when.strip(width), *wrapped(event.text, width, height - 1, palette)]
