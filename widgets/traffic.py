"""Where the clients are sent: each route's weight on the target, as wished for and as observed."""

from __future__ import annotations

from collections.abc import Sequence

from textual.strip import Strip

from backends.snapshot import Level, RouteView, Snapshot
from themes.palette import Palette
from widgets.bars import split_bar
from widgets.figures import duration, is_late, share, watch, weight
from widgets.fitting import shown_first
from widgets.panel import Panel, nothing_yet
from widgets.row import Row

PERIOD = 5.0  # seconds between two observations of a route


def route_level(route: RouteView) -> Level:
    """What the eye must know of a route first."""
    if route.error:
        return Level.BREACH
    if route.foreign or (route.observed is not None and route.observed != route.desired and not route.in_flight):
        return Level.HELD
    return Level.WAITING if route.observed is None or route.in_flight else Level.GOOD


def traffic_rows(routes: Sequence[RouteView], palette: Palette, width: int, height: int) -> list[Strip]:
    """A line a route, and a second for those that need it, as far as there is room."""
    if not routes:
        return nothing_yet("no routes in this plan", palette, width, height)
    chosen = shown_first(routes, height, route_level)
    spare = height - len(chosen)
    names = min(max((len(r.name) for r in chosen), default=0), max(6, width - 32))
    wanting = sorted(range(len(chosen)), key=lambda i: -_need(chosen[i]))[: max(0, spare)]
    lines: list[Strip] = []
    for i, route in enumerate(chosen):
        lines.append(route_line(route, palette, width, names))
        if i in wanting:
            lines.append(_detail(route, palette, width, names).strip(width))
    roomy = height - len(lines)
    if roomy >= len(chosen) and len(wanting) == len(chosen):
        return _with_steps(chosen, palette, width, names)
    return lines


def _need(route: RouteView) -> int:
    if route.error or route.foreign:
        return 4
    if route.in_flight:
        return 3
    return 2 if route.soak is not None else 1 if route.desired else 0


def _with_steps(routes: Sequence[RouteView], palette: Palette, width: int, names: int) -> list[Strip]:
    lines: list[Strip] = []
    for route in routes:
        lines.append(route_line(route, palette, width, names))
        lines.append(_detail(route, palette, width, names).strip(width))
        lines.append(steps_row(route, palette, names + 1).strip(width))
    return lines


def route_line(route: RouteView, palette: Palette, width: int, names: int) -> Strip:
    """`chat   legacy ▇▇▇▇▇▇▄▄ target  25 %`."""
    cells = max(4, width - names - 22)
    row = Row(palette).add(route.name, palette.strong, names).gap()
    row.add("legacy ", palette.legacy).join(split_bar(palette, route.desired / 100, cells))
    row.add(" target ", palette.target)
    style = palette.of(route_level(route)) if route_level(route) is not Level.GOOD else palette.strong
    return row.add(weight(route.desired), style, 5, "right").strip(width)


def _detail(route: RouteView, palette: Palette, width: int, names: int) -> Row:
    glyphs = palette.glyphs
    row = Row(palette).to(names + 1)
    if route.error:
        return row.add(f"{glyphs.breach} {route.error}", palette.breach)
    if route.foreign:
        return row.add(f"{glyphs.held} set by somebody else: {route.foreign}", palette.held)
    late = is_late(route.observed_age, PERIOD)
    same = route.observed == route.desired
    row.add("observed ", palette.muted)
    row.add(weight(route.observed), palette.stale if late else palette.text if same else palette.held)
    if late:
        row.add(f" {duration(route.observed_age)} old", palette.held)
    if route.in_flight:
        row.gap(2).add(f"{glyphs.waiting} in flight", palette.accent)
    elif route.soak is not None:
        row.gap(2).add("soak ", palette.muted).add(watch(route.soak.elapsed, route.soak.at_least), palette.text)
    clients = Row(palette)
    if route.data_plane is not None:
        clients.add("clients ", palette.muted).add(share(route.data_plane, 0), palette.text)
    row.also(clients, width)
    return row


def steps_row(route: RouteView, palette: Palette, indent: int, label: int = 6) -> Row:
    """`steps 5 10 [25] 50 100`: those done, the one that is on, those to come."""
    row = Row(palette).to(indent).add("steps", palette.muted, label)
    for step in route.steps:
        if step < route.desired:
            row.add(f" {step} ", palette.good)
        elif step == route.desired:
            row.add(f"[{step}]", palette.strong)
        else:
            row.add(f" {step} ", palette.muted)
    if route.advance == "auto":
        row.gap().add("by itself", palette.muted)
    return row


class TrafficPanel(Panel):
    """Weights of all routes."""

    OPENS = "traffic"
    TITLE = "traffic"

    def draw(self, snapshot: Snapshot, palette: Palette, width: int, height: int) -> list[Strip]:
        return traffic_rows(snapshot.routes, palette, width, height)

    def footing(self, snapshot: Snapshot) -> str:
        hidden = len(snapshot.routes) - self.size.height
        return f"{hidden} more" if hidden > 0 else ""
