"""The catalogue's tables as they are in `data/`, read once."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from backends.catalog.errors import UnknownGpu
from backends.escape import plain

Row = TypeVar("Row", bound=BaseModel)
Known = Annotated[float, Field(ge=0)]
Figure = Annotated[Known | None, BeforeValidator(lambda text: text or None)]
Whole = Annotated[int | None, BeforeValidator(lambda text: text or None)]


class _Row(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Gpu(_Row):
    """One card. Gigabytes are the maker's, GB/s and dense TFLOPS per card; None where the sheet gives none."""

    name: str
    nvml_names: str
    architecture: str
    compute_capability: str
    memory_gb: Known
    memory_type: str
    bandwidth_gb_s: Known
    fp32_tflops: Figure
    tf32_tflops: Figure = Field(alias="tf32_tflops_dense")
    bf16_tflops: Figure = Field(alias="bf16_tflops_dense")
    fp8_tflops: Figure = Field(alias="fp8_tflops_dense")
    fp4_tflops: Figure = Field(alias="fp4_tflops_dense")
    nvlink_gb_s: Figure
    pcie_gen: Whole
    tdp_w: Figure
    mig: Whole
    released: str
    min_cuda: str
    min_driver: str
    nvml_memory_mib: Figure
    source: str
    checked: str
    note: str

    @property
    def maker(self) -> str:
        if self.compute_capability.startswith("gfx"):
            return "AMD"
        return "Intel" if self.name.startswith("Gaudi") else "NVIDIA"

    @property
    def is_bridged(self) -> bool:
        """Are cards joined by bridges, two or four at most, and not all of a board? Of every card in a PCIe slot whose sheet gives a link."""
        if self.nvlink_gb_s is None or "bridge" in self.note:
            return self.nvlink_gb_s is not None
        on_board = ("SXM", "GB2", "GB3", "GH200", "Gaudi", "MI250", "MI3")
        return not any(form in self.name for form in on_board)

    @property
    def has_bf16(self) -> bool:
        """By the chip, since sheets leave the figure out: NVIDIA from compute capability 8.0, AMD from CDNA, Gaudi."""
        return self.bf16_tflops is not None or self._capability >= 8.0

    @property
    def has_fp8(self) -> bool:
        """NVIDIA from compute capability 8.9."""
        return self.fp8_tflops is not None or self._capability >= 8.9

    @property
    def _capability(self) -> float:
        return float(self.compute_capability) if self.maker == "NVIDIA" else 0.0

    @property
    def reported_as(self) -> tuple[str, ...]:
        """The names that NVML or its like give it."""
        return tuple(name for name in self.nvml_names.split("|") if name)


class Offer(_Row):
    """A provider's price of one GPU-hour on demand. `basis`: `instance` (with CPU and memory) or `gpu-only`."""

    provider: str
    gpu: str
    sku: str
    gpu_count: int
    host_vcpus: Figure
    host_mem_gb: Figure
    usd_per_gpu_hour: Known = Field(alias="on_demand_usd_per_gpu_hour")
    as_of: str
    source: str
    region: str
    basis: str
    note: str


class Toolkit(_Row):
    """A CUDA toolkit: the Linux driver of its release, and the range that minor-version compatibility allows."""

    cuda_toolkit: str
    toolkit_linux_driver: str
    minor_compat_min_driver: str
    minor_compat_below_driver: str
    forward_compat_package: str
    source: str

    @property
    def version(self) -> tuple[int, int]:
        major, _, minor = self.cuda_toolkit.split()[0].partition(".")
        return int(major), int(minor)


class EgressTier(_Row):
    provider: str
    up_to_gb: float
    usd_per_gb: Known
    as_of: str
    source: str
    note: str


class StoragePrice(_Row):
    what: str
    usd: Known
    unit: str
    as_of: str
    source: str
    note: str


@cache
def gpus() -> tuple[Gpu, ...]:
    return _read("gpus.csv", Gpu)


@cache
def offers() -> tuple[Offer, ...]:
    return _read("offers.csv", Offer)


@cache
def toolkits() -> tuple[Toolkit, ...]:
    return _read("cuda.csv", Toolkit)


@cache
def egress_tiers() -> tuple[EgressTier, ...]:
    return _read("egress.csv", EgressTier)


@cache
def storage_prices() -> dict[str, StoragePrice]:
    return {row.what: row for row in _read("storage.csv", StoragePrice)}


def find_gpu(name: str) -> Gpu:
    """By its name here or the one that its tool reports, case and separators apart; a family's name alone is refused where it is several cards.

    Raises `UnknownGpu`.
    """
    wanted = _folded(name)
    exact = [g for g in gpus() if wanted in {_folded(n) for n in (g.name, f"{g.name}-{g.memory_gb:g}GB", *g.reported_as)}]
    if exact:
        return exact[0]
    near = [g for g in gpus() if wanted and (_folded(g.name).startswith(wanted) or wanted in _folded(g.name))]
    if len(near) == 1:
        return near[0]
    if near:
        names = ", ".join(g.name for g in near[:8])
        raise UnknownGpu(f"{plain(name, 60)} is {len(near)} cards", where="--like", hint=f"say which: {names}")
    letters = wanted[:2]
    hint = ", ".join(g.name for g in gpus() if _folded(g.name).startswith(letters)) if letters else ""
    raise UnknownGpu(
        f"no GPU is called {plain(name, 60)}", where="--like", hint=f"near it: {hint}" if hint else "cutover gpus lists them"
    )


def _folded(name: str) -> str:
    text = name.casefold()
    for word in ("nvidia", "amd", "instinct", "geforce", "tesla", "generation"):
        text = text.replace(word, "")
    return "".join(c for c in text if c.isalnum())


def _read(name: str, row: type[Row]) -> tuple[Row, ...]:
    text = files("backends.catalog").joinpath("data", name).read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = list(csv.DictReader(text.splitlines()))
    return tuple(row.model_validate(one) for one in rows)
