"""The front door of `cutover sandbox`: `GET` and `PUT {admin}/weight`, JSON `{"weight": 25}`; and its data plane, which
answers `GET {probe.url}` with JSON that names the side.
"""

from __future__ import annotations

import asyncio
import json
import math

import aiohttp

from backends.escape import plain
from backends.plan.models import Probe
from backends.plan.models import SandboxRoute as SandboxSpec
from backends.traffic.base import Confirmation, ForeignChange, Observed, PlainRoute, RouteError

ADMIN_TIMEOUT = 5.0
MAX_ANSWER = 1 << 16
ASKED_WHOLE = 20  # clients asked at weight 0 and 100, where none may be on the wrong side
ASKED_PARTIAL = 40
AT_ONCE = 10
RAREST = 0.001  # a share that comes up less often than this by chance is not the weight's


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
        asked = ASKED_WHOLE if weight in (0, 100) else ASKED_PARTIAL
        sides = await self._ask_sides(self._probe.url, self._probe.timeout, asked)
        is_there, share, detail = judge_sides(sides, asked, weight)
        return Confirmation(observed.weight == weight, is_there, share, f"{observed.detail}; {detail}")

    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            # A connection a request: a client that comes anew, as the balancer sees it.
            connector = aiohttp.TCPConnector(limit=AT_ONCE, force_close=True)
            self._session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        return self._session

    async def _ask(self, method: str, body: dict[str, int] | None = None) -> bytes:
        url = f"{self._admin}/weight"
        timeout = aiohttp.ClientTimeout(total=ADMIN_TIMEOUT)
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

    async def _ask_sides(self, url: str, seconds: float, count: int) -> list[str | None]:
        """The side that each of `count` requests reached; None where it cannot be told."""
        timeout = aiohttp.ClientTimeout(total=seconds)

        async def ask() -> str | None:
            try:
                async with self._client().get(url, timeout=timeout, allow_redirects=False) as answer:
                    said = json.loads(await answer.content.read(MAX_ANSWER))
            except (aiohttp.ClientError, OSError, TimeoutError, ValueError):
                return None
            side = said.get("side") if isinstance(said, dict) else None
            return side if side in ("legacy", "target") else None

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(ask()) for _ in range(count)]
        return [task.result() for task in tasks]


def judge_sides(sides: list[str | None], asked: int, weight: int) -> tuple[bool, float | None, str]:
    """Whether clients are where the weight sends them, the share seen on target, and that in words.

    At 0 and 100 none may be on the wrong side. Between, the number on target must be one that comes up by chance at least
    once in a thousand (a binomial with that share, each tail). Half of those asked must have been told apart.
    """
    told = [side for side in sides if side is not None]
    silent = f", {asked - len(told)} got no answer that names a side" if len(told) < asked else ""
    if 2 * len(told) < asked:
        return False, None, f"{len(told)} of {asked} clients asked were answered{silent}"
    seen = told.count("target")
    share = seen / len(told)
    if weight in (0, 100):
        return share == weight / 100, share, f"{seen} of {len(told)} clients asked were on target{silent}"
    low, high = expected_counts(len(told), weight / 100)
    text = f"{seen} of {len(told)} clients asked were on target, {low} to {high} fit {weight} %{silent}"
    return low <= seen <= high, share, text


def expected_counts(count: int, share: float) -> tuple[int, int]:
    """The least and the most hits of `count` that are no rarer than `RAREST` on their side."""
    chances = [math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(count + 1)]
    low = next(k for k in range(count + 1) if sum(chances[: k + 1]) >= RAREST)
    high = next(k for k in range(count, -1, -1) if sum(chances[k:]) >= RAREST)
    return low, high


def _weight(route: str, data: bytes) -> int:
    try:
        weight = json.loads(data)["weight"]
    except (ValueError, KeyError, TypeError):
        weight = None
    if not isinstance(weight, int) or isinstance(weight, bool) or not 0 <= weight <= 100:
        raise RouteError(f"route {route}: the front door answered {plain(data, 200)}, which holds no weight from 0 to 100")
    return weight
