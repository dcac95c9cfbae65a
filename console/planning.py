"""The planning room: a plan's findings worked down, its cards side by side, its estimate with a what-if, both sides checked live, and what
the plan holds with from what it is known. `cutover plan PLAN` opens it.

It reads the plan's file, again whenever that changes: findings vanish as they are mended in an editor beside it. Nobody is contacted before the
operator asks for the live check, and no engine is needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.strip import Strip
from textual.types import CSSPathType
from textual.widgets import Input

from backends.catalog.estimate import Estimate
from backends.catalog.mapping import Mapped, mapping_of
from backends.live.worklist import Filter
from backends.plan.excerpt import Excerpts
from backends.plan.load import CheckedPlan, check_plan
from backends.plan.models import Plan
from backends.plan.standing import Item, standing
from console.live_view import KEYS, LiveView, look_by_ssh
from console.sheet import Sheet
from console.terminal import Terminal
from console.themed import ThemedApp
from console.what_if import WhatIf, estimated
from themes.palette import Palette
from themes.themes import tcss
from widgets.inventory_list import inventory_counts, inventory_detail, inventory_head, inventory_row
from widgets.listing import cursor_line
from widgets.planning import (
    SEVERITIES,
    WIDEST,
    calendar_lines,
    card_detail,
    card_row,
    cards_head,
    driver_lines,
    estimate_lines,
    factor_row,
    finding_counts,
    finding_detail,
    finding_row,
)
from widgets.row import Row

T = TypeVar("T")

LOOK_SECONDS = 1.0
VIEWS = (("1", "findings"), ("2", "GPUs"), ("3", "estimate"), ("4", "live check"), ("5", "inventory"))
ESTIMATE, LIVE, INVENTORY = 2, 3, 4
_DETAIL = 7
_PAGES = 99  # of what is told of one thing


class PlanningApp(ThemedApp[int]):
    """Views of one plan."""

    TITLE = "cutover"
    CSS_PATH: ClassVar[CSSPathType | None] = [tcss("panels")]
    CSS = """
    Sheet { width: 1fr; padding: 0 1; }
    #head, #foot { height: 1; }
    #filter { height: 1; border: none; padding: 0 1; background: $surface; }
    .-gone { display: none; }
    #body { height: 1fr; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, f"view({i})", name, show=False) for i, (key, name) in enumerate(VIEWS)),
        Binding("tab", "next_view", "next", show=False),
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "move(-10)", "page up", show=False),
        Binding("pagedown", "move(10)", "page down", show=False),
        Binding("left,h,minus", "change(-1)", "less", show=False),
        Binding("right,l,plus", "change(1)", "more", show=False),
        Binding("0", "reset", "the plan's own", show=False),
        Binding("r", "read", "read again", show=False),
        Binding("C", "check", "check both sides", show=False),
        Binding("c", "recheck", "recheck one", show=False),
        Binding("space,enter", "mark", "looked at", show=False),
        Binding("slash", "filter", "filter", show=False),
        Binding("s", "narrow('severity')", "severity", show=False),
        Binding("t", "narrow('side')", "side", show=False),
        Binding("o", "narrow('open')", "open", show=False),
        Binding("escape", "unfilter", "show all", show=False),
        Binding("q", "leave", "leave", show=False),
        Binding("ctrl+q,ctrl+c", "leave", "leave", show=False, priority=True),
    ]

    def __init__(
        self, path: Path, *, terminal: Terminal | None = None, today: date | None = None, live: LiveView | None = None
    ) -> None:
        super().__init__(terminal)
        self.path = path
        self.live = live or LiveView(look_by_ssh)
        self.today = today or datetime.now(UTC).date()
        self.checked: CheckedPlan = check_plan(path)
        self.view = 0 if not self.checked.is_good or self.checked.plan is None else ESTIMATE
        self.cursors = [0] * len(VIEWS)
        self.what_if = WhatIf()
        self.page = 0  # of what is told of the thing under the cursor
        self.top = self._pages = 0  # of the estimate below its factors: the first line shown, and the last one that may be first
        self._seen = _stamp(path)
        self._plan: Plan | None = self.checked.plan  # the last good one: a what-if survives a typing error
        self._mapped: tuple[Mapped, ...] = ()
        self._excerpts = Excerpts(self.checked.text)
        self._items: tuple[Item, ...] = ()
        self._take(self.checked)

    def compose(self) -> ComposeResult:
        yield Sheet(self._head, id="head")
        yield Sheet(self._body, id="body")
        yield Input(id="filter", placeholder="filter: severity, side, host, any word", compact=True, classes="-gone")
        yield Sheet(self._foot, id="foot")

    def on_mount(self) -> None:
        self.query_one("#body").focus()
        self.set_interval(LOOK_SECONDS, self._look, name="the plan's file")

    # The plan

    async def _look(self) -> None:
        """Read the file again where it has changed; the seconds of a check that is under way go on."""
        if self.live.asking:
            self._redraw()
        if await asyncio.to_thread(_stamp, self.path) != self._seen:
            await self.action_read()

    async def action_read(self) -> None:
        self._seen = await asyncio.to_thread(_stamp, self.path)
        self._take(await asyncio.to_thread(check_plan, self.path))
        self._redraw()

    def _take(self, checked: CheckedPlan) -> None:
        self.checked = checked
        self._excerpts = Excerpts(checked.text)
        if checked.plan is not None:
            self._plan = checked.plan
            self._mapped = mapping_of(checked.plan)
        self._items = standing(checked.text)
        for view, things in ((0, checked.problems), (INVENTORY, self._items)):
            self.cursors[view] = max(0, min(self.cursors[view], len(things) - 1))

    def estimated(self) -> Estimate | None:
        """With the what-if as it stands; sizes are those that the plan gives."""
        if self._plan is None:
            return None
        return estimated(self.what_if.of(self._plan), self.today, data=self.what_if.data)

    # What is drawn

    def _head(self, palette: Palette, width: int, height: int) -> list[Strip]:
        name = self._plan.name if self._plan is not None else self.path.name
        row = Row(palette).add("planning", palette.muted).gap().add(name, palette.strong)
        if self._plan is not None:
            row.gap(2).add(self._plan.legacy.provider, palette.legacy).add(f" {palette.glyphs.arrow} ", palette.muted)
            row.add(self._plan.target.provider, palette.target)
        return [row.right(finding_counts(self.checked.problems, palette), width).strip(width)]

    def _foot(self, palette: Palette, width: int, height: int) -> list[Strip]:
        keys = [("q", "leave"), ("r", "read again")]
        if self.view == LIVE:
            keys = [("q", "leave"), *KEYS]
        if self.view == ESTIMATE:
            keys = [
                ("q", "leave"),
                ("<- ->" if self.ascii_only else "← →", "what if"),
                ("0", "the plan's own"),
                ("r", "read again"),
            ]
        wanted = sum(len(key) + len(name) + 3 for key, name in keys)
        named = sum(len(key) + len(name) + 3 for key, name in VIEWS)
        is_short = named + wanted > width  # a view's own keys matter more than the other views' names
        row = Row(palette)
        for i, (key, name) in enumerate(VIEWS):
            row.add(key, palette.accent).gap()
            if i == self.view or not is_short:
                row.add(name, palette.strong if i == self.view else palette.muted).gap(2)
        rest = Row(palette)
        for key, name in keys:  # those that find room, the first ones rather than the last
            more = Row(palette).add(key, palette.accent).gap().add(name, palette.muted).gap(2 if rest.used else 0)
            if row.used + 1 + more.used + rest.used <= width:
                rest = more.join(rest)
        return [row.right(rest, width).strip(width)]

    def _body(self, palette: Palette, width: int, height: int) -> list[Strip]:
        draw = (self._findings, self._cards, self._estimate, self._live, self._inventory)[self.view]
        return draw(palette, width, height)[:height]

    def _findings(self, palette: Palette, width: int, height: int) -> list[Strip]:
        problems = sorted(self.checked.problems, key=lambda p: SEVERITIES.index(p.severity))
        if not problems:
            return [Row(palette).add(f"{palette.glyphs.good} nothing is wrong with {self.path.name}", palette.good).strip(width)]
        room = max(1, height - _DETAIL - 1)
        lines = [cursor_line(finding_row(p, palette, width - 2), here, palette, width) for p, here in self._shown(problems, room)]
        chosen = problems[self.cursors[0]]
        lines += [Strip([])] * (room - len(lines))
        lines.append(Row(palette).add(palette.glyphs.rule * width, palette.track).strip(width))
        return [*lines, *finding_detail(chosen, self._excerpts.line(chosen.line), palette, width, _DETAIL)]

    def _cards(self, palette: Palette, width: int, height: int) -> list[Strip]:
        if self._plan is None:
            return self._without_plan(palette, width)
        width = min(width, WIDEST)
        if not self._mapped:
            return [Row(palette).add("the plan names no workload", palette.muted).strip(width)]
        room = max(1, height - 2 * _DETAIL)
        lines = [cards_head(palette, width)]
        lines += [
            cursor_line(card_row(m, palette, width - 2), here, palette, width) for m, here in self._shown(self._mapped, room)
        ]
        lines.append(Row(palette).add(palette.glyphs.rule * width, palette.track).strip(width))
        chosen = self._mapped[min(self.cursors[1], len(self._mapped) - 1)]
        return [*lines, *card_detail(chosen, palette, width, height - len(lines))]

    def _estimate(self, palette: Palette, width: int, height: int) -> list[Strip]:
        found = self.estimated()
        if found is None or self._plan is None:
            return self._without_plan(palette, width)
        blank = [Strip([])]
        width = min(width, WIDEST)
        factors = [
            factor_row(factor, i == self.cursors[ESTIMATE], palette, width)
            for i, factor in enumerate(self.what_if.factors(self._plan))
        ]
        lines = [*blank, *estimate_lines(found, palette, width), *blank, *calendar_lines(found, palette, width)]
        lines += [*blank, *driver_lines(found, palette, width)]
        room = max(1, height - len(factors))
        self._pages = max(0, len(lines) - room)
        self.top = min(self.top, self._pages)
        shown = lines[self.top : self.top + room]
        if self._pages > self.top:  # the last line says that there are more
            more = f"{palette.glyphs.ellipsis} {len(lines) - self.top - room + 1} more lines, page down shows them"
            shown[-1] = Row(palette).gap(2).add(more, palette.muted).strip(width)
        return [*factors, *shown]

    def _inventory(self, palette: Palette, width: int, height: int) -> list[Strip]:
        if not self._items:
            return [Row(palette).add("the plan names no host, no workload and no store", palette.muted).strip(width)]
        detail = max(_DETAIL, height // 2 - 3)
        room = max(1, height - detail - 3)
        lines = [inventory_counts(self._items, palette, width), inventory_head(palette, width)]
        lines += [
            cursor_line(inventory_row(item, palette, width - 2), here, palette, width)
            for item, here in self._shown(self._items, room)
        ]
        lines.append(Row(palette).add(palette.glyphs.rule * width, palette.track).strip(width))
        item = self._items[self.cursors[INVENTORY]]
        return [*lines, *inventory_detail(item, palette, width, height - len(lines), self.page)]

    def _live(self, palette: Palette, width: int, height: int) -> list[Strip]:
        return self.live.lines(palette, width, height, self._excerpts, is_good=self.checked.is_good)

    def _without_plan(self, palette: Palette, width: int) -> list[Strip]:
        text = "the plan has errors: mend them first, 1 lists them"
        return [Row(palette).add(f"{palette.glyphs.breach} {text}", palette.breach).strip(width)]

    def _shown(self, things: Sequence[T], room: int) -> list[tuple[T, bool]]:
        """As many as fit, the one under the cursor among them."""
        cursor = min(self.cursors[self.view], len(things) - 1)
        top = max(0, min(cursor - room // 2, len(things) - room))
        return [(thing, top + i == cursor) for i, thing in enumerate(things[top : top + room])]

    def _redraw(self) -> None:
        for sheet in self.query(Sheet):
            sheet.redraw()

    # Keys

    def action_view(self, number: int) -> None:
        self.view = number
        self._redraw()

    def action_next_view(self) -> None:
        self.action_view((self.view + 1) % len(VIEWS))

    def action_move(self, step: int) -> None:
        if self.view == LIVE:
            self.live.move(step)
            self._redraw()
            return
        if self.view == ESTIMATE and abs(step) > 1:  # four factors need no pages, what follows from them may
            self.top = max(0, min(self.top + step, self._pages))
            self._redraw()
            return
        self.page = 0
        many = {0: len(self.checked.problems), 1: len(self._mapped), ESTIMATE: 4, INVENTORY: len(self._items)}[self.view]
        self.cursors[self.view] = max(0, min(self.cursors[self.view] + step, many - 1))
        self._redraw()

    def action_change(self, step: int) -> None:
        if self.view == ESTIMATE and self._plan is not None:
            self.what_if = self.what_if.moved(self.cursors[ESTIMATE], step, self._plan)
            self._redraw()
        elif self.view == INVENTORY:
            self.page = max(0, min(self.page + step, _PAGES))
            self._redraw()

    def action_reset(self) -> None:
        self.what_if = WhatIf()
        self._redraw()

    # The live check

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Keys of the live check mean nothing in other views."""
        return self.view == LIVE or action not in ("check", "recheck", "mark", "filter", "narrow", "unfilter")

    def action_check(self) -> None:
        """All of both sides."""
        self._ask(None)

    def action_recheck(self) -> None:
        """What the finding under the cursor came from."""
        chosen = self.live.chosen()
        if chosen is not None:
            self._ask(chosen.found.key)

    def _ask(self, key: str | None) -> None:
        if self.checked.is_good and not self.live.asking:
            self.run_worker(self._asked(key), name="live check", group="live")

    async def _asked(self, key: str | None) -> None:
        self.call_after_refresh(self._redraw)  # by then it has begun, and says so
        await self.live.ask(self.checked, key)
        self._redraw()

    def action_mark(self) -> None:
        self.live.mark()
        self._redraw()

    def action_narrow(self, what: Literal["severity", "side", "open"]) -> None:
        self.live.narrow(what)
        self._redraw()

    def action_filter(self) -> None:
        line = self.query_one("#filter", Input)
        line.remove_class("-gone")
        line.focus()

    def action_unfilter(self) -> None:
        """Back to the list, all of it shown."""
        self.live.filter = Filter()
        self.query_one("#filter", Input).value = ""
        self._end_filter()

    @on(Input.Changed, "#filter")
    def _filtered(self, event: Input.Changed) -> None:
        self.live.filter = replace(self.live.filter, words=event.value)
        self._redraw()

    @on(Input.Submitted, "#filter")
    def _end_filter(self) -> None:
        self.query_one("#filter").add_class("-gone")
        self.query_one("#body").focus()
        self._redraw()

    def action_leave(self) -> None:
        self.exit(0 if self.checked.is_good else 1)


def _stamp(path: Path) -> tuple[int, int, int]:
    """What tells that a file was written again."""
    try:
        found = path.stat()
    except OSError:
        return (0, 0, 0)
    return found.st_ino, found.st_mtime_ns, found.st_size
