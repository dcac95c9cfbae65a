"""AWS Service Quotas on the loopback: its JSON 1.1 protocol with two of its operations, and their errors (API reference of 2019-06-24)."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from aiohttp import web

from tests.peers.process import free_ports

_PREFIX = "ServiceQuotasV20190624."


@dataclass
class ServiceQuotas:
    """`applied` and `defaults` by (service, code). `asked` are the operations."""

    endpoint: str
    applied: dict[tuple[str, str], float] = field(default_factory=dict)
    defaults: dict[tuple[str, str], float] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    is_denied: bool = False

    async def answer(self, request: web.Request) -> web.Response:
        operation = request.headers["X-Amz-Target"].removeprefix(_PREFIX)
        self.asked.append(operation)
        if self.is_denied or "/servicequotas/aws4_request" not in request.headers.get("Authorization", ""):
            return _error("AccessDeniedException", "not authorized to perform: servicequotas:GetServiceQuota")
        told = json.loads(await request.read())
        kept = self.applied if operation == "GetServiceQuota" else self.defaults
        key = told["ServiceCode"], told["QuotaCode"]
        if key not in kept:
            return _error("NoSuchResourceException", "The request failed because the specified quota does not exist.")
        quota = {"ServiceCode": key[0], "QuotaCode": key[1], "Value": kept[key], "Unit": "None", "Adjustable": True}
        return web.Response(text=json.dumps({"Quota": quota}), content_type="application/x-amz-json-1.1")


def _error(code: str, message: str) -> web.Response:
    body = json.dumps({"__type": code, "Message": message})
    return web.Response(status=400, text=body, content_type="application/x-amz-json-1.1")


@contextlib.asynccontextmanager
async def service_quotas() -> AsyncIterator[ServiceQuotas]:
    """The service while it runs."""
    (port,) = free_ports(1)
    server = ServiceQuotas(f"http://127.0.0.1:{port}")
    app = web.Application()
    app.router.add_post("/", server.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", port).start()
        yield server
    finally:
        await runner.cleanup()
