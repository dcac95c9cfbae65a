"""A plan's workloads, card by card: what legacy has, what target has in its place, and what its provider offers that is nearer."""

from __future__ import annotations

from dataclasses import dataclass

from backends.catalog.equivalents import Equivalent, Kind, Need, compare, equivalents, offers_of, providers
from backends.catalog.errors import UnknownGpu
from backends.catalog.tables import Gpu, find_gpu
from backends.plan.models import Plan, Side, Workload

SUGGESTED = 3


@dataclass(frozen=True, slots=True)
class Mapped:
    """One workload. `found` is None where a card is not known: `problem` says which. `nearer` is empty where target's provider is not in the catalogue."""

    workload: str
    kind: Kind
    legacy: str
    target: str
    count: int
    found: Equivalent | None
    problem: str
    nearer: tuple[Equivalent, ...]


def kind_of(workload: Workload) -> Kind:
    """Training is bound by compute; what serves or infers in batches by bandwidth."""
    return "training" if workload.class_ == "training" else "inference"


def mapping_of(plan: Plan) -> tuple[Mapped, ...]:
    """Each workload of the plan, in its order."""
    return tuple(_mapped(plan, workload) for workload in plan.workloads)


def _mapped(plan: Plan, workload: Workload) -> Mapped:
    kind = kind_of(workload)
    legacy, target = (
        _type_of(side, hosts) for side, hosts in ((plan.legacy, workload.runs_on.legacy), (plan.target, workload.runs_on.target))
    )
    need = Need(workload.gpus.memory_gb, workload.gpus.count, kind) if workload.gpus else Need(kind=kind)
    cards: list[Gpu] = []
    problem = ""
    for side, name in (("legacy", legacy), ("target", target)):
        try:
            if not name:
                raise UnknownGpu(f"no GPU type is named on its hosts of {side}")
            cards.append(find_gpu(name))
        except UnknownGpu as error:
            problem = problem or error.message
    if problem:
        return Mapped(workload.name, kind, legacy, target, need.count, None, problem, ())
    ours, theirs = offers_of(cards[0], plan.legacy.provider), offers_of(cards[1], plan.target.provider)
    found = compare(cards[0], cards[1], need, ours=ours, theirs=theirs)
    known = plan.target.provider.casefold() in {p.casefold() for p in providers()}
    offered = equivalents(cards[0], need, provider=plan.target.provider, from_provider=plan.legacy.provider) if known else []
    nearer = tuple(e for e in offered if (e.fits and e.distance < found.distance) or (not found.fits and e.fits))[:SUGGESTED]
    return Mapped(workload.name, kind, cards[0].name, cards[1].name, need.count, found, "", nearer)


def _type_of(side: Side, hosts: tuple[str, ...]) -> str:
    """Of the first of its hosts that names one."""
    return next((h.gpus.type for h in side.hosts if h.name in hosts and h.gpus is not None and h.gpus.type), "")
