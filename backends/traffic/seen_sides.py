"""Where clients are: requests through the route, each told apart by the side that its answer names (`{"side": "target"}`)."""

from __future__ import annotations

import asyncio
import json
import math

import aiohttp

MAX_ANSWER = 1 << 16
ASKED_WHOLE = 20  # clients asked at weight 0 and 100, where none may be on the wrong side
ASKED_PARTIAL = 40
AT_ONCE = 10
RAREST = 0.001  # a share that comes up less often than this by chance is not the weight's


def new_clients() -> aiohttp.ClientSession:
    """A connection a request, and no cookie: a client that comes anew, as the balancer sees it."""
    connector = aiohttp.TCPConnector(limit=AT_ONCE, force_close=True)
    return aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())


async def look_at_clients(
    clients: aiohttp.ClientSession, url: str, seconds: float, weight: int
) -> tuple[bool, float | None, str]:
    """Whether they are where the weight sends them, the share on target, and that in words."""
    asked = ASKED_WHOLE if weight in (0, 100) else ASKED_PARTIAL
    return judge_sides(await ask_sides(clients, url, seconds, asked), asked, weight)


async def ask_sides(clients: aiohttp.ClientSession, url: str, seconds: float, count: int) -> list[str | None]:
    """The side that each of `count` requests reached; None where it cannot be told."""
    timeout = aiohttp.ClientTimeout(total=seconds)

    async def ask() -> str | None:
        try:
            async with clients.get(url, timeout=timeout, allow_redirects=False) as answer:
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
