"""All GPUs, legacy left and target right, hosts grouped: each GPU where there is room, a heat map where there are many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.strip import Strip

from backends.snapshot import SIDES, HostView, SideName, SideView, Snapshot
from themes.meaning import level_of_host
from themes.palette import Palette
from widgets.bars import bar, sparkline
from widgets.columns import beside
from widgets.figures import age, is_late, power, share
from widgets.fleet_map import Form, Layout, block_rows, degrees, ink_of, layout_of, level_of, trouble_rows
from widgets.gpus import SideFigures, health_row, side_figures
from widgets.hosts_table import gpu_words, host_entries
from widgets.listing import ORDER_OF_PLAN, Entry, ListPanel, first_shown
from widgets.panel import nothing_yet
from widgets.row import Row

Sides = dict[SideName, list[Row]]
BETWEEN = 3  # cells between the sides
HIGH = 26  # lines from which there is room for history and blanks
AT_ONCE = 12  # lines of a map that are drawn anew in one frame
TURN = 0.08  # seconds to the next of them: a link of 1 Mbit/s has sent them by then


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the map as it was last drawn: of which snapshot, with the cursor at which place of either side."""

    snapshot: Snapshot | None
    places: tuple[int | None, ...]
    strip: Strip


def side_rows(
    hosts: Sequence[HostView], view: SideView | None, side: SideName, palette: Palette, width: int, *, has_history: bool
) -> list[Row]:
    """What one side's GPUs do together, in three lines; in four with their history."""
    figures = side_figures(hosts, side)
    where = " ".join(part for part in ((view.provider, view.region or "") if view else ()) if part)
    first = Row(palette).add(side, palette.side(side) + palette.strong).gap(2)
    watts = Row(palette).add(power(figures.power_w, figures.power_limit_w), palette.text)
    first.add(where, palette.muted, min(len(where), max(0, width - first.used - watts.used - 2))).right(watts, width)
    rows = [first, _use(figures, side, palette, width), health_row(figures, palette, width)]
    style = palette.stale if figures.age is not None else palette.side(side)
    return [*rows, sparkline(palette, figures.history, width, style, top=1.0)] if has_history else rows


def _use(figures: SideFigures, side: SideName, palette: Palette, width: int) -> Row:
    style = palette.stale if figures.age is not None else palette.side(side)
    words = Row(palette).add(share(figures.utilization, 0), palette.strong, 6, "right").gap(2).add("memory ", palette.muted)
    words.add(share(figures.memory, 0), palette.text, 4, "right").gap(2).add(
        degrees(figures.temperature_c), palette.text, 6, "right"
    )
    return bar(palette, figures.utilization, max(3, width - words.used), style).join(words)


def cursor_rows(host: HostView, palette: Palette, width: int, height: int) -> list[Row]:
    """The host under the cursor: what it is, what is wrong, each GPU's utilisation."""
    level = level_of(host)
    row = Row(palette).add(f"{palette.glyphs.of(level)} {host.name}", palette.of(level)).gap(2)
    row.add(host.health, palette.of(level_of_host(host.health))).gap(2)
    if is_late(host.age, host.period):
        row.add(age(host.age), palette.held).gap(2)
    for word in (gpu_words(host), f"driver {host.driver or '-'}", f"CUDA {host.cuda or '-'}", host.source, host.address):
        row.also(Row(palette).add(word, palette.muted), width, 0).gap(2 if word else 0)
    words = [host.error or "", *(f"GPU {index}: {alarm}" for index, alarm in host.together().alarms), *host.alarms]
    rows = [row, *(Row(palette).add(word, palette.of(level), width) for word in words if word)]
    return [*rows[:height], *([_uses(host, palette, width)] if len(rows) < height else [])]


def _uses(host: HostView, palette: Palette, width: int) -> Row:
    uses = host.together().utilizations
    row = Row(palette)
    style = palette.stale if is_late(host.age, host.period) else palette.text
    cells = min(10, max(0, width // max(1, len(uses)) - 11))
    for index, use in enumerate(uses):
        piece = Row(palette).add(str(index), palette.muted, 2, "right").gap()
        piece.join(bar(palette, use, cells, ink_of(host, palette))).add(share(use, 0), style, 5, "right")
        row.also(piece, width, 1)
    return row


class GpuGrid(ListPanel[HostView]):
    """GPUs of both sides. The cursor goes over hosts, in both columns."""

    TITLE = "GPUs"
    NONE = "no hosts in this plan"
    COUNTS = "host"
    SORTS = (ORDER_OF_PLAN, "health", "busy", "idle", "hottest", "memory", "name")
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("left,h", "aside(-1)", "left", show=False),
        Binding("right,l", "aside(1)", "right", show=False),
    ]

    def __init__(
        self, *, id: str | None = None, classes: str | None = None, name: str | None = None, disabled: bool = False
    ) -> None:
        super().__init__(id=id, classes=classes, name=name, disabled=disabled)
        self._layout = Layout(Form.HOSTS)
        self._made: tuple[Snapshot | None, str, str, list[Entry[HostView]]] = (None, "", "", [])
        self._all: tuple[Snapshot | None, bool, list[Entry[HostView]]] = (None, False, [])
        self._heads: tuple[Snapshot | None, object, list[Strip]] = (None, None, [])
        self._drawn: tuple[Snapshot | None, object, dict[tuple[SideName, int, int | None], list[Row]]] = (None, None, {})
        self._map: dict[int, _Line] = {}
        self._map_key: object = None
        self._waiting: list[int] = []  # lines of the map that still show the snapshot before, the longest first
        self._takes_turns = False
        self._draw_line: Callable[[int], Strip] | None = None  # a line of the map as the last whole drawing would draw it
        self._map_at = self._map_top = 0  # where on the panel the map begins, and with which of its lines

    def entries(self, snapshot: Snapshot) -> list[Entry[HostView]]:
        is_found = bool(self.filter) or self.sort != ORDER_OF_PLAN
        if self._all[0] is not snapshot or self._all[1] != is_found:
            self._all = snapshot, is_found, host_entries(snapshot, is_found=is_found)
        return self._all[2]

    def shown(self) -> list[Entry[HostView]]:
        """Those of legacy before those of target, each side filtered and ordered; worked out once a snapshot."""
        made = self._made
        if made[0] is not self.snapshot or made[1:3] != (self.filter, self.sort):
            entries = super().shown()
            ordered = [entry for side in SIDES for entry in entries if entry.thing.side == side]
            self._made = made = (self.snapshot, self.filter, self.sort, ordered)
        return made[3]

    def draw(self, snapshot: Snapshot, palette: Palette, width: int, height: int) -> list[Strip]:
        entries = self.shown()
        left = max(1, (width - BETWEEN) // 2)
        widths = dict(zip(SIDES, (left, max(1, width - BETWEEN - left)), strict=True))
        is_high = height >= HIGH
        lines = self._head_lines(snapshot, palette, widths, width, is_high)
        if not entries:
            words = f"nothing matches {self.filter}" if self.filter else self.NONE
            return [*lines, *nothing_yet(words, palette, width, height - len(lines))]
        lines += [Strip([])] if is_high else []
        self._follow(entries)
        under = cursor_rows(entries[self.cursor].thing, palette, width, 4 if is_high else 2) if height >= 10 else []
        detail = [Row(palette).add(palette.glyphs.rule * width, palette.track), *under] if under else []
        self._places = max(1, height - len(lines) - len(detail))
        self._map_at, self._draw_line = len(lines), None
        body = self._body(entries, widths, palette, width)
        body += [Strip([])] * (self._places - len(body))
        return [*lines, *body, *(row.strip(width) for row in detail)]

    def _head_lines(
        self, snapshot: Snapshot, palette: Palette, widths: dict[SideName, int], width: int, is_high: bool
    ) -> list[Strip]:
        """Of a large fleet not worked out anew with every key."""
        key = (palette, width, is_high)
        if self._heads[0] is not snapshot or self._heads[1] != key:
            made = {
                s: side_rows(snapshot.hosts, snapshot.sides.get(s), s, palette, widths[s], has_history=is_high) for s in SIDES
            }
            self._heads = snapshot, key, self._sides(made, widths, palette, width)
        return [*self._heads[2]]

    def _block(
        self, side: SideName, hosts: Sequence[HostView], palette: Palette, width: int, lines: range, here: int | None
    ) -> list[Row]:
        """The lines of a side; a key draws only those anew that the cursor left or came to."""
        layout = self._layout
        if layout.form in (Form.GPUS, Form.HOSTS):
            return block_rows(hosts, layout, palette, width, lines, here)
        key = (palette, layout, self.filter, self.sort)
        if self._drawn[0] is not self.snapshot or self._drawn[1] != key:
            self._drawn = self.snapshot, key, {}
        rows = []
        for i in lines:
            place = here if here is not None and here // layout.across == i else None
            if (side, i, place) not in self._drawn[2]:
                self._drawn[2][side, i, place] = block_rows(hosts, layout, palette, width, range(i, i + 1), place)
            rows += self._drawn[2][side, i, place]
        return rows

    def _is_on(self, side: SideName, entries: Sequence[Entry[HostView]]) -> bool:
        return entries[self.cursor].thing.side == side

    def _body(self, entries: Sequence[Entry[HostView]], widths: dict[SideName, int], palette: Palette, width: int) -> list[Strip]:
        sides = {side: [entry.thing for entry in entries if entry.thing.side == side] for side in SIDES}
        self._layout = layout = layout_of([*sides.values()], min(widths.values()), self._places)
        if layout.form is Form.TILES:
            return self._map_lines(entries, sides, widths, palette, width)
        return self._sides(self._blocks(entries, sides, widths, palette), widths, palette, width)

    def _lines_shown(self, entries: Sequence[Entry[HostView]], hosts: Sequence[Sequence[HostView]], places: int) -> range:
        self._top = first_shown(self._top, self._at(entries)[1], places, max(self._layout.rows(len(mine)) for mine in hosts))
        return range(self._top, self._top + places)

    def _here(self, side: SideName, entries: Sequence[Entry[HostView]], legacy: int) -> int | None:
        """The place of the host under the cursor on its side; None on the other."""
        return (self.cursor - (0 if side == "legacy" else legacy)) if self._is_on(side, entries) else None

    def _blocks(
        self,
        entries: Sequence[Entry[HostView]],
        sides: dict[SideName, list[HostView]],
        widths: dict[SideName, int],
        palette: Palette,
    ) -> Sides:
        layout, places = self._layout, self._places
        if layout.form is Form.GPUS:
            lines = range(places)
        else:
            places -= layout.form is Form.HOSTS
            lines = self._lines_shown(entries, [*sides.values()], places)
        blocks = {}
        for side, hosts in sides.items():
            block = self._block(side, hosts, palette, widths[side], lines, self._here(side, entries, len(sides["legacy"])))
            if layout.form is Form.CELLS and len(block) + 1 < places:
                block += [Row(palette), *trouble_rows(hosts, palette, widths[side], places - len(block) - 1)]
            blocks[side] = block
        return blocks

    def _map_lines(
        self,
        entries: Sequence[Entry[HostView]],
        sides: dict[SideName, list[HostView]],
        widths: dict[SideName, int],
        palette: Palette,
        width: int,
    ) -> list[Strip]:
        """Tiles, line by line: one that waits for its turn stays as it is, unless the cursor left it or came to it."""
        key = (palette, self._layout, width, [entry.key for entry in entries])
        if self._map_key != key:
            self._map_key, self._map, self._waiting = key, {}, []
        here = [self._here(side, entries, len(sides["legacy"])) for side in sides]
        shown = self._lines_shown(entries, [*sides.values()], self._places)

        def drawn(i: int) -> Strip:
            places = tuple(place if place is not None and place // self._layout.across == i else None for place in here)
            line = self._map.get(i)
            if line is None or line.places != places or not (line.snapshot is self.snapshot or i in self._waiting):
                blocks = {
                    side: block_rows(hosts, self._layout, palette, widths[side], range(i, i + 1), place)
                    for (side, hosts), place in zip(sides.items(), places, strict=True)
                }
                strips = self._sides(blocks, widths, palette, width)
                line = self._map[i] = _Line(self.snapshot, places, strips[0] if strips else Strip([]))
                if i in self._waiting:
                    self._waiting.remove(i)
            return line.strip

        self._draw_line, self._map_top = drawn, shown.start
        return [drawn(i) for i in shown]

    # Turns

    def watch_snapshot(self) -> None:
        """Of a large fleet the map comes some lines at a time: a key waits neither until all of it is drawn nor, on a slow link, behind it."""
        waited = [i for i in self._waiting if i in self._map]
        waiting = [*waited, *(i for i in self._map if i not in waited)]
        with_the_sums = len(waiting) % AT_ONCE or AT_ONCE  # as few as may be: their frame is the longest
        self._waiting = waiting[with_the_sums:] if waiting and self._is_seen() and self.stale is None else []
        super().watch_snapshot()
        self._next_turn()

    def _next_turn(self) -> None:
        if self._waiting and not self._takes_turns:
            self._takes_turns = True
            self.set_timer(TURN, self._take_turn, name="the next lines of the map")

    def _take_turn(self) -> None:
        self._takes_turns = False
        due, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
        if self._draw_line is None or self.stale is not None or not self._is_drawn():
            self.redraw()
        else:
            self._replace_lines({self._map_at + i - self._map_top: self._draw_line(i) for i in due})
        self._next_turn()

    def _sides(self, blocks: Sides, widths: dict[SideName, int], palette: Palette, width: int) -> list[Strip]:
        rows = beside(blocks["legacy"], blocks["target"], palette, width, at=widths["legacy"])
        return [row.strip(width) for row in rows]

    def heading(self, snapshot: Snapshot | None) -> str:
        if snapshot is None or not snapshot.hosts:
            return self.TITLE
        numbers = [f"{sum(h.together().count for h in snapshot.hosts if h.side == side):,} {side}" for side in SIDES]
        return f"GPUs: {', '.join(numbers)}"

    # The cursor

    def _at(self, entries: Sequence[Entry[HostView]]) -> tuple[int, int, int]:
        """Where the cursor is: its side's first place, its line, its place on the line."""
        legacy = sum(entry.thing.side == "legacy" for entry in entries)
        start = 0 if self.cursor < legacy else legacy
        line, place = divmod(self.cursor - start, self._layout.across)
        return start, line, place

    def action_move(self, step: int) -> None:
        """Up and down within a side."""
        entries = self.shown()
        if not entries:
            return
        start = self._at(entries)[0]
        mine = sum(entry.thing.side == entries[self.cursor].thing.side for entry in entries)
        wanted = self.cursor - start + step * self._layout.across
        if 0 <= wanted < mine:
            self.move_to(start + wanted)
        elif step > 0 and self._layout.rows(mine) - 1 > (self.cursor - start) // self._layout.across:
            self.move_to(start + mine - 1)  # the last line is short

    def action_page(self, step: int) -> None:
        """As many lines as are shown."""
        for _ in range(max(1, self._places - 1)):
            self.action_move(1 if step > 0 else -1)

    def action_aside(self, step: int) -> None:
        """Left and right on the line, and over to the other side at its end."""
        entries = self.shown()
        if not entries:
            return
        start, line, place = self._at(entries)
        across = self._layout.across
        legacy = sum(entry.thing.side == "legacy" for entry in entries)
        end = legacy if start < legacy else len(entries)
        if 0 <= place + step < across and self.cursor + step < end:
            self.move_to(self.cursor + step)
        elif step > 0 and start < legacy < len(entries):
            self.move_to(min(legacy + line * across, len(entries) - 1))
        elif step < 0 and start >= legacy > 0:
            self.move_to(min(line * across + across - 1, legacy - 1))
