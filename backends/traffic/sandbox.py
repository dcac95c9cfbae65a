"""The front door of `cutover sandbox`: `GET` and `PUT {admin}/weight`, JSON `{"weight": 25}`; and its data plane, which
answers `GET {probe.url}` with JSON that names the side.
"""

from __future__ import annotations

import json

import aiohttp

from backends.escape import plain
from backends.plan.models import Probe
from backends.plan.models import SandboxRoute as SandboxSpec
from backends.sending import before_sending
from backends.traffic.base import Confirmation, ForeignChange, Observed, PlainRoute, RouteError
from backends.traffic.seen_sides import look_at_clients, new_clients

ADMIN_TIMEOUT = 5.0
MAX_ANSWER = 1 << 16


class SandboxRoute(PlainRoute):
    """Weight at the sandbox's front door."""

    kind = "sandbox"

    def __init__(self, name: str, spec: SandboxSpec, probe: Probe | None) -> None:
        self.name = name
        self._admin = spec.admin.rstrip("/")
        self._probe = probe
        self._session: aiohttp.ClientSession | None = None

    async def read(self) -> Observed:
        weight = _weight(self.name, await self._ask("GET"))
        return Observed(weight, f"the front door says {weight}")

    async def set(self, weight: int, expected: int | None) -> None:
        if expected is not None:
            found = (await self.read()).weight
            if found not in (expected, weight):
                raise ForeignChange(self.name, expected, found)
        answer = _weight(self.name, await self._ask("PUT", {"weight": weight}))
        if answer != weight:
            raise RouteError(f"route {self.name}: asked for {weight}, the front door answered {answer}")

    async def confirm(self, weight: int) -> Confirmation:
        observed = await self.read()
        if self._probe is None or self._probe.url is None:
            return Confirmation(observed.weight == weight, None, None, f"{observed.detail}; no probe.url to ask")
        is_there, share, detail = await look_at_clients(self._client(), self._probe.url, self._probe.timeout, weight)
        return Confirmation(observed.weight == weight, is_there, share, f"{observed.detail}; {detail}")

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = new_clients()
        return self._session

    async def _ask(self, method: str, body: dict[str, int] | None = None) -> bytes:
        url = f"{self._admin}/weight"
        timeout = aiohttp.ClientTimeout(total=ADMIN_TIMEOUT)
        await before_sending()
        try:
            async with self._client().request(method, url, json=body, timeout=timeout, allow_redirects=False) as answer:
                data = await answer.content.read(MAX_ANSWER)
                if answer.status != 200:
                    raise RouteError(f"route {self.name}: {method} {plain(url)} answered {answer.status}: {plain(data, 200)}")
                return data
        except TimeoutError as error:
            raise RouteError(f"route {self.name}: {plain(url)} does not answer within {ADMIN_TIMEOUT:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise RouteError(f"route {self.name}: cannot ask {plain(url)}: {plain(str(error))}") from error


def _weight(route: str, data: bytes) -> int:
    try:
        weight = json.loads(data)["weight"]
    except (ValueError, KeyError, TypeError):
        weight = None
    if not isinstance(weight, int) or isinstance(weight, bool) or not 0 <= weight <= 100:
        raise RouteError(f"route {route}: the front door answered {plain(data, 200)}, which holds no weight from 0 to 100")
    return weight
