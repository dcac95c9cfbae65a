"""Metrics of MLflow's tracking server, by its REST API as documented (mlflow.org/docs/latest/rest-api.html): `runs/get` for what a
run has, `metrics/get-history` for a metric's curve, page by page. Proto3's JSON writes whole numbers and odd figures as text."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from backends.escape import plain
from backends.validation.errors import MetricAbsent, SourceUnreadable
from backends.validation.rows import Names, Row, to_number, to_place, to_time
from backends.validation.web import Web

PAGE = 25_000  # the most that MLflow gives at once
MOST_PAGES = 400


@dataclass(frozen=True, slots=True)
class Tracking:
    """One run of a tracking server. `where` is how it is shown: without the token."""

    url: str
    run: str
    where: str
    token: str | None = field(default=None, repr=False)


async def metric_rows(web: Web, run: Tracking, metric: str) -> list[Row]:
    """The metric's history, in the server's order, by step and time. Raises what says why there is none."""
    rows: list[Row] = []
    page = ""
    for _ in range(MOST_PAGES):
        more, page = await history_page(web, run, metric, page)
        rows += more
        if not page:
            break
    if not rows:
        raise absent(metric, await latest_of(web, run), run.where)
    return rows


async def history_page(web: Web, run: Tracking, metric: str, page: str, size: int = PAGE) -> tuple[list[Row], str]:
    """(rows of a page of the history, the next page's token or ""). Servers on files have one page, whatever its `size`."""
    asked = {"run_id": run.run, "metric_key": metric, "max_results": str(size)} | ({"page_token": page} if page else {})
    status, answer = await web.ask(_api(run.url, "metrics/get-history"), params=asked, token=run.token, where=run.where)
    found = _checked(status, answer, run.where).get("metrics", [])
    rows = [row for entry in (found if isinstance(found, list) else []) if (row := _row(entry)) is not None]
    following = answer.get("next_page_token")
    return rows, following if isinstance(following, str) and following != page else ""


async def latest_of(web: Web, run: Tracking) -> dict[str, Row]:
    """The latest figure of each of the run's metrics."""
    status, answer = await web.ask(_api(run.url, "runs/get"), params={"run_id": run.run}, token=run.token, where=run.where)
    data = _checked(status, answer, run.where).get("run", {})
    data = data.get("data", {}) if isinstance(data, dict) else {}
    metrics = data.get("metrics", []) if isinstance(data, dict) else []
    entries = [e for e in (metrics if isinstance(metrics, list) else []) if isinstance(e, dict) and isinstance(e.get("key"), str)]
    return {e["key"]: row for e in entries if (row := _row(e)) is not None}


def absent(metric: str, latest: Iterable[str], where: str) -> MetricAbsent:
    """The error that lists the metrics that the run has."""
    names = Names()
    for name in latest:
        names.add(name)
    error = names.absent(metric)
    error.where = where
    return error


def _api(url: str, path: str) -> str:
    return f"{url.rstrip('/')}/api/2.0/mlflow/{path}"


def _checked(status: int, answer: Any, where: str) -> dict[str, Any]:
    if status == 200 and isinstance(answer, dict):
        return answer
    if isinstance(answer, dict) and isinstance(answer.get("error_code"), str):
        said = f"{plain(answer['error_code'], 60)}: {plain(str(answer.get('message', '')), 200)}"
        raise SourceUnreadable(f"MLflow refuses it: {said}", where=where, hint="is the run's id right?")
    raise SourceUnreadable(f"the answer ({status}) is not MLflow's", where=where, hint="is it the address of a tracking server?")


def _row(entry: Any) -> Row | None:
    if not isinstance(entry, dict):
        return None
    value = to_number(entry.get("value", 0.0))  # proto3's JSON may leave out zeros
    if value is None:
        return None
    return Row(None, to_place(entry.get("step", 0)), None, to_time(entry.get("timestamp")), value)
