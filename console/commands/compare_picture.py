"""A comparison as a picture for a ticket or a report: SVG, and one HTML page with the table. Nothing is loaded from elsewhere."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from html import escape
from textwrap import wrap
from typing import Any

WIDTH, HEIGHT, STRIP = 760, 320, 110
LEFT, RIGHT, TOP, GAP = 74, 16, 34, 34
ROW, ROWS = 17, 12  # of the table below the picture
WRAPPED = 96  # signs of a line of text: a wide face is still within the picture
LEGACY, TARGET, BAND, LINE = "#1f6fb4", "#c2541b", "#7f8c8d", "#5a6570"
_COLOURS = {"PASS": "#2e7d32", "BREACH": "#b3261e", "INCONCLUSIVE": "#8a6d00", "ERROR": "#b3261e"}

_MOST = sys.float_info.max / 4  # of an axis

Points = Sequence[tuple[float, float]]


def svg_of(said: Mapping[str, Any], legacy: Points, target: Points, *, alone: bool = True) -> str:
    """Both curves, and below them the differences in the band of the tolerance; where it stands `alone`, with the verdict and the table too.
    `said` is the command's JSON."""
    strip = GAP + STRIP if said["points"] else 0
    table = _table(said, TOP + HEIGHT + strip + 44) if alone else []
    sentence = wrap(str(said["reason"]), WRAPPED)[:5] if alone else []
    height = TOP + HEIGHT + strip + 40 + ROW * (len(table) + len(sentence))
    title = _title(said)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12">',
        f"<title>{escape(title)}</title><desc>{escape(str(said['reason']))}</desc>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        *([f'<text x="{LEFT}" y="20" font-size="14" fill="#1b1f23">{escape(_short(title, 90))}</text>'] if alone else []),
    ]
    finite = [p for p in (*legacy, *target) if math.isfinite(p[0]) and math.isfinite(p[1])]
    if finite:
        across = _span([p[0] for p in finite])
        parts += _curves(legacy, target, across, _span([p[1] for p in finite]))
        parts += _strip(said, across, TOP + HEIGHT + GAP) if strip else []
        parts += _places_below(across, TOP + HEIGHT + strip + 16)
    else:
        parts.append(f'<text x="{LEFT}" y="{TOP + 40}" fill="{LINE}">no finite figures</text>')
    parts += table
    fill = _COLOURS.get(str(said["verdict"]), LINE)
    for number, words in enumerate(sentence):
        y = height - 10 - ROW * (len(sentence) - 1 - number)
        parts.append(f'<text x="{LEFT}" y="{y}" fill="{fill}">{escape(words)}</text>')
    return "\n".join([*parts, "</svg>"])


def _title(said: Mapping[str, Any]) -> str:
    how = f"as {said['as'].replace('_', ' ')}" if "as" in said else f"by {said['by']}"
    return f"{said['metric']} {how}: {said['verdict']}"


def html_of(said: Mapping[str, Any], legacy: Points, target: Points) -> str:
    """One page: the verdict, the picture, the places, what it rests on."""
    told = said["explanation"]
    inputs = "".join(
        f"<tr><td>{escape(i['side'])}</td><td>{escape(i['source'])}</td><td>{i['points']}</td><td><code>{escape(i['sha256'][:16])}</code></td>"
        f"<td>{escape('; '.join(i['notes']))}</td></tr>"
        for i in told["inputs"]
    )
    causes = "".join(f"<li>{escape(c['cause'])}: {escape(c['evidence'])}</li>" for c in told["causes"])
    title = escape(_title(said))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<style>body{{font:14px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1b1f23;background:#fff}}
table{{border-collapse:collapse}}td,th{{padding:.2rem .7rem;text-align:left;border-bottom:1px solid #dde1e5}}svg{{max-width:100%;height:auto}}</style>
</head><body><h1>{title}</h1><p>{escape(str(said["reason"]))}</p>
{svg_of(said, legacy, target, alone=False)}
{f"<h2>Likely causes, most likely first</h2><ol>{causes}</ol>" if causes else ""}
{_places(said)}
<h2>What it rests on</h2><p>{escape(told["rule"])}</p>
<table><tr><th>side</th><th>source</th><th>points</th><th>sha256</th><th></th></tr>{inputs}</table>
</body></html>
"""


def _places(said: Mapping[str, Any]) -> str:
    """The table: places with their verdicts, or figures with their bounds."""
    if said.get("figures"):
        rows = "".join(f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in _cells(f))}</tr>" for f in said["figures"])
        return f"<h2>Figures</h2><table><tr><th></th><th>legacy</th><th>target</th><th>difference</th><th>between</th></tr>{rows}</table>"
    rows = "".join(
        f"<tr><td>{_figure(p['at'])}</td><td>{_figure(p['legacy'])}</td><td>{_figure(p['target'])}</td><td>{_percent(p['delta'])}</td>"
        f'<td style="color:{_COLOURS.get(p["verdict"], LINE)}">{escape(p["verdict"])}</td><td>{escape(p["note"])}</td></tr>'
        for p in said["points"][:1000]
    )
    heads = f"<th>{escape(str(said['by']))}</th><th>legacy</th><th>target</th><th>difference</th><th>verdict</th><th></th>"
    return f"<h2>Places</h2><table><tr>{heads}</tr>{rows}</table>"


def _span(values: Sequence[float]) -> tuple[float, float]:
    """From the least to the most, so far as its width is a figure too."""
    low, high = max(min(values), -_MOST), min(max(values), _MOST)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def round_figures(span: tuple[float, float]) -> list[float]:
    """Three to nine round figures within: 1, 2 or 5 times a power of ten apart. The span's own ends where it is too narrow for any."""
    least = (span[1] - span[0]) / 6
    power = 10.0 ** math.floor(math.log10(least)) if least > 0 else 0.0
    apart = next((power * f for f in (1, 2, 5) if power * f >= least), 10 * power)
    if not 0 < apart < math.inf or abs(span[0] / apart) > 1e9:
        return [*span]
    return [n * apart for n in range(math.ceil(span[0] / apart), math.floor(span[1] / apart) + 1)]


def _places_below(across: tuple[float, float], y: float) -> list[str]:
    """The axis that both pictures share."""
    return [
        f'<text x="{_x(value, across):.1f}" y="{y:.0f}" text-anchor="middle" fill="{LINE}">{_figure(value)}</text>'
        for value in round_figures(across)
    ]


def _x(value: float, across: tuple[float, float]) -> float:
    return LEFT + (value - across[0]) / (across[1] - across[0]) * (WIDTH - LEFT - RIGHT)


def _y(value: float, span: tuple[float, float], top: float, height: float) -> float:
    return top + (span[1] - min(max(value, span[0]), span[1])) / (span[1] - span[0]) * height


def _curves(legacy: Points, target: Points, across: tuple[float, float], span: tuple[float, float]) -> list[str]:
    parts = [f'<rect x="{LEFT}" y="{TOP}" width="{WIDTH - LEFT - RIGHT}" height="{HEIGHT}" fill="none" stroke="#c9ced3"/>']
    for value in round_figures(span):
        y = _y(value, span, TOP, HEIGHT)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#eceff1"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end" fill="{LINE}">{_figure(value)}</text>')
    for name, points, colour, dash in (("legacy", legacy, LEGACY, ' stroke-dasharray="6 3"'), ("target", target, TARGET, "")):
        for piece in _pieces(points):
            places = " ".join(f"{_x(x, across):.1f},{_y(y, span, TOP, HEIGHT):.1f}" for x, y in piece)
            parts.append(f'<polyline points="{places}" fill="none" stroke="{colour}" stroke-width="1.6"{dash}/>')
        for x, _ in (p for p in points if not math.isfinite(p[1])):
            parts.append(f'<text x="{_x(x, across):.1f}" y="{TOP + 14}" fill="{colour}">NaN</text>')
        at = WIDTH - RIGHT - (150 if name == "legacy" else 70)
        parts.append(f'<line x1="{at}" y1="16" x2="{at + 18}" y2="16" stroke="{colour}" stroke-width="2"{dash}/>')
        parts.append(f'<text x="{at + 22}" y="20" fill="{colour}">{name}</text>')
    return parts


def _pieces(points: Points) -> list[list[tuple[float, float]]]:
    """Stretches of finite figures: a line is not drawn across a NaN."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if math.isfinite(y) and math.isfinite(x):
            pieces[-1].append((x, y))
        elif pieces[-1]:
            pieces.append([])
    return [p for p in pieces if p]


def _strip(said: Mapping[str, Any], across: tuple[float, float], top: float) -> list[str]:
    tolerance = float(said["tolerance"])
    points = [(p["at"], p["delta"], p["verdict"]) for p in said["points"] if p["delta"] is not None and math.isfinite(p["delta"])]
    reach = max([abs(d) for _, d, _ in points] + [2 * tolerance]) * 1.1
    reach = min(reach, _MOST)
    span = (-reach, reach)
    high, low = (_y(v, span, top, STRIP) for v in (tolerance, -tolerance))
    width = WIDTH - LEFT - RIGHT
    parts = [
        f'<rect x="{LEFT}" y="{high:.1f}" width="{width}" height="{low - high:.1f}" fill="{BAND}" opacity="0.18"/>',
        f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{top + STRIP / 2}" y2="{top + STRIP / 2}" stroke="#c9ced3"/>',
        f'<text x="{LEFT - 6}" y="{high + 4:.1f}" text-anchor="end" fill="{LINE}">{_percent(tolerance)}</text>',
        f'<text x="{LEFT - 6}" y="{low + 4:.1f}" text-anchor="end" fill="{LINE}">{_percent(-tolerance)}</text>',
    ]
    for at, delta, verdict in points[:3000]:
        x, y = _x(min(max(at, across[0]), across[1]), across), _y(delta, span, top, STRIP)
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.6" fill="{_COLOURS.get(verdict, LINE)}"/>')
    return parts


def _table(said: Mapping[str, Any], top: float) -> list[str]:
    """The places in a few lines, those that are not PASS first; or the figures that are no places. The first line names the columns."""
    rows = said.get("figures") or sorted(_chosen(said["points"]), key=lambda p: p["at"])
    if not rows:
        return []
    columns = [LEFT + offset for offset in (80, 190, 300, 400, 425)]
    heads = (
        ["", "legacy", "target", "delta", "between"]
        if said.get("figures")
        else [str(said["by"]), "legacy", "target", "delta", "verdict"]
    )
    cells = [heads, *map(_cells, rows)]
    lines = []
    for number, words in enumerate(cells):
        y, fill = top + ROW * number, LINE if not number else _COLOURS.get(words[4], "#1b1f23")
        texts = "".join(
            f'<text x="{x}" y="{y:.0f}" text-anchor="{"start" if x == columns[-1] else "end"}" fill="{fill}">{escape(word)}</text>'
            for x, word in zip(columns, words, strict=True)
        )
        lines.append(f"<g>{texts}</g>")
    return lines


def _chosen(points: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """What stands in a table of few lines: what is not PASS, then the largest differences."""
    if len(points) <= ROWS:
        return list(points)
    order = sorted(points, key=lambda p: (p["verdict"] == "PASS", -abs(p["delta"] or 0.0)))
    return order[:ROWS]


def _cells(row: Mapping[str, Any]) -> list[str]:
    if "name" in row:
        low, high = (_percent(bound) for bound in row["change"])
        return [row["name"], f"{row['legacy']:.6g}", f"{row['target']:.6g}", _percent(row["delta"]), f"{low} and {high}"]
    figures = ("-" if row[side] is None else f"{row[side]:.6g}" for side in ("at", "legacy", "target"))
    return [*figures, _percent(row["delta"]), row["verdict"]]


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    return escape(f"{value:.6g}")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.3g} %"


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"
