"""Does a driver run what was built for a CUDA version? By NVIDIA's "CUDA Compatibility" and the release notes of the toolkits (13.2 Update 2).

Any newer driver runs older toolkits. Within a major version a toolkit also runs on drivers older than its own, down to the family's least
(minor-version compatibility), without what the newer driver compiles at run time (PTX). Across majors only the compatibility package helps.
A chip is known from some toolkit on, and from some no longer. The figures are the catalogue's.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from backends.catalog.errors import UnknownGpu
from backends.catalog.tables import find_gpu, toolkits
from backends.escape import plain
from backends.live.facts import version_of
from backends.plan.problems import Severity

WITHOUT_13 = ("Maxwell", "Pascal", "Volta")  # architectures that CUDA 13 has dropped (its release notes)

_CONDITION = re.compile(r"(cuda|driver)(>=|<=|!=|=|<|>)(\d{1,6}(?:\.\d{1,6}){0,3})", re.ASCII)
_COMPARED: Mapping[str, Callable[[tuple[int, ...], tuple[int, ...]], bool]] = {
    ">=": operator.ge, "<=": operator.le, "!=": operator.ne, "=": operator.eq, "<": operator.lt, ">": operator.gt,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mismatch:
    severity: Severity
    message: str
    cure: str


def judge_driver(driver: str | None, driver_cuda: str | None, needed: str | None) -> Mismatch | None:
    """`driver_cuda` is the newest CUDA that the driver speaks, `needed` what something was built for. None where it runs, or nothing is known."""
    have, want = version_of(driver), version_of(needed)
    if have is None or want is None:
        return None
    speaks = version_of(driver_cuda)
    text = _least_driver(want[0])
    if text is not None and have[:1] < (int(text),):
        cure = f"a driver of {text} or newer, or the package cuda-compat-{'-'.join(map(str, (*want, 0)[:2]))} on data-centre GPUs"
        return Mismatch("error", f"the driver is too old for CUDA {needed}: {text} or newer is needed", cure)
    if speaks is not None and speaks[0] < want[0]:
        return Mismatch("error", f"the driver speaks CUDA {driver_cuda}, and {needed} is needed", "a newer driver")
    if speaks is not None and len(want) > 1 and speaks[:2] < want[:2]:
        text = f"CUDA {needed} runs on a driver for {driver_cuda} by minor-version compatibility only: code that is compiled at run time (PTX) fails"
        return Mismatch("note", text, "try the workload there, or install a newer driver")
    return None


def judge_chip(gpu: str, needed: str | None) -> Mismatch | None:
    """Does a CUDA version know this GPU? None also where the catalogue does not."""
    want = version_of(needed)
    if want is None:
        return None
    try:
        card = find_gpu(gpu)
    except UnknownGpu:
        return None
    least = version_of(card.min_cuda)
    if least is not None and want[:2] < least[:2]:
        text = f"CUDA {needed} does not know the {card.name}: {card.min_cuda} or newer compiles for it"
        return Mismatch("error", text, f"a framework or an image built for CUDA {card.min_cuda} or newer")
    if want[0] >= 13 and card.architecture in WITHOUT_13:
        text = f"CUDA {needed} does not know the {card.name} any more ({card.architecture})"
        return Mismatch("error", text, "a framework or an image built for CUDA 12")
    return None


def judge_require(driver: str | None, driver_cuda: str | None, require: str | None) -> Mismatch | None:
    """Does NVIDIA's container toolkit start an image with this NVIDIA_REQUIRE_CUDA? Its documentation: what blanks part are alternatives, what commas
    part must hold together. What is asked of anything but CUDA and driver (a brand, a chip) counts as given. None where nothing is known."""
    have = {"cuda": version_of(driver_cuda), "driver": version_of(driver)}
    alternatives = (require or "").split()
    if not alternatives or None in have.values():
        return None
    for alternative in alternatives:
        if all(_holds(condition, have) for condition in alternative.split(",")):
            return None
    text = f"NVIDIA's container toolkit does not start an image there that asks for {plain(alternatives[0], 60)}"
    return Mismatch("error", text, "a newer driver, or an image for the CUDA that this one speaks")


def _holds(condition: str, have: Mapping[str, tuple[int, ...] | None]) -> bool:
    found = _CONDITION.fullmatch(condition)
    mine = have.get(found[1]) if found is not None else None
    if found is None or mine is None:
        return True
    wanted = tuple(int(part) for part in found[3].split("."))
    mine = (*mine, *(0,) * (len(wanted) - len(mine)))
    return _COMPARED[found[2]](mine, wanted)


def _least_driver(major: int) -> str | None:
    """The driver branch that every toolkit of a major version runs on; None where nothing is known of it."""
    return next((t.minor_compat_min_driver for t in toolkits() if t.version[0] == major and t.minor_compat_min_driver), None)
