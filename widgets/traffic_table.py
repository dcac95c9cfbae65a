"""All routes in full: steps, soak, what was observed where."""

from __future__ import annotations

from textual.strip import Strip

from backends.snapshot import RouteView, Snapshot
from themes.palette import Palette
from widgets.bars import split_bar
from widgets.columns import Cell, Column, cells_row, fact, head_row, laid_out
from widgets.figures import age, count, share, watch, weight
from widgets.listing import ORDER_OF_PLAN, Entry, ListPanel
from widgets.row import Row
from widgets.traffic import route_level, steps_row

COLUMNS = (
    Column("route", 10, grow=1),
    Column("workload", 10, rank=4, grow=1),
    Column("kind", 8, rank=5),
    Column("legacy / target", 16, grow=3),
    Column("desired", 7, "right"),
    Column("observed", 8, "right"),
    Column("clients", 8, "right", rank=1),
    Column("soak", 9, "right", rank=2),
    Column("seen", 10, "right", rank=3),
)


def route_row(route: RouteView, palette: Palette, width: int) -> Row:
    """A route as one line of the table."""
    style = palette.of(route_level(route))
    widths = laid_out(COLUMNS, width)
    soak = watch(route.soak.elapsed, route.soak.at_least) if route.soak else "-"
    cells = {
        "route": Cell(f"{palette.glyphs.of(route_level(route))} {route.name}", style),
        "workload": Cell(route.workload, palette.muted),
        "kind": Cell(route.kind, palette.muted),
        "legacy / target": Cell(row=split_bar(palette, route.desired / 100, widths.get("legacy / target", 16))),
        "desired": Cell(weight(route.desired), palette.strong),
        "observed": Cell(weight(route.observed), style),
        "clients": Cell(share(route.data_plane)),
        "soak": Cell(soak),
        "seen": Cell(age(route.observed_age), palette.muted),
    }
    return cells_row(COLUMNS, cells, palette, width)


def route_detail(route: RouteView, palette: Palette, width: int, height: int) -> list[Strip]:
    """Steps, soak, what stands in the way."""
    rows = [steps_row(route, palette, 0, label=10)]  # each step begins with the place of its bracket
    how = "by itself when soak and gates are done" if route.advance == "auto" else "by hand"
    rows.append(fact(palette, "advance", how))
    if route.soak is not None:
        samples = f"{count(route.soak.samples)} of {count(route.soak.samples_needed)} samples"
        rows.append(fact(palette, "soak", f"{watch(route.soak.elapsed, route.soak.at_least)}, {samples}"))
    if route.foreign:
        rows.append(fact(palette, "foreign", f"somebody else set {route.foreign}", palette.held))
    if route.error:
        rows.append(fact(palette, "error", route.error, palette.breach))
    return [row.strip(width) for row in rows[:height]]


class TrafficTable(ListPanel[RouteView]):
    """Routes."""

    TITLE = "traffic"
    NONE = "no routes in this plan"
    SORTS = (ORDER_OF_PLAN, "name", "weight")
    DETAIL = 8

    def entries(self, snapshot: Snapshot) -> list[Entry[RouteView]]:
        return [
            Entry(
                key=r.name,
                thing=r,
                search=f"{r.name} {r.workload} {r.kind}",
                value=f"{r.name} {r.desired}",
                sorts={"name": r.name, "weight": -r.desired},
            )
            for r in snapshot.routes
        ]

    def head(self, snapshot: Snapshot, palette: Palette, width: int, height: int) -> list[Strip]:
        return [head_row(COLUMNS, palette, width)]

    def entry_row(self, entry: Entry[RouteView], palette: Palette, width: int) -> Row:
        return route_row(entry.thing, palette, width)

    def detail(self, entry: Entry[RouteView], palette: Palette, width: int, height: int) -> list[Strip]:
        return route_detail(entry.thing, palette, width, height)
