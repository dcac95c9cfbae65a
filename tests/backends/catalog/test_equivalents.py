"""Which card can do the work of another."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.catalog.benchmarks import read_benchmarks
from backends.catalog.equivalents import Equivalent, Kind, Need, compare, cost_change, equivalents, offers_of
from backends.catalog.tables import find_gpu, gpus, offers
from backends.errors import UsageError

A100 = find_gpu("A100-SXM4-40GB")
KINDS: tuple[Kind | None, ...] = (None, "inference", "training")


def one(found: list[Equivalent], name: str) -> Equivalent:
    return next(e for e in found if e.gpu.name == name)


@pytest.mark.parametrize(
    ("like", "from_provider", "provider", "nearest"),
    [
        ("A100-SXM4-40GB", "GCP", "RunPod", "A100-PCIe-80GB"),
        ("H100-SXM5", "Lambda", "CoreWeave", "H100-SXM5"),
        ("A100-SXM4-80GB", "Paperspace", "AWS", "A100-SXM4-80GB"),
        ("L4", "GCP", "Lambda", "A10"),
    ],
)
def test_the_guides_mapping_table(like: str, from_provider: str, provider: str, nearest: str) -> None:
    found = equivalents(find_gpu(like), Need(kind="inference"), provider=provider, from_provider=from_provider)
    assert found[0].gpu.name == nearest
    assert found[0].offers


def test_the_ratio_is_that_of_the_ceiling_that_binds() -> None:
    h100 = find_gpu("H100-SXM5")
    assert compare(A100, h100, Need(kind="inference")).ratio == pytest.approx(3350 / 1555)
    assert compare(A100, h100, Need(kind="training")).ratio == pytest.approx(989 / 312, rel=0.01)
    assert compare(A100, h100, Need()).ratio == pytest.approx(3350 / 1555), "the smaller of both is promised"


def test_what_does_not_fit_comes_last_with_what_to_do() -> None:
    found = equivalents(A100, Need(memory_gb=38))
    too_small = [e for e in found if not e.fits]
    assert found[-len(too_small) :] == too_small
    l4 = one(found, "L4")
    assert "38 GB do not fit in 24" in l4.warnings[0]
    assert "8-bit weights" in l4.warnings[0]
    assert one(found, "L40").fits, "48 GB do"
    assert any("leaves no room" in w for w in compare(A100, A100, Need(memory_gb=39.5)).warnings)


@pytest.mark.parametrize(
    ("like", "other", "words"),
    [
        ("H100-SXM5", "A100-SXM4-80GB", "no FP8"),
        ("A100-SXM4-40GB", "V100-SXM2-32GB", "no BF16"),
        ("A100-SXM4-40GB", "L40S", "no MIG"),
        ("A100-SXM4-40GB", "L40S", "no NVLink: 8 cards talk over PCIe 4"),
        ("A100-SXM4-40GB", "A100-PCIe-80GB", "bridge joins two cards"),
        ("A100-SXM4-80GB", "A800-PCIe-80GB", "bridge joins two cards: 8 talk over PCIe as well"),
        ("H100-SXM5", "H100-NVL", "bridge joins two cards"),
        ("H100-SXM5", "H200-NVL", "bridge joins two or four cards"),
        ("H100-SXM5", "MI300X", "AMD, not NVIDIA"),
        ("A100-SXM4-40GB", "P100-SXM2-16GB", "CUDA 13 has dropped it"),
    ],
)
def test_what_is_lost_is_told(like: str, other: str, words: str) -> None:
    assert any(words in w for w in compare(find_gpu(like), find_gpu(other), Need(count=8)).warnings)


def test_every_card_of_a_slot_that_has_a_link_has_it_by_bridges_and_none_of_a_board() -> None:
    for card in gpus():
        if "PCIe" in card.name or card.name.startswith(("RTX", "Quadro")) or "bridge" in card.note:
            assert card.is_bridged == (card.nvlink_gb_s is not None), card.name
        if any(form in card.name for form in ("SXM", "GB200", "GB300", "GH200")):
            assert not card.is_bridged, card.name


def test_a_precision_that_a_sheet_leaves_out_is_not_taken_for_missing() -> None:
    found = compare(find_gpu("H100-SXM5"), find_gpu("RTX-PRO-6000-Blackwell-Server"), Need())
    assert not any("no BF16" in w or "no FP8" in w for w in found.warnings)


@pytest.mark.parametrize("kind", KINDS)
def test_every_card_is_nearest_to_itself(kind: Kind | None) -> None:
    for gpu in gpus():
        assert equivalents(gpu, Need(kind=kind))[0].distance == 0


@given(st.sampled_from(gpus()), st.sampled_from(gpus()), st.sampled_from(KINDS))
def test_ratios_there_and_back_are_each_others_inverse(a, b, kind) -> None:  # type: ignore[no-untyped-def]
    there, back = compare(a, b, Need(kind=kind)), compare(b, a, Need(kind=kind))
    for name, ratio in there.ratios.items():
        assert math.isclose(ratio * back.ratios[name], 1, rel_tol=1e-9)
    if kind is not None and there.ratio is not None and back.ratio is not None:
        assert math.isclose(there.ratio * back.ratio, 1, rel_tol=1e-9)


def test_a_card_alone_is_never_compared_with_one_that_brings_its_host() -> None:
    ours, theirs = offers_of(find_gpu("H100-SXM5"), "Lambda"), offers_of(find_gpu("H100-PCIe"), "CoreWeave")
    assert {o.basis for o in ours} == {"instance"}
    assert {o.basis for o in theirs} == {"gpu-only"}
    assert cost_change(ours, theirs) is None


def test_of_a_providers_snapshots_the_newest_counts() -> None:
    h100 = find_gpu("H100-PCIe")
    [offer] = offers_of(h100, "RunPod")
    known = {o.as_of: o.usd_per_gpu_hour for o in offers() if (o.gpu, o.provider) == (h100.name, "RunPod")}
    assert len(known) > 1
    assert (offer.as_of, offer.usd_per_gpu_hour) == max(known.items())


def test_a_measured_ratio_outranks_the_sheet(tmp_path: Path) -> None:
    file = tmp_path / "llama-7b.csv"
    file.write_text("gpu,value\nNVIDIA A100-SXM4-40GB,1000\nH100-SXM5,2900\n")
    found = equivalents(A100, Need(kind="inference"), measured=read_benchmarks(file))
    assert (one(found, "H100-SXM5").ratio, one(found, "H100-SXM5").is_measured) == (2.9, True)
    assert not one(found, "L4").is_measured


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gpu;value\n", "columns"),
        ("gpu,value\nL4,fast\n", "above 0"),
        ("gpu,value\nL4,-1\n", "above 0"),
        ("gpu,value\nL4\n", "above 0"),
    ],
)
def test_a_bad_benchmark_file_is_told_by_its_line(tmp_path: Path, text: str, says: str) -> None:
    file = tmp_path / "b.csv"
    file.write_text(text)
    with pytest.raises(UsageError, match=says) as caught:
        read_benchmarks(file)
    assert str(file) in caught.value.where
