"""The after-action report in Markdown: made from the journal alone, so that every claim can be looked up there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from backends.cutover.events import Event, Kind
from backends.cutover.fold import fold
from backends.cutover.migration import Migration
from backends.cutover.story import QUIET, describe
from backends.escape import plain

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>#|~&])")


def markdown(text: str) -> str:
    """Text from outside as Markdown that shows just that: no markup, no HTML, no line break."""
    return _SPECIAL.sub(r"\\\1", plain(text))


def report(events: list[Event]) -> str:
    """The whole report. Instants are UTC."""
    m = fold(events)
    parts = [
        f"# Migration {markdown(m.name)}",
        "\n".join(_summary(m, events)),
        "## Traffic\n\n" + "\n".join(_weights(events)),
        "## Gates and triggers\n\n" + "\n".join(_verdicts(m)),
        "## Data\n\n" + "\n".join(_data(m, events)),
        "## Rollbacks\n\n" + "\n".join(_rollbacks(events)),
        "## Timeline\n\n" + "\n".join(_timeline(events)),
        "## Overrides and approvals\n\n" + "\n".join(_hands(events)),
        "## Lessons\n\n" + "\n".join(_lessons(events)),
    ]
    return "\n\n".join(parts) + "\n"


def _summary(m: Migration, events: list[Event]) -> Iterator[str]:
    first, last = (events[0].at, events[-1].at) if events else (None, None)
    yield f"- state: **{m.state}**" + (f", phase {m.phase}" if m.phase else "")
    if first is not None and last is not None:
        yield f"- from {_instant(first)} to {_instant(last)}, {_span((last - first).total_seconds())}"
    yield f"- plan: {markdown(m.plan_path)}, SHA-256 {m.plan_hash[:16]}"
    yield f"- journal: {m.seq} events"
    for hold in m.holds:
        yield f"- held by {markdown(hold.by)}: {markdown(hold.reason)}"
    if m.unfenced:
        yield "- **target is unfenced**"


def _weights(events: list[Event]) -> Iterator[str]:
    rows = [
        f"| {_instant(e.at)} | {markdown(e.data['args']['route'])} | {e.data['args']['weight']} % | {markdown(e.data.get('detail', ''))} |"
        for e in events
        if e.kind == Kind.CONFIRMED and e.data.get("kind") == "weight"
    ]
    if not rows:
        yield "No traffic was moved."
        return
    yield "| confirmed at | route | weight on target | seen how |\n| --- | --- | --- | --- |"
    yield from rows


def _verdicts(m: Migration) -> Iterator[str]:
    if not m.gates and not m.triggers:
        yield "None was judged."
        return
    yield "| check | last verdict | value | limit | reason |\n| --- | --- | --- | --- | --- |"
    for word, checks in (("gate", m.gates), ("trigger", m.triggers)):
        for name, v in checks.items():
            yield f"| {word} {markdown(name)} | {v.verdict} | {_figure(v.value, v.unit)} | {_figure(v.limit, v.unit)} | {markdown(v.reason)} |"


def _data(m: Migration, events: list[Event]) -> Iterator[str]:
    rounds = [e.data for e in events if e.kind == Kind.ROUND and not e.data.get("error")]
    if not rounds:
        yield "No round of sync has ended."
        return
    yield "| dataset | objects | proven | copied in all | bytes in all | failed | writer |\n| --- | --- | --- | --- | --- | --- | --- |"
    for name in dict.fromkeys(r["dataset"] for r in rounds):
        mine = [r for r in rounds if r["dataset"] == name]
        last = mine[-1]
        copied, size = sum(r["copied"] for r in mine), sum(r["bytes"] for r in mine)
        token = m.token(name)
        yield (
            f"| {markdown(name)} | {last['objects_total']} | {last['proven']} | {copied} | {size} | {last['failed']} "
            f"| {token.writer}, epoch {token.epoch} |"
        )
    yield from _objects("Damaged on the way, found by the proof and copied again", rounds, "repaired")
    yield from _objects("Failed", rounds, "failures")


def _objects(title: str, rounds: list[dict[str, Any]], field: str) -> Iterator[str]:
    rows = [(r["dataset"], o["key"], o["reason"]) for r in rounds for o in r.get(field, [])]
    if rows:
        yield f"\n{title}:\n"
        yield from (f"- {markdown(d)}: `{plain(k).replace('`', chr(39))}`: {markdown(why)}" for d, k, why in dict.fromkeys(rows))


def _rollbacks(events: list[Event]) -> Iterator[str]:
    runs = {e.data["id"]: e for e in events if e.kind == Kind.RUN_STARTED and e.data["kind"] in ("rollback", "evacuate")}
    if not runs:
        yield "There was none."
        return
    for run, started in runs.items():
        ended = next((e for e in events if e.kind == Kind.RUN_ENDED and e.data["id"] == run), None)
        end = (
            f"ended {_span((ended.at - started.at).total_seconds())} later: {markdown(ended.data['outcome'])}"
            if ended
            else "not ended"
        )
        yield f"- {_instant(started.at)} {started.data.get('mode', '')}, by {markdown(started.actor)}: {markdown(started.data['reason'])}; {end}"
        yield from (f"  {i}. {markdown(s['text'])}" for i, s in enumerate(started.data["steps"], 1))


def _hands(events: list[Event]) -> Iterator[str]:
    told = [e for e in events if e.kind in (Kind.OVERRIDE, Kind.OVERRIDE_ENDED, Kind.ASKED, Kind.APPROVED)]
    for event in told:
        yield f"- {_instant(event.at)} {markdown(event.actor)}: {markdown(describe(event)[0])}"
    if not told:
        yield "There was none."


def _lessons(events: list[Event]) -> Iterator[str]:
    told = [e for e in events if e.kind == Kind.LESSON]
    for event in told:
        yield f"- {markdown(str(event.data.get('text', '')))} ({markdown(event.actor)}, {_instant(event.at)})"
    if not told:
        yield "What would have been seen earlier, and by which gate or trigger? `cutover note TEXT` writes it here."


def _timeline(events: list[Event]) -> Iterator[str]:
    yield "| instant | event | by | what |\n| --- | --- | --- | --- |"
    for event in events:
        if event.kind not in QUIET:
            yield f"| {_instant(event.at)} | {event.seq} | {markdown(event.actor)} | {markdown(describe(event)[0])} |"


def _instant(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


def _span(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours} h {rest // 60} min" if hours else f"{rest // 60} min {rest % 60} s"


def _figure(value: float | None, unit: str = "") -> str:
    if value is None:
        return "-"
    return f"{value * 100:.3g} %" if unit == "fraction" else f"{value:.4g}"
