"""What has to be asked to see whether one finding still holds: the hosts, stores and routes that it came from, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from backends.live.found import LiveProblem
from backends.plan.models import Plan
from backends.vocabulary import SIDES, SideName


@dataclass(frozen=True, slots=True)
class Scope:
    """Names of hosts and stores, numbers of routes and quotas, and whether secrets are resolved. Images are asked for as hosts lack them."""

    hosts: frozenset[str] = frozenset()
    stores: frozenset[str] = frozenset()
    routes: frozenset[int] = frozenset()
    secrets: bool = False
    quotas: frozenset[int] = frozenset()

    def covers(self, other: Scope) -> bool:
        """Is all of the other asked where this is?"""
        parts = (
            other.hosts <= self.hosts
            and other.stores <= self.stores
            and other.routes <= self.routes
            and other.quotas <= self.quotas
        )
        return parts and (self.secrets or not other.secrets)

    @classmethod
    def whole(cls, plan: Plan) -> Scope:
        """All there is."""
        hosts = frozenset(host.name for side in SIDES for host in plan.side(side).hosts)
        return cls(hosts, frozenset(uses(plan)), frozenset(range(len(plan.routes))), True, frozenset(range(len(plan.quotas))))


def scope_of(plan: Plan, found: LiveProblem) -> Scope:
    """A host of target is asked together with legacy's that it is compared with."""
    path = found.path
    if found.hosts:
        hosts = frozenset(found.hosts)
        if found.side == "target":
            hosts |= {name for w in plan.workloads if hosts & {*w.runs_on.target} for name in w.runs_on.legacy}
            if not any(w.runs_on.legacy or w.runs_on.target for w in plan.workloads):
                hosts |= {host.name for host in plan.legacy.hosts}
        return Scope(hosts=hosts)
    if found.problem.code.startswith("secret") or path[:1] == ("secrets",):
        return Scope(secrets=True)
    if path[:1] == ("stores",) and len(path) > 1:
        name = str(path[1])
        scheme, _, rest = (plan.stores[name].url if name in plan.stores else "").partition("://")
        at = frozenset({rest.partition("/")[0]}) if scheme == "ssh" else frozenset[str]()
        return Scope(stores=frozenset({name}), hosts=at)  # of a tree over SSH its host says who may write
    if path[:1] == ("routes",) and len(path) > 1 and isinstance(path[1], int):
        return Scope(routes=frozenset({path[1]}))
    if path[:1] == ("quotas",) and len(path) > 1 and isinstance(path[1], int):
        return Scope(quotas=frozenset({path[1]}))
    if path[:1] == ("workloads",) and len(path) > 1 and isinstance(path[1], int) and path[1] < len(plan.workloads):
        runs_on = plan.workloads[path[1]].runs_on
        return Scope(hosts=frozenset((*runs_on.legacy, *runs_on.target)))
    return Scope.whole(plan)


def uses(plan: Plan) -> Mapping[str, tuple[SideName | None, bool]]:
    """Each store that a dataset or its backup goes through: whose it is, and whether we shall write to it."""
    out: dict[str, tuple[SideName | None, bool]] = {}

    def note(name: str, side: SideName | None, writes: bool) -> None:
        before = out.get(name)
        out[name] = (before[0], before[1] or writes) if before is not None else (side, writes)

    for dataset in plan.datasets:
        note(dataset.from_, "legacy", dataset.reverse)
        note(dataset.to, "target", True)
        if dataset.hub is not None:
            note(dataset.hub, None, True)
    for backup in plan.backups:
        if backup.to is not None:
            note(backup.to, None, True)
    return {name: use for name, use in out.items() if name in plan.stores}
