"""An estimate for people: text, Markdown, one self-contained HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backends.escape import plain
from backends.listed import listed
from widgets.figures import NOTHING, count, decimal_size, span_of_time

if TYPE_CHECKING:
    from backends.catalog.estimate import DatasetEstimate, Estimate, Range
    from backends.catalog.phases import Move, Span
    from backends.plan.models import Plan

HEADS = ("dataset", "size", "objects", "at line rate", "expected", "one stream", "egress USD", "requests USD")


def span_text(span: Range | None) -> str:
    if span is None:
        return NOTHING
    low, high = span_of_time(span.low), span_of_time(span.high)
    return low if low == high else f"{low} to {high}"


def usd(value: float | None) -> str:
    return NOTHING if value is None else f"{value:,.2f}" if abs(value) < 100 else f"{value:,.0f}"


def usd_span(span: Range | None) -> str:
    if span is None:
        return NOTHING
    low, high = usd(span.low), usd(span.high)
    return low if low == high else f"{low} to {high}"


def rows_of(found: Estimate) -> list[list[str]]:
    rows = [_row(d) for d in found.datasets]
    return [*rows, _row(found.total)] if len(rows) > 1 else rows


def _row(d: DatasetEstimate) -> list[str]:
    return [
        plain(d.name),
        decimal_size(d.bytes),
        count(d.objects),
        span_of_time(d.seconds),
        span_text(d.seconds_expected) + (" measured" if d.is_measured else ""),
        span_text(d.seconds_single),
        usd(d.egress_usd),
        usd_span(d.requests_usd),
    ]


def _extra(found: Estimate) -> list[str]:
    lines = []
    for d in found.datasets:
        if d.hub_usd is not None:
            lines.append(f"{plain(d.name)}: the hub keeps it for {usd(d.hub_usd)} USD")
        if d.saved is not None:
            lines.append(f"{plain(d.name)}: compression takes {d.saved.low:.0%} to {d.saved.high:.0%} off the hub's leg")
    return lines


def text_lines(plan: Plan, found: Estimate, changes: tuple[str, ...] = ()) -> list[str]:
    lines = [f"{plain(plan.name)}: {plain(plan.legacy.provider)} to {plain(plan.target.provider)}, at {found.rate / 1e9:g} Gbps"]
    lines += [f"what if: {plain(', '.join(changes))}"] if changes else []
    lines += ["", *_table(list(HEADS), rows_of(found)), *_extra(found), "", "USD"]
    lines += _table(None, [[c.what, usd_span(c.usd), plain(c.note)] for c in found.costs])
    lines += ["", "calendar"]
    lines += _table(None, [row for span in found.calendar for row in _span(span)])
    if found.moves:
        lines += ["", "workloads, within the cutover", *_table(None, _moves(found))]
    lines += ["", "what drives the ranges"]
    lines += _table(None, [[d.what, d.figure, plain(d.source)] for d in found.drivers])
    return lines + (["", *(plain(note) for note in found.notes)] if found.notes else [])


def _span(span: Span) -> list[list[str]]:
    """Each thing that is said of a phase on a line of its own."""
    first, *more = span.note.split("; ")
    return [[span.phase, f"{span.begins} to {span.ends}", plain(first)], *(["", "", plain(text)] for text in more)]


def _moves(found: Estimate) -> list[list[str]]:
    return [[plain(m.workload), f"{m.begins} to {m.ends}", plain(_after(m.after))] for m in found.moves]


def _after(names: tuple[str, ...]) -> str:
    return f"after {listed(names, 4)}" if names else ""


def _table(heads: list[str] | None, rows: list[list[str]]) -> list[str]:
    every = ([heads] if heads else []) + rows
    if not every:
        return []
    widths = [max(len(cell) for cell in column) for column in zip(*every, strict=True)]
    right = heads is not None
    return [
        "  "
        + "  ".join(c.rjust(w) if right and i else c.ljust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))).rstrip()
        for row in every
    ]


def markdown_lines(plan: Plan, found: Estimate, changes: tuple[str, ...] = ()) -> list[str]:
    lines = [
        f"# {_md(plan.name)}: {_md(plan.legacy.provider)} to {_md(plan.target.provider)}",
        "",
        f"At {found.rate / 1e9:g} Gbps.",
    ]
    lines += [f"What if: {_md(', '.join(changes))}."] if changes else []
    for title, heads, rows in tables_of(found):
        lines += ["", f"## {title}", "", "| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
        lines += ["| " + " | ".join(_md(cell) for cell in row) + " |" for row in rows]
    notes = [*_extra(found), *found.notes]
    return lines + (["", *(f"- {_md(note)}" for note in notes)] if notes else [])


def tables_of(found: Estimate) -> list[tuple[str, list[str], list[list[str]]]]:
    moves = [[m.workload, str(m.begins), str(m.ends), listed(m.after, 4)] for m in found.moves]
    return [
        ("Data", list(HEADS), rows_of(found)),
        ("Cost", ["what", "USD", "from"], [[c.what, usd_span(c.usd), c.note] for c in found.costs]),
        ("Calendar", ["phase", "begins", "ends", ""], [[s.phase, str(s.begins), str(s.ends), s.note] for s in found.calendar]),
        *([("Workloads within the cutover", ["workload", "begins", "ends", "after"], moves)] if moves else []),
        ("What drives the ranges", ["what", "figure", "from"], [[d.what, d.figure, d.source] for d in found.drivers]),
    ]


def _md(text: str) -> str:
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#" else c for c in plain(text))


def html_page(plan: Plan, found: Estimate, changes: tuple[str, ...] = ()) -> list[str]:
    """One file, no script, nothing fetched."""
    from jinja2 import Environment

    page = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_PAGE)
    text = page.render(
        name=plain(plan.name),
        legacy=plain(plan.legacy.provider),
        target=plain(plan.target.provider),
        rate=f"{found.rate / 1e9:g} Gbps",
        changes=plain(", ".join(changes)),
        tables=[(t, h, [[plain(c) for c in r] for r in rows]) for t, h, rows in tables_of(found)],
        notes=[plain(n) for n in (*_extra(found), *found.notes)],
        bars=_bars(found),
    )
    return text.splitlines()


def _bars(found: Estimate) -> list[tuple[str, str, float, float]]:
    """Class, name, and from where and how wide in percent of the whole time: phases, and workloads below theirs."""
    first = found.calendar[0].begins
    whole = (found.calendar[-1].ends - first).days + 1

    def bar(kind: str, name: str, span: Span | Move) -> tuple[str, str, float, float]:
        days = (span.ends - span.begins).days + 1
        return kind, plain(name), 100 * (span.begins - first).days / whole, 100 * days / whole

    out = []
    for span in found.calendar:
        out.append(bar("bar", span.phase, span))
        out += [bar("bar move", move.workload, move) for move in found.moves] if span.phase == "cutover" else []
    return out


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ name }}: estimate</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1c2430; background: #fff; }
h1 { font-size: 1.5rem } h2 { font-size: 1.1rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% } th, td { padding: .3rem .6rem; border-bottom: 1px solid #dde3ea; text-align: left; vertical-align: top }
th { font-weight: 600; color: #5b6776 } td { font-variant-numeric: tabular-nums }
.bar { position: relative; height: 1.9rem; background: #f2f5f8; margin: .2rem 0 } .bar span { position: absolute; top: 0; bottom: 0; background: #8fb8de; padding: 0 .4rem; white-space: nowrap }
.move { height: 1.5rem; font-size: 13px } .move span { background: #c9e0f2 }
</style></head><body>
<h1>{{ name }}: {{ legacy }} to {{ target }}</h1>
<p>At {{ rate }}.{% if changes %} What if: {{ changes }}.{% endif %}</p>
{% for kind, name, left, width in bars %}
<div class="{{ kind }}"><span style="left: {{ '%.2f' % left }}%; width: {{ '%.2f' % width }}%">{{ name }}</span></div>
{% endfor %}
{% for title, heads, rows in tables %}
<h2>{{ title }}</h2>
<table><tr>{% for head in heads %}<th>{{ head }}</th>{% endfor %}</tr>
{% for row in rows %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</table>
{% endfor %}
{% if notes %}<ul>{% for note in notes %}<li>{{ note }}</li>{% endfor %}</ul>{% endif %}
</body></html>
"""
