"""Which GPU can do the work of another: by a roofline's two ceilings, what fits, what is lost, what it costs.

A workload runs at the lower of two ceilings (Williams, Waterman, Patterson: "Roofline", CACM 2009): memory bandwidth or dense compute.
Text generation is bound by bandwidth, training by compute; where the kind is not said, the smaller of both ratios is promised. A ratio is
that card over the one to be replaced, of what data sheets give; a measured one (`measured`) outranks it.

Nearness: |ln ratio| + 1/4 of |ln| of memory and of the other ceiling, and 1/2 for each feature that the work may lean on and that is
missing (BF16, FP8, MIG, the other maker's software, NVLink where several cards work together). Twice as fast and half as fast are equally far. A card whose memory is too small
comes last.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from backends.catalog.tables import Gpu, Offer, gpus, offers

Kind = Literal["inference", "training"]
SEVERAL = 2  # from so many cards on, the link between them counts
_MINOR, _LOST = 0.25, 0.5
_USABLE = (
    0.94  # of the maker's gigabytes what a program can have: driver and context take the rest (measured: facts of the recordings)
)


@dataclass(frozen=True, slots=True)
class Need:
    """What the work needs: gigabytes on each card, how many cards work together, and how it is bound."""

    memory_gb: float | None = None
    count: int = 1
    kind: Kind | None = None


@dataclass(frozen=True, slots=True)
class Equivalent:
    """`ratio` is the one that matters for the kind; `ratios` all that both sheets give; `distance` orders the list."""

    gpu: Gpu
    ratio: float | None
    ratios: Mapping[str, float]
    fits: bool
    warnings: tuple[str, ...]
    distance: float
    offers: tuple[Offer, ...] = ()
    cost_change: float | None = None  # of a GPU-hour, against the other's offer of the same basis; -0.05 is 5 % less
    work_change: float | None = None  # of the same work: that, over the ratio
    is_measured: bool = field(default=False)


def equivalents(
    like: Gpu,
    need: Need,
    *,
    provider: str | None = None,
    from_provider: str | None = None,
    measured: Mapping[str, float] | None = None,
) -> list[Equivalent]:
    """Nearest first. With `provider` only what it offers; `measured` is throughput by the card's name."""
    found = []
    for gpu in gpus():
        theirs = offers_of(gpu, provider)
        if provider is not None and not theirs:
            continue
        found.append(compare(like, gpu, need, theirs=theirs, ours=offers_of(like, from_provider), measured=measured))
    return sorted(found, key=lambda e: (not e.fits, e.distance, e.gpu.name != like.name, e.gpu.name))


def compare(
    like: Gpu,
    gpu: Gpu,
    need: Need,
    *,
    theirs: tuple[Offer, ...] = (),
    ours: tuple[Offer, ...] = (),
    measured: Mapping[str, float] | None = None,
) -> Equivalent:
    """One card in the place of another."""
    ratios = ratios_of(like, gpu)
    ratio, other = _that_matters(ratios, need.kind)
    is_measured = False
    if measured and like.name in measured and gpu.name in measured and measured[like.name] > 0:
        ratio, is_measured = measured[gpu.name] / measured[like.name], True
    fits, warnings = _memory(gpu, need)
    lost = _lost(like, gpu, need)
    warnings += lost
    warnings += _notes(like, gpu, ratio)
    distance = abs(math.log(ratio)) if ratio else math.inf
    distance += _MINOR * abs(math.log(ratios["memory"])) + (_MINOR * abs(math.log(other)) if other else 0.0) + _LOST * len(lost)
    change = cost_change(ours, theirs)
    work = (1 + change) / ratio - 1 if change is not None and ratio else None
    return Equivalent(gpu, ratio, ratios, fits, tuple(warnings), distance, theirs, change, work, is_measured)


def ratios_of(like: Gpu, gpu: Gpu) -> dict[str, float]:
    """That over this, of each figure that both sheets give; a precision that only one has is no ratio."""
    pairs = {
        "memory": (like.memory_gb, gpu.memory_gb),
        "bandwidth": (like.bandwidth_gb_s, gpu.bandwidth_gb_s),
        "fp32": (like.fp32_tflops, gpu.fp32_tflops),
        "tf32": (like.tf32_tflops, gpu.tf32_tflops),
        "bf16": (like.bf16_tflops, gpu.bf16_tflops),
        "fp8": (like.fp8_tflops, gpu.fp8_tflops),
        "fp4": (like.fp4_tflops, gpu.fp4_tflops),
        "nvlink": (like.nvlink_gb_s, gpu.nvlink_gb_s),
    }
    return {name: b / a for name, (a, b) in pairs.items() if a and b}


def _that_matters(ratios: Mapping[str, float], kind: Kind | None) -> tuple[float | None, float | None]:
    """The ratio of the ceiling that binds, and the other one's."""
    bandwidth, compute = ratios["bandwidth"], ratios.get("bf16", ratios.get("fp32"))
    if kind == "inference":
        return bandwidth, compute
    if kind == "training":
        return compute, bandwidth
    if compute is None:
        return bandwidth, None
    return min(bandwidth, compute), max(bandwidth, compute)


def _memory(gpu: Gpu, need: Need) -> tuple[bool, list[str]]:
    if need.memory_gb is None:
        return True, []
    usable = gpu.memory_gb * _USABLE
    if need.memory_gb <= usable:
        return True, []
    if need.memory_gb <= gpu.memory_gb:
        return True, [f"{need.memory_gb:g} GB of {gpu.memory_gb:g} leaves no room: about {usable:.0f} GB can be used"]
    cards = math.ceil(need.memory_gb / usable)
    way = "; ".join(
        [
            f"tensor parallel over {cards}" if gpu.nvlink_gb_s else f"split over {cards} (no NVLink: slow)",
            *(["8-bit weights"] if need.memory_gb / 2 <= usable else []),
            *(["4-bit weights"] if need.memory_gb / 2 > usable >= need.memory_gb / 4 else []),
            "a smaller batch",
        ]
    )
    return False, [f"{need.memory_gb:g} GB do not fit in {gpu.memory_gb:g}: {way}"]


def _lost(like: Gpu, gpu: Gpu, need: Need) -> list[str]:
    """What the work may lean on and would miss."""
    lost = []
    if like.has_bf16 and not gpu.has_bf16:
        lost.append("no BF16: train in FP16 with loss scaling, or FP32")
    if like.has_fp8 and not gpu.has_fp8:
        lost.append("no FP8: weights and activations in 16 bits, about twice the memory")
    if like.mig and not gpu.mig:
        lost.append("no MIG: it cannot be shared in slices")
    if like.maker != gpu.maker:
        lost.append(f"{gpu.maker}, not {like.maker}: images, kernels and drivers are other ones")
    if need.count >= SEVERAL and like.nvlink_gb_s:
        if not gpu.nvlink_gb_s:
            lost.append(f"no NVLink: {need.count} cards talk over PCIe {gpu.pcie_gen or ''}".rstrip())
        elif need.count > SEVERAL and gpu.is_bridged and not like.is_bridged:
            joined = "two or four" if "four" in gpu.note else "two"
            lost.append(f"NVLink by bridge joins {joined} cards: {need.count} talk over PCIe as well")
    return lost


def _notes(like: Gpu, gpu: Gpu, ratio: float | None) -> list[str]:
    notes = []
    if ratio is None:
        notes.append("no ceiling that both sheets give: measure")
    if "toolkits 13.x cannot target it" in gpu.note:
        notes.append("CUDA 13 has dropped it: 12.x at the newest")
    elif _major(gpu.min_cuda) > _major(like.min_cuda):
        notes.append(f"needs CUDA {gpu.min_cuda} or newer: look at images and wheels")
    if "two dies" in gpu.note or "four GPUs" in gpu.note:
        notes.append(gpu.note.split(":")[0] + ": the system sees several devices")
    if not gpu.checked:
        notes.append("figures of one source")
    return notes


def _major(version: str) -> int:
    return int(version.split(".")[0]) if version else 0


# what it costs


def offers_of(gpu: Gpu, provider: str | None) -> tuple[Offer, ...]:
    """What is offered, of each provider and number of cards the newest snapshot's cheapest region only; cheapest first."""
    newest: dict[tuple[str, str, int], Offer] = {}
    for offer in offers():
        if offer.gpu == gpu.name and (provider is None or offer.provider.casefold() == provider.casefold()):
            key = offer.provider, offer.basis, offer.gpu_count
            kept = newest.get(key)
            if kept is None or (kept.as_of, -kept.usd_per_gpu_hour) < (offer.as_of, -offer.usd_per_gpu_hour):
                newest[key] = offer
    return tuple(sorted(newest.values(), key=lambda offer: offer.usd_per_gpu_hour))


def cost_change(ours: tuple[Offer, ...], theirs: tuple[Offer, ...]) -> float | None:
    """Cheapest against cheapest of one basis: a card alone is never compared with one that brings its host."""
    for basis in ("instance", "gpu-only"):
        a = next((o.usd_per_gpu_hour for o in ours if o.basis == basis), None)
        b = next((o.usd_per_gpu_hour for o in theirs if o.basis == basis), None)
        if a and b is not None:
            return b / a - 1
    return None


def providers() -> tuple[str, ...]:
    return tuple(sorted({offer.provider for offer in offers()}))
