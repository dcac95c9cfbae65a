"""The planning room: a plan's findings worked down, its cards side by side, its estimate with a what-if. `cutover plan PLAN` opens it.

It reads the plan's file and nothing else, again whenever the file changes: findings vanish as they are mended in an editor beside it. It
contacts nobody, runs nothing and needs no engine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import ClassVar, TypeVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.strip import Strip
from textual.types import CSSPathType
from textual.widget import Widget

from backends.catalog.egress import egress_of
from backends.catalog.estimate import ASSUMED_RATE, Estimate, estimate
from backends.catalog.estimate import Size as DataSize
from backends.catalog.mapping import Mapped, mapping_of
from backends.plan.excerpt import Excerpts
from backends.plan.load import CheckedPlan, check_plan
from backends.plan.models import Plan
from console.terminal import Terminal
from console.themed import ThemedApp
from themes.palette import Palette, palette_in
from themes.themes import tcss
from widgets.figures import rate
from widgets.listing import cursor_line
from widgets.planning import (
    SEVERITIES,
    WIDEST,
    Factor,
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
VIEWS = (("1", "findings"), ("2", "GPUs"), ("3", "estimate"))
_RATES = (100e6, 200e6, 500e6, 1e9, 2e9, 5e9, 10e9, 25e9, 40e9, 100e9)  # bits a second
_PARALLEL = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_DATA = (0.25, 0.5, 1.0, 2.0, 4.0, 10.0)
_DUAL = (1, 3, 7, 14, 30)  # days
_DETAIL = 7


@dataclass(frozen=True, slots=True)
class WhatIf:
    """None is the plan's own."""

    bandwidth: float | None = None
    parallel: int | None = None
    data: float = 1.0
    dual: float | None = None

    def moved(self, factor: int, step: int, plan: Plan) -> WhatIf:
        """One factor one rung up or down its ladder, from where it stands."""
        if factor == 0:
            return replace(self, bandwidth=_rung(_RATES, self.bandwidth or plan.transfer.bandwidth or ASSUMED_RATE, step))
        if factor == 1:
            return replace(self, parallel=int(_rung(_PARALLEL, self.parallel or plan.transfer.parallel or 16, step)))
        if factor == 2:
            return replace(self, data=_rung(_DATA, self.data, step))
        days = _rung(_DUAL, (self.dual or plan.windows.dual) / 86400, step)
        return replace(self, dual=days * 86400)

    def of(self, plan: Plan) -> Plan:
        """The plan as it would be."""
        transfer = plan.transfer.model_copy(
            update={
                "bandwidth": self.bandwidth or plan.transfer.bandwidth,
                "parallel": self.parallel or plan.transfer.parallel,
            }
        )
        windows = plan.windows.model_copy(update={"dual": self.dual or plan.windows.dual})
        return plan.model_copy(update={"transfer": transfer, "windows": windows})

    def factors(self, plan: Plan) -> tuple[Factor, ...]:
        changed = self.of(plan)
        parallel = changed.transfer.parallel
        return (
            Factor("bandwidth", rate((changed.transfer.bandwidth or ASSUMED_RATE) / 8), self.bandwidth is None),
            Factor("parallel", str(parallel) if parallel else "by latency", self.parallel is None),
            Factor("data", f"x {self.data:g}", self.data == 1.0),
            Factor("dual window", f"{changed.windows.dual / 86400:g} d", self.dual is None),
        )


def _rung(ladder: Sequence[float], now: float, step: int) -> float:
    """The next rung above or below; the ends hold."""
    if step > 0:
        return next((r for r in ladder if r > now * 1.0001), max(ladder[-1], now))
    return next((r for r in reversed(ladder) if r < now * 0.9999), min(ladder[0], now))


class Sheet(Widget, can_focus=True):
    """Lines that the app works out; only those that fit are drawn."""

    ALLOW_SELECT = False

    def __init__(self, lines: Callable[[Palette, int, int], list[Strip]], *, id: str) -> None:
        super().__init__(id=id)
        self._lines = lines
        self._drawn: list[Strip] = []
        self._for: Size | None = None

    def redraw(self) -> None:
        self._for = None
        self.refresh()

    def render_line(self, y: int) -> Strip:
        base = self.visual_style.rich_style
        if self._for != self.size:
            self._drawn = self._lines(palette_in(self.app), self.size.width, self.size.height)
            self._for = self.size
        if y >= len(self._drawn):
            return Strip.blank(self.size.width, base)
        return self._drawn[y].apply_style(base).adjust_cell_length(self.size.width, base)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._for = None


class PlanningApp(ThemedApp[int]):
    """Three views of one plan."""

    TITLE = "cutover"
    CSS_PATH: ClassVar[CSSPathType | None] = [tcss("panels")]
    CSS = """
    Sheet { width: 1fr; padding: 0 1; }
    #head, #foot { height: 1; }
    #body { height: 1fr; }
    """
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(key, f"view({i})", name, show=False) for i, (key, name) in enumerate(VIEWS)),
        Binding("tab", "next_view", "next", show=False, priority=True),
        Binding("up,k", "move(-1)", "up", show=False),
        Binding("down,j", "move(1)", "down", show=False),
        Binding("pageup", "move(-10)", "page up", show=False),
        Binding("pagedown", "move(10)", "page down", show=False),
        Binding("left,h,minus", "change(-1)", "less", show=False),
        Binding("right,l,plus", "change(1)", "more", show=False),
        Binding("0", "reset", "the plan's own", show=False),
        Binding("r", "read", "read again", show=False),
        Binding("q,ctrl+q,ctrl+c", "leave", "leave", show=False, priority=True),
    ]

    def __init__(self, path: Path, *, terminal: Terminal | None = None, today: date | None = None) -> None:
        super().__init__(terminal)
        self.path = path
        self.today = today or datetime.now(UTC).date()
        self.checked: CheckedPlan = check_plan(path)
        self.view = 0 if not self.checked.is_good or self.checked.plan is None else 2
        self.cursors = [0, 0, 0]
        self.what_if = WhatIf()
        self._seen = _stamp(path)
        self._plan: Plan | None = self.checked.plan  # the last good one: a what-if survives a typing error
        self._mapped: tuple[Mapped, ...] = ()
        self._excerpts = Excerpts(self.checked.text)
        self._take(self.checked)

    def compose(self) -> ComposeResult:
        yield Sheet(self._head, id="head")
        yield Sheet(self._body, id="body")
        yield Sheet(self._foot, id="foot")

    def on_mount(self) -> None:
        self.query_one("#body").focus()
        self.set_interval(LOOK_SECONDS, self._look, name="the plan's file")

    # The plan

    async def _look(self) -> None:
        """Read the file again where it has changed."""
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
        self.cursors[0] = max(0, min(self.cursors[0], len(checked.problems) - 1))

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
        if self.view == 2:
            keys = [
                ("q", "leave"),
                ("<- ->" if self.ascii_only else "← →", "what if"),
                ("0", "the plan's own"),
                ("r", "read again"),
            ]
        row = Row(palette)
        for i, (key, name) in enumerate(VIEWS):
            row.add(key, palette.accent).gap().add(name, palette.strong if i == self.view else palette.muted).gap(2)
        rest = Row(palette)
        for key, name in keys:  # those that find room, the first ones rather than the last
            more = Row(palette).add(key, palette.accent).gap().add(name, palette.muted).gap(2 if rest.used else 0)
            if row.used + 1 + more.used + rest.used <= width:
                rest = more.join(rest)
        return [row.right(rest, width).strip(width)]

    def _body(self, palette: Palette, width: int, height: int) -> list[Strip]:
        draw = (self._findings, self._cards, self._estimate)[self.view]
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
        lines = [
            factor_row(factor, i == self.cursors[2], palette, width) for i, factor in enumerate(self.what_if.factors(self._plan))
        ]
        lines += [*blank, *estimate_lines(found, palette, width), *blank, *calendar_lines(found, palette, width)]
        return [*lines, *blank, *driver_lines(found, palette, width)]

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
        many = (len(self.checked.problems), len(self._mapped), 4)[self.view]
        self.cursors[self.view] = max(0, min(self.cursors[self.view] + step, many - 1))
        self._redraw()

    def action_change(self, step: int) -> None:
        if self.view == 2 and self._plan is not None:
            self.what_if = self.what_if.moved(self.cursors[2], step, self._plan)
            self._redraw()

    def action_reset(self) -> None:
        self.what_if = WhatIf()
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


def estimated(plan: Plan, today: date, *, data: float = 1.0) -> Estimate:
    """From next Monday on, by the sizes that the plan gives, `data` times them."""
    sizes = {
        d.name: DataSize(int(d.size * data), int(d.objects * data), "plan")
        for d in plan.datasets
        if d.size is not None and d.objects is not None
    }
    return estimate(plan, sizes, egress=egress_of(plan.legacy), start=today + timedelta(days=7 - today.weekday()))
