"""Metrics of MLflow's tracking server, by its REST API as documented (mlflow.org/docs/latest/rest-api.html): `runs/get` for what a
run has, `metrics/get-history` for a metric's curve, page by page. Proto3's JSON writes whole numbers and odd figures as text."""

from __future__ import annotations

from typing import Any

from backends.errors import CouldNot
from backends.escape import plain
from backends.validation.errors import SourceUnreadable
from backends.validation.rows import Names, Row, to_number, to_place, to_time
from backends.validation.web import Web

PAGE = 25_000  # the most that MLflow gives at once
MOST_PAGES = 400


async def metric_rows(web: Web, url: str, run: str, metric: str, *, token: str | None, where: str) -> list[Row]:
    """The metric's history, in the server's order, by step and time. Raises what says why there is none."""
    rows: list[Row] = []
    page = ""
    for _ in range(MOST_PAGES):
        asked = {"run_id": run, "metric_key": metric, "max_results": str(PAGE)} | ({"page_token": page} if page else {})
        status, answer = await web.ask(_api(url, "metrics/get-history"), params=asked, token=token, where=where)
        found = _checked(status, answer, where).get("metrics", [])
        rows += [row for entry in (found if isinstance(found, list) else []) if (row := _row(entry)) is not None]
        following = answer.get("next_page_token")
        if not isinstance(following, str) or not following or following == page:
            break
        page = following
    if not rows:
        raise await _absent(web, url, run, metric, token, where)
    return rows


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


async def _absent(web: Web, url: str, run: str, metric: str, token: str | None, where: str) -> CouldNot:
    status, answer = await web.ask(_api(url, "runs/get"), params={"run_id": run}, token=token, where=where)
    data = _checked(status, answer, where).get("run", {})
    data = data.get("data", {}) if isinstance(data, dict) else {}
    metrics = data.get("metrics", []) if isinstance(data, dict) else []
    names = Names()
    for entry in metrics if isinstance(metrics, list) else []:
        if isinstance(entry, dict) and isinstance(entry.get("key"), str):
            names.add(entry["key"])
    error = names.absent(metric)
    error.where = where
    return error
