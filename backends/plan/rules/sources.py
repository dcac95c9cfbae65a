"""Where a measure's figures come from: one kind a side, with the fields that it needs and no others."""

from __future__ import annotations

import re

from backends.escape import plain
from backends.plan.document import Path
from backends.plan.models import Measure, Source
from backends.plan.problems import Findings
from backends.plan.rules.stores import is_loopback, split_url

_FILES = ("", "file", "ssh")


def check_source(path: Path, source: Source, findings: Findings) -> None:
    """One kind of source, with the fields that it needs."""
    is_written = findings.places.is_written
    kinds = [kind for kind in ("file", "prometheus") if getattr(source, kind) is not None]
    if len(kinds) != 1:
        if kinds or not any(is_written((*path, kind)) for kind in ("file", "prometheus")):
            found = "both" if kinds else "neither"
            findings.error(path, "one_kind", f"found {found}, expected exactly one of file, prometheus")
        return
    needed, kind = ("value", "file") if kinds == ["file"] else ("query", "prometheus")
    if getattr(source, needed) is None and not is_written((*path, needed)):
        findings.error(path, "missing_field", f"found no field `{needed}`, expected one beside `{kind}`")
    _check_pattern(path, source, findings)
    _check_prometheus(path, source, findings)
    if source.file is not None:
        parts = split_url(source.file)
        if parts is None or parts.scheme not in _FILES or (parts.scheme == "ssh" and not parts.hostname):
            found = f"found `{plain(source.file, 80)}`, expected ssh://host/path, file:///path or a path"
            findings.error((*path, "file"), "source", found)


def _check_pattern(path: Path, source: Source, findings: Findings) -> None:
    """A pattern must be an expression whose groups name the metric and its axis."""
    if source.pattern is None:
        return
    if source.file is None:
        findings.error((*path, "pattern"), "not_used", "found `pattern` without `file`, expected it beside one")
        return
    try:
        groups = re.compile(source.pattern).groupindex
    except (re.error, RecursionError, OverflowError) as error:
        findings.error((*path, "pattern"), "pattern", f"found no regular expression: {plain(str(error), 120)}")
        return
    own = re.sub(r"\W", "_", source.value or "")
    if own not in groups and "value" not in groups:
        message = f"found no group of the pattern for `{plain(source.value or '', 80)}`, expected one"
        findings.error((*path, "pattern"), "pattern", message, f"name a group (?P<{plain(own, 80) or 'value'}>…)")


def _check_prometheus(path: Path, source: Source, findings: Findings) -> None:
    if source.prometheus is None:
        for field in ("total", "unit", "token", "query"):
            if getattr(source, field) is not None:
                findings.error((*path, field), "not_used", f"found `{field}` without `prometheus`, expected it beside one")
        return
    parts = split_url(source.prometheus)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        found = f"found `{plain(source.prometheus, 80)}`, expected http://host:9090 or https://host/prefix"
        findings.error((*path, "prometheus"), "source", found)
    elif source.token is not None and parts.scheme == "http" and not is_loopback(parts.hostname):
        message = "found plain http with a token: whoever is on the way reads it"
        findings.warning((*path, "prometheus"), "plain_http", message, "use https")
    if source.value is not None:
        findings.error((*path, "value"), "not_used", "found `value` beside `prometheus`, which has `query`")
    if source.by != "time":
        findings.error((*path, "by"), "not_used", f"found by: {source.by} for Prometheus, whose figures are by time only")


def check_kind(path: Path, measure: Measure, findings: Findings) -> None:
    """What a source of Prometheus must say for the kind of its measure."""
    for side, source in (("legacy", measure.legacy), ("target", measure.target)):
        if source.prometheus is None:
            continue
        if source.total is not None and measure.kind != "error_rate":
            message = f"found `total` for a measure of kind {measure.kind}, expected it only for error_rate"
            findings.error((*path, side, "total"), "not_used", message)
        if source.unit is not None and measure.kind != "latency":
            message = f"found `unit` for a measure of kind {measure.kind}, expected it only for latency"
            findings.error((*path, side, "unit"), "not_used", message)
        if measure.kind == "latency" and source.unit is None:
            message = "nothing says what unit the query gives: taken as milliseconds; Prometheus' own histograms hold seconds"
            findings.note((*path, side, "query"), "unit", message, "write unit: s, or unit: ms")
    kinds = {"prometheus" if s.prometheus is not None else "file" for s in (measure.legacy, measure.target)}
    if measure.kind in ("latency", "error_rate") and len(kinds) > 1 and not (measure.legacy.total or measure.target.total):
        message = "found a log of requests on one side and a query's figure on the other: they are not the same thing"
        findings.error((*path, "target"), "axes_differ", message, "take both from Prometheus, or both from logs")
