"""On MLPerf's real curves, against an independent computation. What is odd in them: their own README."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path

import pytest

from backends.validation.compare import compare_points
from backends.validation.errors import AxisAbsent
from backends.validation.source import load_runs
from backends.verdict import Verdict

LLAMA2 = ["XE9680x8H100-SXM-80GB", "XE9680x8H200-SXM-141GB", "MI355X_EPYC_9575F_pytorch"]


def plain_points(path: Path, key: str, axis: str, field: str | None = None) -> dict[float, float]:
    points = {}
    for line in path.read_text().splitlines():
        if ":::MLLOG" in line:
            entry = json.loads(line.split(":::MLLOG")[1])
            value = entry["value"] if field is None else (entry["value"] or {}).get(field) if entry["key"] == key else None
            if entry["key"] == key and value is not None and axis in entry["metadata"]:
                points[float(entry["metadata"][axis])] = value
    return points


@pytest.mark.parametrize(("left", "right"), list(product(LLAMA2, LLAMA2)))
def test_every_pair_of_llama2_runs_is_judged_as_by_hand(recordings: Path, left: str, right: str) -> None:
    folder = recordings / "mlperf" / "llama2_70b_lora"
    old, new = folder / left / "result_0.txt", folder / right / "result_1.txt"
    legacy, target = plain_points(old, "eval_accuracy", "samples_count"), plain_points(new, "eval_accuracy", "samples_count")
    series = load_runs([str(old)], [str(new)], "eval_accuracy", "samples")
    found = compare_points(series[0], series[1], tolerance=0.005, higher_is_better=False)
    common = sorted(set(legacy) & set(target))
    assert [(j.at, j.legacy, j.target) for j in found.judged] == [(x, legacy[x], target[x]) for x in common]
    for j in found.judged:
        delta = (target[j.at] - legacy[j.at]) / abs(legacy[j.at])
        assert j.delta == delta
        expected = Verdict.PASS if abs(delta) <= 0.005 else Verdict.BREACH if delta > 0 else Verdict.INCONCLUSIVE
        assert j.verdict is expected


def test_grids_that_miss_by_one_batch_have_no_common_points(recordings: Path) -> None:
    folder = recordings / "mlperf" / "llama31_8b"
    amd, nebius = folder / "MI355X_EPYC_9575F_pytorch/result_0.txt", folder / "nebius_b200_n1/result_01.txt"
    old, new, by = load_runs([str(amd)], [str(nebius)], "eval_accuracy", None)
    assert by == "samples"
    found = compare_points(old, new, tolerance=0.005, higher_is_better=False)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert "no common points by samples: nearest are legacy 12256 and target 12288" in found.reason
    asked = compare_points(old, new, tolerance=0.005, higher_is_better=False, interpolate=True)
    assert asked.judged
    assert "interpolated" in asked.reason


def test_bert_counts_samples_as_epochs_and_two_submitters_never_meet(recordings: Path) -> None:
    folder = recordings / "mlperf" / "bert"
    tiny, dell = folder / "tinybox_red/result_0.txt", folder / "XE9680x8H100-SXM-80GB/result_0.txt"
    old, new, by = load_runs([str(tiny)], [str(dell)], "eval_accuracy", None)
    assert by == "epoch"
    assert old[0].points()[0][0] == 149952
    found = compare_points(old, new, tolerance=0.005, higher_is_better=True)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert not found.judged


def test_the_metadatas_own_accuracy_is_named_in_brackets(recordings: Path) -> None:
    path = recordings / "mlperf/bert/tinybox_red/result_0.txt"
    old, _, _ = load_runs([str(path)], [str(path)], "eval_accuracy[masked_lm_accuracy]", "epoch")
    assert old[0].at(149952) == plain_points(path, "eval_accuracy", "epoch_num")[149952]


def test_a_field_of_an_object_is_read_where_it_is(recordings: Path) -> None:
    path = recordings / "mlperf/llama31_8b/theia_ngpu8_ngc25.09_nemo/result_0.txt"
    old, _, _ = load_runs([str(path)], [str(path)], "tracked_stats.reduced_train_loss", "samples")
    assert dict(old[0].points()) == plain_points(path, "tracked_stats", "samples_count", "reduced_train_loss")


def test_throughput_of_llama2_stands_by_step_and_not_by_samples(recordings: Path) -> None:
    path = str(recordings / "mlperf/llama2_70b_lora/XE9680x8H100-SXM-80GB/result_0.txt")
    with pytest.raises(AxisAbsent) as caught:
        load_runs([path], [path], "tracked_stats.throughput", "samples")
    assert "it has step" in caught.value.hint
    old, _, _ = load_runs([path], [path], "tracked_stats.throughput", "step")
    assert len(old[0]) == 5


def test_two_seeds_of_one_system_fail_a_bare_half_percent_and_the_verdict_says_why(recordings: Path) -> None:
    """README: seeds of one system differ by up to 0.65 %. One pair is a breach by the plain rule; runs together are not."""
    files = [str(recordings / f"mlperf/llama2_70b_lora/XE9680x8H100-SXM-80GB/result_{i}.txt") for i in range(3)]
    worst = 0.0
    for a, b in product(files, files):
        old, new, _ = load_runs([a], [b], "eval_accuracy", "samples")
        found = compare_points(old, new, tolerance=0.005, higher_is_better=False)
        worst = max(worst, *(abs(j.delta or 0.0) for j in found.judged))
        if a != b:
            assert "noise unknown (one run a side)" in found.reason or any(j.too_good for j in found.judged)
    assert worst < 0.0066
    old, new, _ = load_runs(files[:2], files[1:], "eval_accuracy", "samples")
    several = compare_points(old, new, tolerance=0.005, higher_is_better=False)
    assert several.verdict is not Verdict.BREACH
    assert "2 and 2 runs" in several.reason
