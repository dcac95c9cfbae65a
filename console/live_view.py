"""The live check in the planning room: both sides asked by a key, its findings worked down one by one.

Nothing is asked before the operator says so. Asked again is what one finding came from, or all.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from textual.strip import Strip

from backends.errors import CutoverError
from backends.live.scope import Scope, scope_of
from backends.live.worklist import Filter, Item, Worklist
from backends.plan.excerpt import Excerpts
from backends.plan.load import CheckedPlan
from backends.plan.problems import Severity
from backends.vocabulary import SideName
from console.commands.transfer_bar import plan_pool
from themes.palette import Palette
from widgets.figures import clock, counted
from widgets.listing import cursor_line, first_shown
from widgets.live_findings import findings_head, live_detail, live_row, said_lines, standing_row
from widgets.row import Row

if TYPE_CHECKING:
    from backends.live.look import Looked

Look = Callable[[CheckedPlan, Scope | None], Awaitable["Looked"]]

KEYS = (
    ("C", "check"),
    ("c", "recheck"),
    ("space", "looked at"),
    ("/", "filter"),
    ("s", "severity"),
    ("t", "side"),
    ("o", "open"),
)
_SEVERITIES: tuple[Severity | None, ...] = (None, "error", "warning", "note")
_SIDES: tuple[SideName | Literal["neither"] | None, ...] = (None, "legacy", "target", "neither")
_DETAIL = 7
_BEFORE = (
    "C asks both sides now: hosts and their GPUs, what runs there and what it needs, ways to the stores, rights on them, routes, images, secrets.",
    "Nothing is changed but one small object in each store that is written to, which is taken away again.",
)


async def look_by_ssh(
    checked: CheckedPlan, scope: Scope | None, ssh_config: str | None = None, known_hosts: str | None = None
) -> Looked:
    """Over connections of its own, closed again."""
    from backends.live.look import look_live  # with all that speaks to stores and routes: for who asks

    assert checked.plan is not None
    async with plan_pool(checked.plan, checked.path.absolute().parent, ssh_config, known_hosts) as pool:
        return await look_live(checked, pool, scope)


class LiveView:
    """What was found, what is shown of it, and what is being asked."""

    def __init__(self, look: Look, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._look, self._now = look, now
        self.worklist = Worklist()
        self.filter = Filter()
        self.looked: Looked | None = None
        self.asking = ""  # what is being asked, in words
        self._began = 0.0
        self._at: datetime | None = None
        self.trouble = ""
        self._cursor = 0
        self._top = 0
        self._key: str | None = None

    # What is shown

    @property
    def shown(self) -> tuple[Item, ...]:
        return self.worklist.shown(self.filter)

    def chosen(self) -> Item | None:
        """The one under the cursor, which stays on its finding while others come and go."""
        shown = self.shown
        if not shown:
            return None
        keys = [item.found.key for item in shown]
        self._cursor = keys.index(self._key) if self._key in keys else max(0, min(self._cursor, len(shown) - 1))
        self._key = keys[self._cursor]
        return shown[self._cursor]

    def move(self, step: int) -> None:
        if self.chosen() is not None:
            self._cursor = max(0, min(self._cursor + step, len(self.shown) - 1))
            self._key = self.shown[self._cursor].found.key

    def narrow(self, what: Literal["severity", "side", "open"]) -> None:
        """The next of the severities, of the sides; open ones alone, or all."""
        by = self.filter
        if what == "severity":
            self.filter = replace(by, severity=_SEVERITIES[(_SEVERITIES.index(by.severity) + 1) % len(_SEVERITIES)])
        elif what == "side":
            self.filter = replace(by, side=_SIDES[(_SIDES.index(by.side) + 1) % len(_SIDES)])
        else:
            self.filter = replace(by, only_open=not by.only_open)

    def mark(self) -> None:
        """Looked at, or open again; the cursor goes on to the next one."""
        chosen = self.chosen()
        if chosen is None:
            return
        after = [item.found.key for item in self.shown[self._cursor + 1 :]]
        self.worklist = self.worklist.marked(chosen.found.key)
        if chosen.standing == "open" and after:
            self._key = after[0]

    # Asking

    async def ask(self, checked: CheckedPlan, key: str | None) -> None:
        """Everything, or what the finding of that key came from. Trouble is told and leaves the list as it is."""
        plan = checked.plan
        if plan is None or self.asking:
            return
        item = next((i for i in self.worklist.items if i.found.key == key), None)
        self.asking = "both sides" if item is None else f"{item.found.problem.code} again"
        self._began, self.trouble = time.monotonic(), ""
        try:
            scope = scope_of(plan, item.found) if item is not None else None
            looked = await self._look(checked, scope)
            at = self._now()
            self.worklist = self.worklist.looked(plan, looked, at, scope)
            if scope is None:
                self.looked, self._at = looked, at
        except CutoverError as error:
            self.trouble = f"{error.message}{f': {error.hint}' if error.hint else ''}"
        finally:
            self.asking = ""

    # Drawn

    def lines(self, palette: Palette, width: int, height: int, excerpts: Excerpts, *, is_good: bool) -> list[Strip]:
        top = [self._said(palette, width, is_good=is_good).strip(width)]
        if self.trouble:
            top += said_lines([(f"{palette.glyphs.breach} {self.trouble}", palette.breach)], palette, width, 2)
        if self.looked is None and not self.worklist.items:
            return [*top, Strip([]), *said_lines([(text, palette.muted) for text in _BEFORE], palette, width, 4)]
        top.append(standing_row(self.worklist, self.filter, palette, width).strip(width))
        chosen, shown = self.chosen(), self.shown
        if chosen is None:
            none = "nothing was found" if not self.worklist.items else "none of them is shown: Esc shows all"
            return [
                *top,
                Strip([]),
                Row(palette).add(none, palette.good if not self.worklist.items else palette.muted).strip(width),
            ]
        detail = _DETAIL if height < 40 else _DETAIL + 5
        room = max(1, height - len(top) - 2 - detail)
        self._top = first_shown(self._top, self._cursor, room, len(shown))
        rows = [*self._rows(shown[self._top : self._top + room], chosen, palette, width)]
        rows += [Strip([])] * (room - len(rows))
        rule = Row(palette).add(palette.glyphs.rule * width, palette.track).strip(width)
        excerpt = excerpts.line(chosen.found.problem.line)
        return [*top, findings_head(palette, width), *rows, rule, *live_detail(chosen, excerpt, palette, width, detail)]

    def _rows(self, shown: Sequence[Item], chosen: Item, palette: Palette, width: int) -> list[Strip]:
        return [cursor_line(live_row(item, palette, width - 2), item is chosen, palette, width) for item in shown]

    def _said(self, palette: Palette, width: int, *, is_good: bool) -> Row:
        row = Row(palette)
        if self.asking:
            row.add(f"{palette.glyphs.waiting} asking {self.asking}", palette.waiting)
            return row.gap().add(f"{time.monotonic() - self._began:.0f} s", palette.muted)
        if not is_good:
            return row.add(f"{palette.glyphs.breach} the plan has errors: mend them first, 1 lists them", palette.breach)
        if self.looked is None or self._at is None:
            return row.add(f"{palette.glyphs.waiting} neither side was asked", palette.waiting)
        found = self.looked
        row.add(f"asked {clock(self._at)}", palette.text).gap(2)
        asked = ", ".join((counted(found.hosts, "host"), counted(found.stores, "store"), counted(found.routes, "route")))
        return row.add(f"{asked} in {found.seconds:.1f} s", palette.muted)
