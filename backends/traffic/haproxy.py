"""A route by the weights of a backend's servers in HAProxy (runtime API of 2.0 and newer; measured with 2.6).

What is odd there, and what follows: `weight 0` and `drain` go on taking clients that a cookie binds, only `maint` sends them away, and
open sessions outlive all three (so `expel`); weights fall back to the configuration's on a reload unless the servers' state was
written to `server-state-file` first (so `state_file`); the API has no compare-and-swap, so a weight is read, compared, set and read
back, all within one call.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp

from backends.errors import CutoverError
from backends.escape import plain
from backends.plan.models import HaproxyRoute as HaproxySpec
from backends.plan.models import Probe
from backends.ssh.pool import SshPool
from backends.traffic.base import Clients, Confirmation, Finding, ForeignChange, Observed, PlainRoute, RouteError, RouteHealth
from backends.traffic.haproxy_socket import HaproxySocket, Server
from backends.traffic.haproxy_weights import share_of, weights_for
from backends.traffic.seen_sides import expected_counts, look_at_clients, new_clients
from backends.vocabulary import SideName

ENOUGH = 20  # new sessions by which HAProxy's own counters tell where clients go
SAVE_LIMIT = 10.0


class HaproxyRoute(PlainRoute):
    """Weight as the share of the backend's weights that target's servers have."""

    kind = "haproxy"

    def __init__(self, name: str, spec: HaproxySpec, probe: Probe | None, pool: SshPool | None) -> None:
        self.name = name
        self._spec = spec
        self._probe = probe
        self._pool = pool
        self._socket = HaproxySocket(name, spec.socket, pool)
        self._pinned: dict[SideName, dict[str, int]] = {}
        self._out: frozenset[str] = frozenset()  # target's servers that somebody had taken out before arming
        self._all_out = False
        self._before: dict[str, int] | None = None  # sessions of each server so far, when a weight was last set
        self._clients: aiohttp.ClientSession | None = None

    async def read(self) -> Observed:
        return self._observed(*await self._sides())

    async def set(self, weight: int, expected: int | None) -> None:
        legacy, target = await self._sides()
        found = self._observed(legacy, target)
        if expected is not None and not found.is_at(expected) and not found.is_at(weight):
            raise ForeignChange(self.name, expected, found.weight, found.foreign)
        if weight > 0:
            self._check_servers(await self._socket.servers(self._spec.backend))
        commands = self._commands(weight, legacy, target)
        self._before = {server.name: server.total for server in (*legacy.values(), *target.values())}
        if commands:
            await self._socket.tell(commands)
        seen = await self.read()
        if not seen.is_at(weight):
            raise RouteError(f"route {self.name}: asked for {weight} %, HAProxy says {seen.detail}")
        await self._save_state()

    async def confirm(self, weight: int) -> Confirmation:
        legacy, target = await self._sides()
        observed = self._observed(legacy, target)
        is_set = observed.is_at(weight)
        if self._probe is not None and self._probe.url is not None:
            if self._clients is None:
                self._clients = new_clients()
            looked = await look_at_clients(self._clients, self._probe.url, self._probe.timeout, weight)
            return Confirmation(is_set, looked[0], looked[1], f"{observed.detail}; {looked[2]}")
        there, share, detail = self._counted(weight, legacy, target)
        return Confirmation(is_set, there, share, f"{observed.detail}; {detail}")

    async def pin(self) -> dict[str, Any]:
        """Each server's own weight: legacy's as found, target's as its configuration has it. Raises `RouteError` where the backend, or our
        rights, would not let us move it."""
        await self._socket.check_rights()
        self._check_servers(await self._socket.servers(self._spec.backend))
        legacy, target = await self._sides()
        return {
            "legacy": {server.name: server.weight for server in legacy.values()},
            "target": {server.name: server.initial for server in target.values()},
            # Where all are out, the first step forward brings them in: an earlier rollback sent them away, or they were never in.
            "out": [s.name for s in target.values() if s.admin] if any(not s.admin for s in target.values()) else [],
            "all_out": all(s.admin for s in target.values()),
        }

    async def preflight(self) -> tuple[Finding, ...]:
        """May we set weights, and would those send clients where the plan says?"""
        try:
            await self._socket.check_rights()
            self._check_servers(await self._socket.servers(self._spec.backend))
        except RouteError as error:
            return (Finding(False, error.message, error.hint),)
        return (Finding(True, f"HAProxy ({self._socket.shown}) gives us level admin"),)

    def restore(self, pinned: Mapping[str, Any]) -> None:
        sides: tuple[SideName, ...] = ("legacy", "target")
        self._out = frozenset(str(name) for name in pinned.get("out", ()))
        self._all_out = pinned.get("all_out") is True
        self._pinned = {side: {str(n): int(w) for n, w in pinned[side].items()} for side in sides if side in pinned}

    async def clients(self) -> Clients:
        _, target = await self._sides()
        sessions = sum(server.sessions for server in target.values())
        return Clients(sessions, 0.0, f"{sessions} sessions on target" if sessions else "no session on target")

    async def expel(self) -> None:
        """Target's servers into maintenance, their open sessions ended: what a cookie binds there goes elsewhere at once."""
        _, target = await self._sides()
        backend = self._spec.backend
        ours = [name for name, server in target.items() if not server.is_in_maintenance]
        commands = [f"set server {backend}/{name} state maint" for name in ours]
        commands += [f"shutdown sessions server {backend}/{name}" for name in target]
        await self._socket.tell(commands)
        await self._save_state()

    async def health(self, side: SideName) -> RouteHealth | None:
        """By HAProxy's own checks: alive where one server of the side is up. None where it checks none."""
        legacy, target = await self._sides()
        servers = legacy if side == "legacy" else target
        # One that we sent into maintenance is no sign of illness: its check is not run.
        told = [server for server in servers.values() if server.is_up is not None and not server.is_in_maintenance]
        if not told:
            return None
        up = [server for server in told if server.is_up]
        seen = ", ".join(f"{server.name} {server.status}" for server in told)
        return RouteHealth(bool(up), f"HAProxy's check: {seen}")

    async def close(self) -> None:
        clients, self._clients = self._clients, None
        if clients is not None:
            await clients.close()

    # Inside

    async def _sides(self) -> tuple[dict[str, Server], dict[str, Server]]:
        """Legacy's servers and target's. Raises `RouteError` where the backend lacks one."""
        servers = await self._socket.servers(self._spec.backend)
        missing = [name for name in (*self._spec.legacy, *self._spec.target) if name not in servers]
        if missing:
            raise RouteError(
                f"route {self.name}: backend {plain(self._spec.backend)} has no server {plain(', '.join(missing))}",
                hint=f"it has {plain(', '.join(sorted(servers)), 200)}",
            )
        return {n: servers[n] for n in self._spec.legacy}, {n: servers[n] for n in self._spec.target}

    def _check_servers(self, servers: Mapping[str, Server]) -> None:
        """Are all that clients can reach on a side of ours, and would a weight on target send clients there? Not asked on the way back."""
        named = {*self._spec.legacy, *self._spec.target}
        others = [name for name, server in servers.items() if name not in named and server.counted and not server.is_backup]
        if others:
            raise RouteError(
                f"route {self.name}: backend {self._spec.backend} also sends clients to {plain(', '.join(others), 200)}",
                hint="name them in haproxy.legacy or haproxy.target, or take their weight away",
            )
        backups = [name for name in self._spec.target if name in servers and servers[name].is_backup]
        if backups:
            raise RouteError(
                f"route {self.name}: {plain(', '.join(backups), 200)} on target is a backup, which gets clients only when no other can serve",
                hint="take `backup` off its line in HAProxy's configuration, and give it `weight 0`",
            )

    def _observed(self, legacy: Mapping[str, Server], target: Mapping[str, Server]) -> Observed:
        # Backups get clients only where nobody else has weight.
        by_backup = not any(server.counted for server in (*legacy.values(), *target.values()) if not server.is_backup)
        old, new = _counted_weights(legacy, by_backup), _counted_weights(target, by_backup)
        share = share_of(old, new)
        detail = f"HAProxy has {_told(old)} on legacy, {_told(new)} on target"
        if share is None:
            return Observed(0, detail, "has no weight on any server")
        weight = round(share)
        # Never rounded to nothing or to all: clients would be where we say that none are.
        if (weight == 0 and share > 0) or (weight == 100 and share < 100):
            return Observed(max(1, min(99, weight)), detail, f"has {share:.2f} % on target")
        return Observed(weight, detail)

    def _commands(self, weight: int, legacy: Mapping[str, Server], target: Mapping[str, Server]) -> list[str]:
        """What rises first, so that at no moment all weights are 0."""
        backend = self._spec.backend
        # What we have sent away stands in maintenance at weight 0 and comes back; what somebody took out for repair stays out.
        begins = self._all_out and not any(server.counted for server in target.values())
        ours = [n for n, server in target.items() if server.admin and n not in self._out and (begins or not server.weight)]
        ready = ours if weight > 0 else []
        out = {name for name, server in target.items() if server.admin and name not in ready}
        live = {name: server for name, server in target.items() if name not in out} or dict(target)
        held = {name: server for name, server in legacy.items() if not server.admin} or dict(legacy)
        old, new = weights_for(weight, self._parts("legacy", held), self._parts("target", live))
        wanted = old | new
        now = {**legacy, **target}
        changed = {name: value for name, value in wanted.items() if now[name].weight != value}
        commands = [f"set server {backend}/{name} state ready" for name in ready]
        for name in sorted(changed, key=lambda n: now[n].weight - changed[n]):
            commands.append(f"set weight {backend}/{name} {changed[name]}")
        return commands

    def _parts(self, side: SideName, servers: Mapping[str, Server]) -> dict[str, int]:
        """Each server's own part of its side: what was pinned, else what its configuration says."""
        pinned = self._pinned.get(side, {})
        return {name: pinned.get(name, server.initial) for name, server in servers.items()}

    def _counted(
        self, weight: int, legacy: Mapping[str, Server], target: Mapping[str, Server]
    ) -> tuple[bool | None, float | None, str]:
        """Where new sessions have gone since the weight was set, by HAProxy's own counters."""
        if self._before is None:
            return None, None, "no probe.url to ask"
        there = sum(max(0, s.total - self._before.get(s.name, 0)) for s in target.values())
        count = there + sum(max(0, s.total - self._before.get(s.name, 0)) for s in legacy.values())
        text = f"{there} of {count} new sessions went to target"
        if count < ENOUGH:
            return None, there / count if count else None, text
        share = there / count
        if weight in (0, 100):
            # Clients that a cookie binds go on coming; `expel` sends them away.
            return (True if share == weight / 100 else None), share, text
        low, high = expected_counts(min(count, 400), weight / 100)
        scaled = share * min(count, 400)
        return low <= scaled <= high, share, text

    async def _save_state(self) -> None:
        """What HAProxy reads back after a reload. A failure is the route's: weights that a reload loses are not set."""
        path = self._spec.state_file
        if path is None:
            return
        data = (await self._socket.ask("show servers state")).encode()
        try:
            async with asyncio.timeout(SAVE_LIMIT):
                if self._socket.host is None or self._pool is None:
                    await asyncio.to_thread(_replace, Path(path), data)
                    return
                script = 'cat >"$1.new" && mv "$1.new" "$1"'
                result = await self._pool.run(self._socket.host, ["sh", "-c", script, "sh", path], input=data, timeout=SAVE_LIMIT)
        except (OSError, TimeoutError, CutoverError) as error:
            reason = plain(str(error) or "no answer in time", 200)
            raise RouteError(f"route {self.name}: the servers' state cannot be written to {plain(path)}: {reason}") from error
        if result.exit_status != 0:
            said = plain(result.stderr.strip(), 200)
            raise RouteError(f"route {self.name}: the servers' state cannot be written to {plain(path)}: {said}")


def _counted_weights(servers: Mapping[str, Server], by_backup: bool) -> dict[str, int]:
    return {name: server.counted if server.is_backup == by_backup else 0 for name, server in servers.items()}


def _told(weights: Mapping[str, int]) -> str:
    return ", ".join(f"{plain(name)} {weight}" for name, weight in weights.items())


def _replace(path: Path, data: bytes) -> None:
    fresh = path.with_name(f"{path.name}.new")
    fresh.write_bytes(data)
    os.replace(fresh, path)
