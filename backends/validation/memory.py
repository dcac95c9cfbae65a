"""GPU memory against what the card has. An allocator cannot use all of it: what is free lies in pieces (fragmentation), and a step that is a
little larger than any before it fails. So a part of the card has to stay free at the peak, unless legacy ran with no more.
"""

from __future__ import annotations

from typing import NamedTuple

from backends.catalog.errors import UnknownGpu
from backends.catalog.tables import find_gpu
from backends.plan.models import Plan, Source
from backends.validation.wording import percent
from backends.verdict import Verdict
from backends.vocabulary import SideName

HEADROOM = 0.05  # of the card, free at the peak
UNITS = {"B": 1.0, "MB": 1e6, "MiB": 2.0**20, "GB": 1e9, "GiB": 2.0**30}  # to bytes


class Use(NamedTuple):
    """The peak of a side's fullest card and what the card has, bytes."""

    peak: float
    capacity: float

    @property
    def free(self) -> float:
        return 1 - self.peak / self.capacity

    @property
    def text(self) -> str:
        return f"{self.peak / 2**30:.3g} of {self.capacity / 2**30:.3g} GiB"


def capacity_of(plan: Plan, workload: str, side: SideName) -> float | None:
    """Bytes of the smallest card that the workload may run on there, by the catalogue: as its tool reports it, else the maker's. None where a
    host's cards are not named or not known."""
    runs_on = next((getattr(w.runs_on, side) for w in plan.workloads if w.name == workload), ())
    hosts = [h for h in plan.side(side).hosts if not runs_on or h.name in runs_on]
    sizes: list[float] = []
    for host in hosts:
        try:
            card = find_gpu(host.gpus.type) if host.gpus is not None and host.gpus.type else None
        except UnknownGpu:
            card = None
        if card is None:
            return None
        sizes.append(card.nvml_memory_mib * 2.0**20 if card.nvml_memory_mib else card.memory_gb * 1e9)
    return min(sizes, default=None)


def use_of(source: Source, peak: float, capacity: float | None) -> Use | None:
    """None where the plan does not say what unit the figure has, or the card is not known."""
    if source.unit not in UNITS or capacity is None:
        return None
    return Use(peak * UNITS[source.unit], capacity)


def judge_room(legacy: Use | None, target: Use) -> tuple[Verdict, str]:
    """Does the target's card hold the work with room to spare?"""
    words = f"peak {target.text} on target" + (f", {legacy.text} on legacy" if legacy is not None else "")
    if target.free < 0:
        return Verdict.INCONCLUSIVE, f"{words}: more than the card has; is the unit right?"
    room = f"{words}: {percent(target.free)} free, {percent(HEADROOM)} wanted against fragmentation"
    if target.free >= HEADROOM:
        return Verdict.PASS, room
    if legacy is not None and 0 <= legacy.free <= target.free:
        return Verdict.PASS, f"{room}; legacy runs with no more"
    return Verdict.BREACH, f"target has too little room: {room}"
