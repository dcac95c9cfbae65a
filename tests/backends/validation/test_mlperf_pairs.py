"""On every pair of MLPerf's real runs, our paired values, deltas and verdicts are those of numpy and scipy, which share no code with ours."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from backends.validation.compare import Comparison, compare_points
from backends.validation.curve import Curve
from backends.validation.errors import AxisAbsent
from backends.validation.source import load_runs
from backends.validation.stats import binomial_lower, binomial_upper, t_quantile
from backends.verdict import Verdict

BENCHMARKS = {"bert": True, "gpt3": False, "llama2_70b_lora": False, "llama31_8b": False, "resnet": True, "retinanet": True}
TOLERANCE = 0.005
AXES = {"epoch": "epoch_num", "samples": "samples_count"}


def files(recordings: Path, benchmark: str) -> dict[str, list[Path]]:
    folder = recordings / "mlperf" / benchmark
    return {system.name: sorted(system.glob("result_*.txt")) for system in sorted(folder.iterdir())}


@lru_cache
def by_hand(path: Path, axis: str) -> dict[float, float]:
    """The metric's figures by place, read with nothing of ours."""
    out = {}
    for line in path.read_text().splitlines():
        _, mark, text = line.partition(":::MLLOG")
        entry: dict[str, Any] = json.loads(text) if mark else {}
        if entry.get("key") == "eval_accuracy" and AXES[axis] in (entry.get("metadata") or {}):
            out[float(entry["metadata"][AXES[axis]])] = float(entry["value"])
    return out


@lru_cache
def ours(path: Path, axis: str) -> Curve:
    return load_runs([str(path)], [str(path)], "eval_accuracy", axis)[0][0]  # type: ignore[arg-type]


def expected_single(old: dict[float, float], new: dict[float, float], higher: bool) -> tuple[Any, Any, Any, Verdict]:
    places = np.array(sorted(old.keys() & new.keys()))
    left, right = np.array([old[x] for x in places]), np.array([new[x] for x in places])
    with np.errstate(divide="ignore", invalid="ignore"):
        deltas = np.where(left == right, 0.0, (right - left) / np.abs(left))
    worse = -deltas if higher else deltas
    limit = TOLERANCE * (1 + 1e-9)
    if not len(places):
        verdict = Verdict.INCONCLUSIVE
    elif (worse > limit).any():
        verdict = Verdict.BREACH
    else:
        verdict = Verdict.INCONCLUSIVE if (worse < -limit).any() else Verdict.PASS
    return places, np.stack([left, right]), deltas, verdict


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_every_pair_of_single_runs(recordings: Path, benchmark: str) -> None:
    higher, pairs, verdicts = BENCHMARKS[benchmark], 0, defaultdict[Verdict, int](int)
    every = [path for paths in files(recordings, benchmark).values() for path in paths]
    for one, other in product(every, every):
        for axis in AXES:
            old, new = by_hand(one, axis), by_hand(other, axis)
            if not old or not new:
                continue
            places, values, deltas, verdict = expected_single(old, new, higher)
            found = compare_points(ours(one, axis), ours(other, axis), tolerance=TOLERANCE, higher_is_better=higher)
            assert [j.at for j in found.judged] == places.tolist()
            assert [[j.legacy for j in found.judged], [j.target for j in found.judged]] == values.tolist()
            assert [j.delta for j in found.judged] == deltas.tolist()
            assert found.verdict is verdict, f"{one} {other} {axis}"
            if one == other:
                assert verdict is Verdict.PASS
            pairs, verdicts[verdict] = pairs + 1, verdicts[verdict] + 1
    assert pairs >= len(every) ** 2 // 2
    assert verdicts[Verdict.PASS] >= len(every) // 2


def expected_several(old: list[dict[float, float]], new: list[dict[float, float]], higher: bool) -> tuple[Any, Any, Any, Verdict]:
    """(places, deltas, half widths of the 98 % interval, verdict): Welch's test by scipy on ratios by the delta method."""
    places = np.array(sorted(set.intersection(*(set(r) for r in (*old, *new)))))
    if not len(places):
        return places, places, places, Verdict.INCONCLUSIVE
    left, right = (np.array([[r[x] for x in places] for r in side]) for side in (old, new))
    n, m = len(left), len(right)
    a, b = left.mean(axis=0), right.mean(axis=0)
    deltas = (b - a) / np.abs(a)
    # Legacy is scaled to the target's mean: then Welch's interval of the difference over |a| is that of the ratio.
    scaled = left * (b / a)
    var_left, var_right = scaled.var(axis=0, ddof=1) / n, right.var(axis=0, ddof=1) / m
    error = np.sqrt(var_left + var_right) / np.abs(a)
    df = (var_left + var_right) ** 2 / (var_left**2 / (n - 1) + var_right**2 / (m - 1))
    half, strict = error * stats.t.ppf(0.99, df), error * stats.t.ppf(1 - 0.01 / len(places), df)
    worse, limit = (-deltas if higher else deltas), TOLERANCE * (1 + 1e-9)
    if (worse - strict > limit).any():
        verdict = Verdict.BREACH
    elif ((worse + half <= limit) & (worse - half >= -limit)).all():
        verdict = Verdict.PASS
    else:
        verdict = Verdict.INCONCLUSIVE
    return places, deltas, half, verdict


@pytest.mark.parametrize("benchmark", BENCHMARKS)
def test_every_pair_of_systems_with_all_their_runs(recordings: Path, benchmark: str) -> None:
    higher, systems = BENCHMARKS[benchmark], files(recordings, benchmark)
    compared = 0
    for (_, one), (_, other) in product(systems.items(), systems.items()):
        for axis in AXES:
            old, new = ([by_hand(p, axis) for p in side] for side in (one, other))
            if not all((*old, *new)):
                continue
            found = compare_points(
                [ours(p, axis) for p in one], [ours(p, axis) for p in other], tolerance=TOLERANCE, higher_is_better=higher
            )
            places, deltas, half, verdict = expected_several(old, new, higher)
            assert [j.at for j in found.judged] == places.tolist()
            assert [j.delta for j in found.judged] == pytest.approx(deltas.tolist(), rel=1e-9, abs=1e-15)
            assert _halves(found) == pytest.approx(half.tolist(), rel=1e-8, abs=1e-15)
            assert found.verdict is verdict
            compared += len(places) > 0
    assert compared >= len(systems)


def _halves(found: Comparison) -> list[float]:
    return [(j.interval.high - j.interval.low) / 2 for j in found.judged if j.interval is not None]


def test_a_metric_by_an_axis_that_a_file_does_not_have_is_told(recordings: Path) -> None:
    path = files(recordings, "llama2_70b_lora")["XE9680x8H100-SXM-80GB"][0]
    with pytest.raises(AxisAbsent, match="no place by epoch"):
        ours(path, "epoch")


@pytest.mark.parametrize("df", [1, 1.5, 2, 2.9, 3, 7.3, 40, 900])
@pytest.mark.parametrize("p", [0.01, 0.5, 0.95, 0.99, 0.9999])
def test_quantiles_of_t_are_scipys(p: float, df: float) -> None:
    assert t_quantile(p, df) == pytest.approx(float(stats.t.ppf(p, df)), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("events", "trials"), [(0, 10), (1, 1000), (7, 50), (50, 50), (999, 1000)])
def test_exact_bounds_of_a_rate_are_scipys(events: int, trials: int) -> None:
    both = stats.binomtest(events, trials).proportion_ci(confidence_level=0.98, method="exact")
    assert binomial_lower(events, trials, 0.99) == pytest.approx(float(both.low), abs=1e-12)
    assert binomial_upper(events, trials, 0.99) == pytest.approx(float(both.high), abs=1e-12)
    assert math.isfinite(both.high)
