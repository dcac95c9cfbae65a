"""The catalogue's figures: each with its source, and none against what cannot be otherwise."""

from __future__ import annotations

import csv
import itertools
import os
from pathlib import Path

import pytest

from backends.catalog.errors import UnknownGpu
from backends.catalog.tables import Gpu, egress_tiers, find_gpu, gpus, offers, storage_prices, toolkits

DATA = Path(os.environ.get("CUTOVER_DATA", "../shared/data")) / "catalog"


def test_there_are_at_least_60_cards_each_once() -> None:
    names = [g.name for g in gpus()]
    assert len(names) == len(set(names)) >= 60


def test_every_figure_has_a_source_and_every_price_a_date_or_none_that_is_told() -> None:
    for row in (*gpus(), *offers(), *toolkits(), *egress_tiers(), *storage_prices().values()):
        assert row.source, row
    for row in (*egress_tiers(), *storage_prices().values()):
        assert row.as_of, row
    assert sum(not o.as_of for o in offers()) < len(offers()) / 4


@pytest.mark.parametrize("gpu", gpus(), ids=lambda g: g.name)
def test_rates_rise_as_precision_falls(gpu: Gpu) -> None:
    rates = [r for r in (gpu.tf32_tflops, gpu.bf16_tflops, gpu.fp8_tflops, gpu.fp4_tflops) if r is not None]
    assert rates == sorted(rates)
    assert all(b / a < 4.2 for a, b in itertools.pairwise(rates)), "a sparse figure beside a dense one"
    if gpu.maker != "Intel" and gpu.bf16_tflops is not None and gpu.fp8_tflops is not None:  # Gaudi 3 has one rate for both
        assert 1.9 < gpu.fp8_tflops / gpu.bf16_tflops < 2.1
    if gpu.nvml_memory_mib is not None:
        assert 0.85 < gpu.nvml_memory_mib * 2**20 / (gpu.memory_gb * 1e9) < 1.12


@pytest.mark.parametrize("gpu", gpus(), ids=lambda g: g.name)
def test_a_card_is_found_by_each_of_its_names(gpu: Gpu) -> None:
    for name in (gpu.name, gpu.name.lower(), gpu.name.replace("-", " "), f"{gpu.name}-{gpu.memory_gb:g}GB"):
        assert find_gpu(name).name == gpu.name
    for name in gpu.reported_as:
        assert find_gpu(name).nvml_names == gpu.nvml_names


def test_a_familys_name_is_refused_with_its_cards() -> None:
    with pytest.raises(UnknownGpu, match="cards") as caught:
        find_gpu("A100")
    assert "A100-SXM4-80GB" in caught.value.hint
    with pytest.raises(UnknownGpu, match="no GPU is called"):
        find_gpu("Z9000\x1b[31m")


def test_each_offer_is_of_a_card_that_the_catalogue_has() -> None:
    known = {g.name for g in gpus()}
    assert {o.gpu for o in offers()} <= known
    assert all(0.1 < o.usd_per_gpu_hour < 30 for o in offers())


# What the makers' data sheets print with structured sparsity (footnoted there), BF16 and FP8, TFLOPS.
SPARSE = {
    "A100-SXM4-40GB": (624.0, None), "A100-SXM4-80GB": (624.0, None), "A10": (250.0, None), "L4": (242.0, 485.0), "L40S": (733.0, 1466.0),
    "H100-SXM5": (1979.0, 3958.0), "H100-PCIe": (1513.0, 3026.0), "H100-NVL": (1671.0, 3341.0), "H200-SXM5": (1979.0, 3958.0),
    "B200-SXM6": (4500.0, 9000.0), "MI300X": (2614.9, 5229.8),
}  # fmt: skip


@pytest.mark.parametrize("name", SPARSE)
def test_rates_are_the_dense_ones_below_what_sheets_print_with_sparsity(name: str) -> None:
    gpu = find_gpu(name)
    for dense, sparse in zip((gpu.bf16_tflops, gpu.fp8_tflops), SPARSE[name], strict=True):
        if sparse is not None:
            assert dense is not None
            assert dense < sparse
            assert dense / sparse == pytest.approx(0.5, rel=0.02)  # sheets round


# GPU memory of a whole instance as its provider prints it, GB: AWS's pages of instance types, Azure's ND series, Google's A2.
INSTANCES = {
    "p3.16xlarge": 128, "p3dn.24xlarge": 256, "p4d.24xlarge": 320, "p4de.24xlarge": 640, "p5.48xlarge": 640, "p5en.48xlarge": 1128,
    "g5.48xlarge": 192, "g6.48xlarge": 192, "Standard_ND96amsr_A100_v4": 640, "Standard_ND96isr_H100_v5": 640, "a2-highgpu-8g": 320,
}  # fmt: skip


@pytest.mark.parametrize("sku", INSTANCES)
def test_memory_times_count_is_what_the_provider_prints(sku: str) -> None:
    found = [o for o in offers() if o.sku == sku]
    assert found
    for offer in found:
        assert find_gpu(offer.gpu).memory_gb * offer.gpu_count == INSTANCES[sku], offer


def test_every_offer_counts_its_cards() -> None:
    assert all(1 <= o.gpu_count <= 72 for o in offers())


def test_egress_tiers_rise_in_volume_to_the_end() -> None:
    for provider in {t.provider for t in egress_tiers()}:
        bounds = [t.up_to_gb for t in egress_tiers() if t.provider == provider]
        assert bounds == sorted(set(bounds))
        assert bounds[-1] == float("inf")


def test_newer_toolkits_come_with_newer_drivers() -> None:
    found = sorted((t.version, tuple(int(p) for p in t.toolkit_linux_driver.split("."))) for t in toolkits())
    newest = {version: driver for version, driver in found}
    drivers = list(newest.values())
    assert drivers == sorted(drivers)


@pytest.mark.skipif(not DATA.is_dir(), reason="the recordings are not here (CUTOVER_DATA)")
def test_what_was_carried_over_is_what_was_recorded() -> None:
    with (DATA / "gpus.csv").open(newline="") as file:
        recorded = {row["name"]: row for row in csv.DictReader(file)}
    ours = {g.name: g for g in gpus()}
    for name, row in recorded.items():
        assert f"{ours[name].memory_gb:g}" == row["memory_gb"]
        assert f"{ours[name].bandwidth_gb_s:g}" == row["bandwidth_gb_s"]
