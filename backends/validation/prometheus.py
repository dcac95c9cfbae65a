"""Figures from Prometheus: range queries on a fixed grid of instants, so that two servers' answers meet.

The HTTP API as documented (prometheus.io/docs/prometheus/latest/querying/api): `query_range`, and the names of metrics for the
answer when one is absent.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from backends.escape import plain
from backends.listed import listed
from backends.plan.nearest import nearest_name
from backends.validation.errors import MetricAbsent, MetricAmbiguous, SourceUnreadable
from backends.validation.rows import to_number
from backends.validation.web import Web

MOST_POINTS = 10_000  # a query; Prometheus refuses more than 11,000
_MOST_SHOWN = 8
_IDENTIFIER = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_QUOTED = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|`[^`]*`|\{[^{}]*\}|\[[^\]]*\]")

Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Server:
    """A Prometheus: its address, a token where it wants one, and its name in messages."""

    url: str
    where: str
    token: str | None = field(default=None, repr=False)

    def api(self, path: str) -> str:
        """The address of a part of its API."""
        return f"{self.url.rstrip('/')}/api/v1/{path}"


async def query_range(web: Web, server: Server, query: str, start: float, end: float, step: float) -> Points:
    """The one series that a query gives at start, start + step, … up to `end` (unix seconds), in order; empty for none.

    Raises `MetricAmbiguous` where it gives several, `SourceUnreadable` with Prometheus' own words where it refuses.
    """
    points: Points = []
    labels: str | None = None
    while start <= end:
        last = min(end, start + (MOST_POINTS - 1) * step)
        form = {"query": query, "start": f"{start:.3f}", "end": f"{last:.3f}", "step": f"{step:.3f}"}
        status, answer = await web.ask(server.api("query_range"), form=form, token=server.token, where=server.where)
        found = _series(status, answer, server.where)
        if len(found) > 1 or (found and labels is not None and labels != found[0][0]):
            raise _ambiguous([name for name, _ in found], server.where)
        for name, more in found:
            labels = name
            points += more
        start = last + step
    return points


async def server_time(web: Web, server: Server) -> float:
    """Unix seconds by the server's own clock."""
    status, answer = await web.ask(server.api("query"), form={"query": "time()"}, token=server.token, where=server.where)
    data = answer.get("data") if isinstance(answer, dict) else None
    result = data.get("result") if isinstance(data, dict) and data.get("resultType") == "scalar" else None
    told = to_number(result[1]) if isinstance(result, list) and len(result) == 2 else None
    if told is None or not math.isfinite(told):
        raise SourceUnreadable(f"the answer ({status}) does not say what time it is there", where=server.where)
    return told


def _series(status: int, answer: Any, where: str) -> list[tuple[str, Points]]:
    if not isinstance(answer, dict) or "status" not in answer:
        hint = "is it the address of a Prometheus, with its prefix?"
        raise SourceUnreadable(f"the answer ({status}) is not Prometheus'", where=where, hint=hint)
    if answer.get("status") != "success":
        said = plain(str(answer.get("error", "no reason given")), 300)
        raise SourceUnreadable(f"Prometheus refuses the query: {said}", where=where)
    data = answer.get("data")
    result = data.get("result") if isinstance(data, dict) and data.get("resultType") == "matrix" else None
    if not isinstance(result, list):
        raise SourceUnreadable("the answer is not Prometheus': no matrix", where=where)
    return [(_labels(s.get("metric")), _points(s.get("values"))) for s in result if isinstance(s, dict)]


def _labels(metric: Any) -> str:
    if not isinstance(metric, dict):
        return "{}"
    name = plain(str(metric.get("__name__", "")), 80)
    inner = ", ".join(f"{plain(str(k), 40)}={plain(str(v), 60)}" for k, v in sorted(metric.items()) if k != "__name__")
    return f"{name}{{{inner}}}"


def _points(values: Any) -> Points:
    points: Points = []
    for pair in values if isinstance(values, list) else ():
        if not isinstance(pair, list) or len(pair) != 2 or not isinstance(pair[0], int | float):
            continue
        value = to_number(pair[1])
        if value is not None and math.isfinite(pair[0]):
            points.append((float(pair[0]), value))
    return points


def _ambiguous(names: list[str], where: str) -> MetricAmbiguous:
    message = f"the query gives {len(names)} series: {listed(names, _MOST_SHOWN, between='; ')}"
    return MetricAmbiguous(message, where=where, hint="narrow it by labels, or aggregate it, such as sum(…)")


async def absent(web: Web, server: Server, query: str) -> MetricAbsent:
    """Why a query gives nothing: which of its metrics the server does not know, and the nearest that it does."""
    _, answer = await web.ask(server.api("label/__name__/values"), token=server.token, where=server.where)
    names = answer.get("data") if isinstance(answer, dict) else None
    known = [n for n in names if isinstance(n, str)] if isinstance(names, list) else []
    for name in metrics_of(query):
        if name in known:
            continue
        near = nearest_name(name, known[:5000])
        there = ", ".join(plain(n, 80) for n in sorted(known, key=lambda n: (n != near, n))[:_MOST_SHOWN])
        message = f"`{plain(name, 80)}` is not there; there are {there}" if known else "it holds no metric at all"
        return MetricAbsent(message, where=server.where, hint=f"did you mean {plain(near, 80)}?" if near else "")
    return MetricAbsent(
        "the query gives nothing in this time", where=server.where, hint="do its labels match, and is it scraped?"
    )


def metrics_of(query: str) -> list[str]:
    """The names in a query that are no functions, operators or labels, as far as can be told without a parser."""
    text = _QUOTED.sub(lambda m: "{}" if m[0].startswith("{") else " ", query)
    text = re.sub(r"\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)", " ", text)
    out = []
    for match in _IDENTIFIER.finditer(text):
        after = text[match.end() :].lstrip()
        before = text[: match.start()]
        if after.startswith("(") or match[0] in _WORDS or before.endswith(tuple("0123456789.")):
            continue
        out.append(match[0])
    return out


_WORDS = frozenset(
    [
        "and",
        "or",
        "unless",
        "offset",
        "bool",
        "by",
        "without",
        "on",
        "ignoring",
        "group_left",
        "group_right",
        "inf",
        "nan",
        "Inf",
        "NaN",
        "start",
        "end",
        "atan2",
    ]
)


def grid(instant: float, step: float) -> float:
    """The last instant of the grid up to this one: all who ask with this step ask for the same instants."""
    return math.floor(round(instant / step, 6)) * step
