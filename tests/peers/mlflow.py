"""A tracking server that speaks as much of MLflow's REST API as its documentation says of metrics: pages, errors, odd figures as text."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field

from aiohttp import web

Entry = tuple[int, int, float | str]  # step, unix milliseconds, value


@dataclass
class Mlflow:
    """`runs` by id: a metric's entries by its key. `token`: what it wants to hear. `page`: the most of a page."""

    runs: Mapping[str, Mapping[str, Sequence[Entry]]]
    token: str | None = None
    page: int = 1000
    pages: bool = True  # False: as a server that keeps files, which knows no pages
    url: str = ""
    asked: list[str] = field(default_factory=list)


@contextlib.asynccontextmanager
async def mlflow(server: Mlflow) -> AsyncIterator[Mlflow]:
    app = web.Application()

    def refuse(status: int, code: str, message: str) -> web.Response:
        return web.json_response({"error_code": code, "message": message}, status=status)

    def run_of(request: web.Request) -> Mapping[str, Sequence[Entry]] | web.Response:
        server.asked.append(request.path_qs)
        if server.token is not None and request.headers.get("Authorization") != f"Bearer {server.token}":
            return web.Response(status=401, text="no")
        run = request.query.get("run_id", "")
        if run not in server.runs:
            return refuse(404, "RESOURCE_DOES_NOT_EXIST", f"Run with id={run} not found")
        return server.runs[run]

    def entry(key: str, e: Entry) -> dict[str, object]:
        return {"key": key, "value": e[2], "timestamp": str(e[1]), "step": str(e[0])}  # int64 is text in proto3's JSON

    async def history(request: web.Request) -> web.Response:
        run = run_of(request)
        if isinstance(run, web.Response):
            return run
        key = request.query["metric_key"]
        if not server.pages:
            if "page_token" in request.query:
                return refuse(400, "INVALID_PARAMETER_VALUE", "The FileStore backend does not support pagination")
            return web.json_response({"metrics": [entry(key, e) for e in run.get(key, ())]})
        start = int(request.query.get("page_token", "0"))
        size = min(server.page, int(request.query.get("max_results", "1000")))
        entries = run.get(key, ())
        answer: dict[str, object] = {"metrics": [entry(key, e) for e in entries[start : start + size]]}
        if start + size < len(entries):
            answer["next_page_token"] = str(start + size)
        return web.json_response(answer)

    async def get(request: web.Request) -> web.Response:
        run = run_of(request)
        if isinstance(run, web.Response):
            return run
        metrics = [entry(key, entries[-1]) for key, entries in run.items() if entries]
        return web.json_response({"run": {"info": {"run_id": request.query["run_id"]}, "data": {"metrics": metrics}}})

    app.router.add_get("/api/2.0/mlflow/metrics/get-history", history)
    app.router.add_get("/api/2.0/mlflow/runs/get", get)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield server
    finally:
        await runner.cleanup()
