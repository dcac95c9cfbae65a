"""All of a plan's both sides looked at, at once: hosts, stores, routes, secrets, ways between them."""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from backends.children import Children
from backends.errors import CutoverError
from backends.live.facts import HostFacts, Way, ask_facts, ways_of
from backends.live.found import Found, LiveProblem, gathered
from backends.live.host_judge import Seen, judge_host
from backends.live.images import ask_images, images_of, judge_images, pulled_by
from backends.live.pair_judge import judge_pairs
from backends.live.ports import try_ports
from backends.live.quotas import try_quota
from backends.live.registry import Offered
from backends.live.routes import try_delegation, try_probes, try_route
from backends.live.scope import Scope
from backends.live.secrets import try_secrets
from backends.live.stores import judge_local, judge_ways, paths_of, try_store
from backends.plan.load import CheckedPlan
from backends.plan.models import Host, Plan
from backends.probes.agent.facts import writable
from backends.probes.hosts import LOCAL, watched_paths
from backends.probes.once import probe_hosts
from backends.snapshot import HostView
from backends.ssh.errors import SshError
from backends.ssh.models import SshHost
from backends.ssh.pool import SshPool
from backends.stores.open import parse_url
from backends.vocabulary import SIDES, SideName

HOST_LIMIT = 50.0
WHOLE = 58.0  # seconds that a look takes at most, whatever is silent
LEAST_FOR_IMAGES = 5.0


@dataclass(frozen=True, slots=True)
class Looked:
    """`hosts`: how many were asked; `seconds`: how long it took; `silent`: the hosts that told nothing, or not all, of themselves."""

    problems: tuple[LiveProblem, ...]
    hosts: int
    stores: int
    routes: int
    seconds: float
    silent: frozenset[str] = frozenset()

    @property
    def is_good(self) -> bool:
        return not any(p.problem.severity == "error" for p in self.problems)


async def look_live(checked: CheckedPlan, pool: SshPool, scope: Scope | None = None) -> Looked:
    """Everything, or what is in `scope`, in the plan's order. `checked` has a plan. What cannot be asked is a problem of its own; never
    raises for it."""
    plan, base = checked.plan, checked.base
    assert plan is not None
    scope = scope or Scope.whole(plan)
    began = time.monotonic()
    children = Children()
    hosts = [(side, i, host) for side in SIDES for i, host in enumerate(plan.side(side).hosts) if host.name in scope.hosts]
    salt = secrets.token_bytes(16)
    async with asyncio.TaskGroup() as group:
        seeing = [
            group.create_task(_see(plan, side, i, host, pool, salt), name=f"look at {host.name}") for side, i, host in hosts
        ]
        rest = [group.create_task(try_store(plan, name, pool, base), name=f"store {name}") for name in scope.stores]
        for i in scope.routes:
            rest.append(group.create_task(try_route(plan, i, pool, children, base), name=f"route {plan.routes[i].name}"))
            rest += [group.create_task(try_delegation(plan, i)), group.create_task(try_probes(plan, i))]
        rest += [group.create_task(try_quota(plan, i, pool, children, base), name=f"quota {i}") for i in scope.quotas]
        if scope.secrets:
            rest.append(group.create_task(try_secrets(plan, base), name="secrets"))
        images = group.create_task(_images(plan, seeing, base, began + WHOLE), name="images")
        ways = group.create_task(asyncio.to_thread(_local_ways, plan, scope.stores), name="trees of this machine")
    seen = [one for task in seeing if (one := task.result()[0]) is not None]
    found: list[Found] = [one for task in (*seeing,) for one in task.result()[1]]
    offered, not_offered = images.result()
    found += not_offered
    for one in seen:
        found += judge_host(plan, one, pulled_by(one, offered))
        if one.facts is not None:
            found += judge_ways(plan, one.host.name, one.facts.ways)
    found += judge_pairs(plan, seen)
    found += judge_images(plan, seen, offered)
    found += judge_local(plan, ways.result())
    found += [one for task in rest for one in task.result()]
    problems = gathered(_without_echoes(found, seen, hosts), checked)
    silent = {host.name for _, _, host in hosts} - {s.host.name for s in seen if s.facts is not None}
    seconds = time.monotonic() - began
    return Looked(problems, len(hosts), len(scope.stores), len(scope.routes), seconds, frozenset(silent))


async def _see(plan: Plan, side: SideName, index: int, host: Host, pool: SshPool, salt: bytes) -> tuple[Seen | None, list[Found]]:
    """The host with what it said; None where nothing comes back, with the reason as a finding."""
    at = SshHost(name=host.name, address=host.address, user=host.user, port=host.port, via=host.via)
    paths = watched_paths(plan).get(host.name, ("/",))
    if host.address == LOCAL:
        [view] = await probe_hosts(pool, [(side, at)], {host.name: paths})
        return Seen(side, index, host, view, None, "it is this machine, probed without SSH"), []
    try:
        async with asyncio.timeout(HOST_LIMIT):
            await pool.connect(host.name)
            facts, view = await asyncio.gather(_facts(plan, pool, host.name, salt), _view(pool, side, at, paths))
            seen = Seen(side, index, host, view, facts if isinstance(facts, HostFacts) else None, str(facts))
            return seen, await try_ports(plan, seen, pool)
    except SshError as error:
        return None, [
            Found(
                "error",
                error.code,
                "cannot be reached by SSH",
                error.message,
                error.hint or "sshd there, the firewall, address and port in the plan",
                (side, "hosts", index),
                side,
                host.name,
            )
        ]
    except TimeoutError:
        told = f"not all was answered within {HOST_LIMIT:.0f} s"
        return None, [
            Found(
                "error",
                "host_silent",
                "answers too slowly",
                told,
                "its load, its disks, the network",
                (side, "hosts", index),
                side,
                host.name,
            )
        ]


async def _images(
    plan: Plan, seeing: list[asyncio.Task[tuple[Seen | None, list[Found]]]], base: Path, until: float
) -> tuple[dict[str, Offered], list[Found]]:
    """Registries are asked once the hosts have told what they hold, in the time that is left."""
    answers = await asyncio.gather(*seeing) if images_of(plan) else []
    left = max(LEAST_FOR_IMAGES, until - time.monotonic())
    return await ask_images(plan, [one for one, _ in answers if one is not None], base, left)


async def _facts(plan: Plan, pool: SshPool, host: str, salt: bytes) -> HostFacts | CutoverError:
    files = list(dict.fromkeys(path for w in plan.workloads for path in w.config))
    try:
        return await ask_facts(pool, host, salt, images=images_of(plan), paths=paths_of(plan).get(host, ()), files=files)
    except CutoverError as error:
        return error


async def _view(pool: SshPool, side: SideName, host: SshHost, paths: tuple[str, ...]) -> HostView:
    [view] = await probe_hosts(pool, [(side, host)], {host.name: paths})
    return view


def _local_ways(plan: Plan, stores: frozenset[str]) -> dict[str, Way]:
    """Trees of this machine. Blocking."""
    out = {}
    for name in stores:
        url = parse_url(name, plan.stores[name].url)
        if url.scheme == "file":
            path = "/" + url.path.rstrip("/")
            [(_, out[name])] = ways_of({path: writable(path)})
    return out


def _without_echoes(found: list[Found], seen: list[Seen], hosts: list[tuple[SideName, int, Host]]) -> list[Found]:
    """What follows from something that is told already: stores on a host that is not reached, or by a secret that does not resolve; a
    warning of what is an error too."""
    errors = {(f.code, f.host) for f in found if f.severity == "error" and f.host}
    unresolved = {f.evidence for f in found if f.code == "secret"}
    gone = {host.name for _, _, host in hosts} - {s.host.name for s in seen}

    def is_echo(one: Found) -> bool:
        if one.severity != "error" and (one.code, one.host) in errors:
            return True
        if one.code != "secret" and any(text in one.evidence for text in unresolved):
            return True
        return one.code in _OF_SSH and not one.host and any(f" {name} " in f" {one.evidence} " for name in gone)

    return [one for one in found if not is_echo(one)]


_OF_SSH = frozenset(
    {"host_unreachable", "host_key_refused", "host_key_changed", "auth_failed", "link_lost", "ssh_error", "listing_failed"}
)
