"""The after-action report as one HTML file that needs nothing else: tables, and plots as inline SVG. Made from the journal alone.

Every text is escaped by Jinja (autoescape); a policy in the page allows no script and nothing from elsewhere.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from backends.cutover.events import Event, Kind
from backends.cutover.fold import fold
from backends.cutover.report import _figure, _instant, _span
from backends.cutover.story import QUIET, view
from backends.escape import plain

WIDTH, HEIGHT = 720, 150
LEFT, RIGHT, TOP, BOTTOM = 66, 12, 10, 22
DOTTED = 60  # points of a line up to which each is marked
Series = Sequence[tuple[datetime, float]]


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture: named lines over time; `limit` is drawn across. `steps`: a value holds until the next one."""

    title: str
    lines: dict[str, list[tuple[datetime, float]]]
    unit: str = ""
    limit: float | None = None
    top: float | None = None
    steps: bool = False


def report_html(events: list[Event]) -> str:
    """The whole page. Instants are UTC."""
    m = fold(events)
    loader = FileSystemLoader(Path(__file__).parent)
    env = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    env.filters |= {"plain": plain, "instant": _instant, "figure": _figure}
    first, last = (events[0].at, events[-1].at) if events else (None, None)
    span = (first, last) if first is not None and last is not None and last > first else None
    told = [(event, view(event)) for event in events if event.kind not in QUIET]
    return env.get_template("report.html.j2").render(
        m=m, first=first, last=last, lasted=_span((last - first).total_seconds()) if first and last else "",
        plots=[(p.title, drawing(p, span, i)) for i, p in enumerate(_plots(events))] if span else [],
        weights=[e for e in events if e.kind == Kind.CONFIRMED and e.data.get("kind") == "weight"],
        rounds=_last_rounds(events), runs=_runs(events), told=told,
        overrides=[e for e in events if e.kind == Kind.OVERRIDE], asked=[e for e in events if e.kind in (Kind.ASKED, Kind.APPROVED)],
        lessons=[e for e in events if e.kind == Kind.LESSON],
    )  # fmt: skip


def _plots(events: list[Event]) -> list[Plot]:
    weights: dict[str, list[tuple[datetime, float]]] = {}
    lags: dict[str, list[tuple[datetime, float]]] = {}
    triggers: dict[str, list[Event]] = {}
    for event in events:
        if event.kind == Kind.CONFIRMED and event.data.get("kind") == "weight":
            args = event.data["args"]
            weights.setdefault(plain(args["route"], 60), [(events[0].at, 0.0)]).append((event.at, float(args["weight"])))
        elif event.kind == Kind.ROUND and event.data.get("lag_objects") is not None:
            lags.setdefault(plain(event.data["dataset"], 60), []).append((event.at, float(event.data["lag_objects"])))
        elif event.kind == Kind.TRIGGER and event.data.get("value") is not None:
            triggers.setdefault(plain(event.data["name"], 60), []).append(event)
    out = [Plot("weight on target", weights, "%", top=100.0, steps=True)] if weights else []
    out += [Plot("lag", lags, "objects")] if any(v for line in lags.values() for _, v in line) else []
    for name, seen in triggers.items():
        last = seen[-1].data
        unit, scale = ("%", 100.0) if last.get("unit") == "fraction" else ("", 1.0)
        limit = None if last.get("limit") is None else last["limit"] * scale
        out.append(Plot(f"trigger {name}", {name: [(e.at, float(e.data["value"]) * scale) for e in seen]}, unit, limit))
    return out


def drawing(plot: Plot, span: tuple[datetime, datetime], number: int = 0) -> Markup:
    """The plot as SVG. Colours are the page's; what is text is escaped."""
    values = [v for line in plot.lines.values() for _, v in line] + ([plot.limit] if plot.limit is not None else [])
    low, high = min([0.0, *values]), plot.top if plot.top is not None else max([0.0, *values]) * 1.1 or 1.0
    start, length = span[0], (span[1] - span[0]).total_seconds()

    def x(at: datetime) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (at - start).total_seconds() / length

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / ((high - low) or 1.0))

    out = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(plot.title)}">']
    for value in (low, (low + high) / 2, high):
        out.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        out.append(f'<text class="axis" x="{LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    if plot.limit is not None:
        out.append(f'<line class="limit" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(plot.limit):.1f}" y2="{y(plot.limit):.1f}"/>')
    for index, (name, line) in enumerate(plot.lines.items()):
        path = _path([(x(at), y(v)) for at, v in line], plot.steps, x(span[1]))
        out.append(f'<path class="line c{index % 4}" d="{path}"><title>{html.escape(name)}</title></path>')
        if not plot.steps and len(line) <= DOTTED:  # one alone draws no line
            out += [f'<circle class="dot c{index % 4}" cx="{x(at):.1f}" cy="{y(v):.1f}" r="2.5"/>' for at, v in line]
    for at, anchor in ((span[0], "start"), (span[1], "end")):
        text = f"{at:%m-%d %H:%M:%S}"
        out.append(f'<text class="axis" x="{x(at):.1f}" y="{HEIGHT - 5}" text-anchor="{anchor}">{text}</text>')
    names = "".join(f'<span class="key c{i % 4}">{html.escape(n)}</span>' for i, n in enumerate(plot.lines))
    if plot.limit is not None:
        names += f'<span class="allowed">limit {plot.limit:.3g}{" " + html.escape(plot.unit) if plot.unit else ""}</span>'
    unit = f'<span class="unit">{html.escape(plot.unit)}</span>' if plot.unit else ""
    return Markup("".join(out) + f'</svg><p class="keys">{names}{unit}</p>')


def _path(points: list[tuple[float, float]], steps: bool, end: float) -> str:
    parts = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for x, y in points[1:]:
        parts.append(f"H{x:.1f}V{y:.1f}" if steps else f"L{x:.1f} {y:.1f}")
    return "".join(parts) + (f"H{end:.1f}" if steps else "")


def _last_rounds(events: list[Event]) -> list[dict[str, Any]]:
    rounds = [e.data for e in events if e.kind == Kind.ROUND and not e.data.get("error")]
    mine = {name: [r for r in rounds if r["dataset"] == name] for name in dict.fromkeys(r["dataset"] for r in rounds)}
    return [
        {**of[-1], "copied_in_all": sum(r["copied"] for r in of), "bytes_in_all": sum(r["bytes"] for r in of)}
        for of in mine.values()
    ]


def _runs(events: list[Event]) -> list[dict[str, Any]]:
    """Rollbacks and evacuations, with their end and how long they took."""
    ends = {e.data["id"]: e for e in events if e.kind == Kind.RUN_ENDED}
    out = []
    for event in events:
        if event.kind == Kind.RUN_STARTED and event.data["kind"] in ("rollback", "evacuate"):
            end = ends.get(event.data["id"])
            took = _span((end.at - event.at).total_seconds()) if end is not None else "not ended"
            out.append({"event": event, "outcome": end.data.get("outcome", "") if end else "", "took": took})
    return out
