"""Where a measure's figures come from: one kind a side, with the fields that it needs and no others."""

from __future__ import annotations

import re

from backends.escape import plain
from backends.plan.document import Path
from backends.plan.models import Axis, Measure, Source
from backends.plan.problems import Findings
from backends.plan.rules.stores import is_loopback, split_url
from backends.plan.shares import is_share_name

_FILES = ("", "file", "ssh")
_NEEDED = {"file": ("value",), "prometheus": ("query",), "mlflow": ("run", "value")}
_SUCH = {"value": "loss, the field's name", "query": "an expression of PromQL", "run": "the run's id"}
_ONLY = {
    "value": ("file", "mlflow"),
    "pattern": ("file",),
    "query": ("prometheus",),
    "total": ("prometheus", "file", "mlflow"),
    "run": ("mlflow",),
    "token": ("prometheus", "mlflow"),
}
_AXES: dict[str, tuple[Axis, ...]] = {"prometheus": ("time",), "mlflow": ("step", "time")}
_TIMES, _BYTES = ("s", "ms", "us"), ("B", "MB", "MiB", "GB", "GiB")
_PORTS = {"prometheus": 9090, "mlflow": 5000}


def kind_of(source: Source) -> str | None:
    """The one kind of source that it names; None where it names none or several."""
    kinds = [kind for kind in _NEEDED if getattr(source, kind) is not None]
    return kinds[0] if len(kinds) == 1 else None


def check_source(path: Path, source: Source, findings: Findings) -> None:
    """One kind of source, with the fields that it needs."""
    is_written = findings.places.is_written
    kind = kind_of(source)
    if kind is None:
        kinds = [k for k in _NEEDED if getattr(source, k) is not None]
        if kinds or not any(is_written((*path, k)) for k in _NEEDED):
            found = " and ".join(kinds) if kinds else "none"
            findings.error(
                path,
                "one_kind",
                f"found {found}, expected exactly one of {', '.join(_NEEDED)}",
                "leave the others out" if kinds else "such as file: ssh://HOST/PATH",
            )
        return
    for field in _NEEDED[kind]:
        if getattr(source, field) is None and not is_written((*path, field)):
            findings.error(
                path, "missing_field", f"found no field `{field}`, expected one beside `{kind}`", f"{field}: {_SUCH[field]}"
            )
    for field, only in _ONLY.items():
        if getattr(source, field) is not None and kind not in only:
            message = f"found `{field}` beside `{kind}`, expected it only with {' or '.join(only)}"
            findings.error((*path, field), "not_used", message, "leave it out")
    if source.by not in _AXES.get(kind, (source.by,)):
        message = f"found by: {source.by} beside `{kind}`, whose figures are by {' or '.join(_AXES[kind])} only"
        findings.error((*path, "by"), "not_used", message, f"leave it out, or by: {_AXES[kind][0]}")
    _check_pattern(path, source, findings)
    if source.file is None:
        _check_server(path, kind, source, findings)
        return
    parts = split_url(source.file)
    if parts is None or parts.scheme not in _FILES or (parts.scheme == "ssh" and not parts.hostname):
        found = f"found `{plain(source.file, 80)}`, expected ssh://host/path, file:///path or a path"
        findings.error((*path, "file"), "source", found, "such as ssh://HOST/var/log/train/metrics.jsonl")


def _check_pattern(path: Path, source: Source, findings: Findings) -> None:
    """A pattern must be an expression whose groups name the metric and its axis."""
    if source.pattern is None or source.file is None:
        return
    try:
        groups = re.compile(source.pattern).groupindex
    except (re.error, RecursionError, OverflowError) as error:
        findings.error(
            (*path, "pattern"),
            "pattern",
            f"found no regular expression: {plain(str(error), 120)}",
            "such as loss (?P<loss>[0-9.]+)",
        )
        return
    own = re.sub(r"\W", "_", source.value or "")
    if own not in groups and "value" not in groups:
        message = f"found no group of the pattern for `{plain(source.value or '', 80)}`, expected one"
        findings.error((*path, "pattern"), "pattern", message, f"name a group (?P<{plain(own, 80) or 'value'}>…)")


def _check_server(path: Path, kind: str, source: Source, findings: Findings) -> None:
    url = getattr(source, kind)
    parts = split_url(url)
    if parts is None or parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        found = f"found `{plain(url, 80)}`, expected http://host:{_PORTS[kind]} or https://host/prefix"
        findings.error((*path, kind), "source", found, f"such as http://127.0.0.1:{_PORTS[kind]}, its address without a query")
    elif source.token is not None and parts.scheme == "http" and not is_loopback(parts.hostname):
        message = "found plain http with a token: whoever is on the way reads it"
        findings.warning((*path, kind), "plain_http", message, "use https")


def _check_unit(path: Path, measure: Measure, source: Source, findings: Findings) -> None:
    """Latencies of Prometheus and memory have a unit, each its own."""
    fitting: tuple[str, ...] = ()
    if measure.kind == "memory":
        fitting = _BYTES
    elif measure.kind == "latency" and source.prometheus is not None:
        fitting = _TIMES
    elif measure.kind == "error_rate" and source.prometheus is None:
        fitting = ("share",)
    if source.unit is None or source.unit in fitting:
        return
    expected = (
        f"one of {', '.join(fitting)}"
        if fitting
        else "none: it is for latencies of Prometheus, for memory, and for errors of a file or of MLflow"
    )
    findings.error(
        (*path, "unit"),
        "not_used",
        f"found `unit: {source.unit}` for a measure of kind {measure.kind}, expected {expected}",
        f"such as unit: {fitting[0]}" if fitting else "leave it out",
    )


def _note_share(path: Path, source: Source, findings: Findings) -> None:
    """A name that sounds like a share, where each figure is taken as a request."""
    if is_share_name(source.value or ""):
        message = (
            f"found `{source.value}` for errors: while every figure is 0 or 1, each is taken as a request that failed or did not"
        )
        cure = "if it is a share of requests: unit: share, and total: FIELD where the line has their number"
        findings.note((*path, "value"), "share", message, cure)


def check_kind(path: Path, measure: Measure, findings: Findings) -> None:
    """What a source of a server must say for the kind of its measure."""
    for side, source in (("legacy", measure.legacy), ("target", measure.target)):
        _check_unit((*path, side), measure, source, findings)
        if source.total is not None and measure.kind != "error_rate":
            message = f"found `total` for a measure of kind {measure.kind}, expected it only for error_rate"
            findings.error((*path, side, "total"), "not_used", message, "leave it out, or kind: error_rate")
        elif source.total is not None and source.by != "time":
            message = f"found by: {source.by} beside `total`, whose requests stand at their times"
            findings.error((*path, side, "by"), "not_used", message, "leave it out")
        if measure.kind == "error_rate" and source.value and source.unit is None and source.total is None and source.file:
            _note_share((*path, side), source, findings)
        if source.prometheus is None:
            continue
        if measure.kind == "latency" and source.unit is None:
            message = "nothing says what unit the query gives: taken as milliseconds; Prometheus' own histograms hold seconds"
            findings.note((*path, side, "query"), "unit", message, "write unit: s, or unit: ms")
    if measure.kind not in ("latency", "error_rate") or measure.legacy.total or measure.target.total:
        return
    if measure.legacy.is_log != measure.target.is_log:
        message = "found a log of requests on one side and a server's figure on the other: they are not the same thing"
        findings.error((*path, "target"), "axes_differ", message, "take both from a server, or both from logs")
