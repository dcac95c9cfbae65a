"""How a played scenario ended, from the journal and the front door's own clients; nothing comes from the script."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp

from backends.cutover.events import Event, Kind
from backends.cutover.fold import apply
from backends.cutover.migration import Migration
from backends.cutover.story import QUIET, describe
from backends.engine.journal import read_events
from backends.errors import CouldNot

SETTLE_LIMIT = 10.0


async def front_door(admin: str, weight: int | None) -> dict[str, Any]:
    """What the clients measured: requests, errors, share on the target of late; waits until that share has settled on `weight`."""
    deadline = asyncio.get_running_loop().time() + SETTLE_LIMIT
    # The share is that of the last seconds: at 0 and 100 every client of before must have gone out of it.
    tolerance = 0.0 if weight in (0, 100) else 0.02
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
        while True:
            told = await _clients(http, admin)
            share = told.get("target_share")
            settled = weight is None or (share is not None and abs(share - weight / 100) <= tolerance)
            if settled or asyncio.get_running_loop().time() > deadline:
                return {k: told.get(k) for k in ("requests", "errors", "target_share", "by_side")}
            await asyncio.sleep(0.5)


async def _clients(http: aiohttp.ClientSession, admin: str) -> dict[str, Any]:
    try:
        async with http.get(f"{admin}/clients") as reply:
            told: dict[str, Any] = await reply.json()
            return told
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        raise CouldNot("the front door does not answer", where=admin) from error


def timeline(events: list[Event]) -> Iterator[dict[str, Any]]:
    """Every event that people are told of, with the state and the weights after it."""
    m, names = Migration(), list[str]()
    for event in events:
        apply(m, event)
        if event.kind == Kind.PLAN_LOADED:
            names = event.data["routes"]
        if event.kind in QUIET:
            continue
        weights = {name: m.route(name).confirmed for name in names}
        yield {
            "seq": event.seq,
            "at": event.at.isoformat(),
            "event": event.kind,
            "state": m.state.value,
            "routes": weights,
            "text": describe(event)[0],
        }


def repaired_keys(events: list[Event]) -> list[str]:
    """Objects that were damaged on the way, found by the proof and copied again."""
    return [r["key"] for e in events if e.kind == Kind.ROUND for r in e.data.get("repaired", [])]


def checks(scenario: str, ended_as: str, events: list[Event], door: dict[str, Any], weight: int | None) -> list[dict[str, Any]]:
    """What must hold beside the state that it ended in, each from the journal or a measurement."""
    out: list[dict[str, Any]] = []

    def check(name: str, ok: bool, seen: Any) -> None:
        out.append({"name": name, "ok": ok, "seen": seen})

    share = door.get("target_share")
    if ended_as == "rolled_back":
        check("weight 0 at the front door", weight == 0, weight)
        check("no client on target any more", share == 0, share)
    if ended_as == "committed":
        check("weight 100 at the front door", weight == 100, weight)
        steps = [e.data["args"]["weight"] for e in events if e.kind == Kind.CONFIRMED and _is_step(e)]
        check("weights 5, 25, 50, 100 confirmed", steps == [5, 25, 50, 100], steps)
        errors = door.get("errors")
        check("no client of the front door got an error", errors == 0, errors)
    if scenario == "corrupt-object":
        keys = repaired_keys(events)
        check("the damaged object was found and copied again", bool(keys), keys)
    if scenario == "loss-drift":
        moved = [e.seq for e in events if e.kind == Kind.CONFIRMED and e.data.get("kind") == "weight"]
        check("no traffic had moved", not moved, moved)
    return out


def _is_step(event: Event) -> bool:
    return event.data.get("kind") == "weight" and event.data["args"]["route"] == "chat"


async def ending(scenario: str, seed: int, expected: str, ended_as: str, state: Path, admin: str) -> dict[str, Any]:
    """The machine-readable end of a played scenario."""
    events = await asyncio.to_thread(read_events, state)
    weight = await _weight(admin)
    door = await front_door(admin, weight)
    seen = checks(scenario, ended_as, events, door, weight)
    return {
        "scenario": scenario,
        "seed": seed,
        "ended_as": ended_as,
        "expected": expected,
        "ok": ended_as == expected and all(c["ok"] for c in seen),
        "checks": seen,
        "repaired": repaired_keys(events),
        "front_door": {k: door[k] for k in ("requests", "errors", "target_share")},
        "timeline": list(timeline(events)),
    }


async def _weight(admin: str) -> int | None:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as http:
        try:
            async with http.get(f"{admin}/weight") as reply:
                weight: int = (await reply.json())["weight"]
                return weight
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError):
            return None
