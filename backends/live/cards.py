"""Is this GPU the one that the plan names? By the names that tools report, which leave out now the form, now the memory."""

from __future__ import annotations

import re
from dataclasses import dataclass

_NOISE = re.compile(r"\b(nvidia|tesla|geforce|amd|instinct|generation|quadro)\b", re.I)
_FORMS = ("pcie", "nvl", "sxm")
_MEMORY = re.compile(r"\b(\d{2,3})\s*gb?\b", re.I)
_MODEL = re.compile(r"\b(?:rtx\s+)?(?:pro\s+)?(?=[a-z]*\d)[a-z]{0,3}\d{1,4}[a-z]{0,2}\b", re.I)
_TOLERANCE = 0.12  # between the maker's GB and what a tool reports


@dataclass(frozen=True, slots=True)
class Card:
    """`model` in lower case without spaces (`a100`, `rtx6000`), `form` one of sxm, pcie, nvl; None where the name does not say."""

    model: str
    form: str | None
    memory_gb: float | None


def card_of(name: str) -> Card | None:
    """None where no model is in the name."""
    text = _NOISE.sub(" ", name).replace("-", " ").replace("_", " ").lower()
    form = next((f for f in _FORMS if re.search(rf"\b{f}\d*\b", text)), None)
    if form is None and "hbm3" in text:
        form = "sxm"  # `NVIDIA H100 80GB HBM3`: the others of its family say PCIe or NVL
    memory = _MEMORY.search(text)
    rest = _MEMORY.sub(" ", re.sub(r"\b(?:pcie|sxm|nvl|hbm)\d*e?\b", " ", text))
    model = _MODEL.search(" ".join(rest.split()))
    if model is None:
        return None
    return Card(re.sub(r"\s", "", model[0]), form, float(memory[1]) if memory else None)


def difference(planned: str, seen: str, memory: int | None) -> str | None:
    """What tells the card of the plan from the one seen, in words; None where nothing known does. `memory` in bytes, as reported."""
    want, have = card_of(planned), card_of(seen)
    if want is None or have is None:
        return None
    if want.model != have.model:
        return "another model"
    if want.form is not None and have.form is not None and want.form != have.form:
        return f"{have.form.upper()} in place of {want.form.upper()}"
    size = memory / 1e9 if memory is not None else have.memory_gb
    if want.memory_gb is not None and size is not None and not _is_near(want.memory_gb, size):
        return f"{size:.0f} GB in place of {want.memory_gb:.0f} GB"
    return None


def _is_near(sold: float, reported: float) -> bool:
    return abs(reported - sold) <= _TOLERANCE * sold
