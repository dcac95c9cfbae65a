"""Likely causes of a difference, each from what the runs themselves show."""

from __future__ import annotations

import json
import math
import random
from pathlib import Path

import pytest

from backends.validation.causes import Cause
from backends.validation.compare import Rule, compare_points
from backends.validation.curve import Curve
from backends.validation.explain import causes_of, explanation
from backends.validation.oom import memory_line
from backends.validation.planning import plan_runs, plan_words, runs_needed
from backends.validation.series import Sample
from backends.validation.source import load_runs

RULE = Rule(0.005, False)
LEGACY = {float(x): 2 + 3 * math.exp(-x / 8) for x in range(1, 31)}


def curve(points: dict[float, float]) -> Curve:
    made = Curve("samples", "here")
    made.extend(Sample(x, x, v) for x, v in points.items())
    return made


def causes(points: dict[float, float]) -> list[Cause]:
    old, new = curve(LEGACY), curve(points)
    return causes_of(compare_points(old, new, tolerance=0.005, higher_is_better=False), [old], [new], RULE)


def test_a_difference_that_is_the_same_everywhere_is_another_measure() -> None:
    (found,) = causes({x: v * 1.03 for x, v in LEGACY.items()})
    assert "another measure" in found.cause
    assert found.evidence == "the difference is +3 % at every place, give or take 0 %"


def test_a_jump_names_its_place() -> None:
    (found,) = causes({x: v * (1.02 if x > 17 else 1.0) for x, v in LEGACY.items()})
    assert "something happened there" in found.cause
    assert "until samples 17, +2 % from samples 18 on" in found.evidence


def test_a_drift_is_numerical_and_a_late_start_is_not() -> None:
    (drift,) = causes({x: v * (1 + 0.001 * x) for x, v in LEGACY.items()})
    assert "drift apart" in drift.cause
    (start,) = causes({x: v * (1 + 0.05 / x) for x, v in LEGACY.items()})
    assert "begin apart" in start.cause


def test_noise_that_changes_its_sign_is_told_as_noise() -> None:
    chance = random.Random(3)
    found = causes({x: v * (1 + chance.gauss(0, 0.01)) for x, v in LEGACY.items()})
    assert "noise from run to run" in found[0].cause


def test_a_curve_on_another_scale_is_recognised() -> None:
    found = causes({x: LEGACY[2 * x] for x in LEGACY if 2 * x in LEGACY})
    assert any("target at samples x has legacy's value at 2 x, at all 15 places" in c.evidence for c in found)


def test_a_pass_has_no_causes() -> None:
    assert causes(LEGACY) == []


def mllog(path: Path, batch: int, seed: str, loss: float) -> str:
    entries = [("global_batch_size", batch, {}), ("seed", seed, {}), ("opt_name", "adamw", {})]
    entries += [("loss", loss + 1 / x, {"samples_count": x}) for x in range(1, 6)]  # type: ignore[misc]
    path.write_text(
        "".join(":::MLLOG " + json.dumps({"key": k, "value": v, "time_ms": 1, "metadata": m}) + "\n" for k, v, m in entries)
    )
    return str(path)


def test_what_the_logs_say_goes_first_and_is_harmless(tmp_path: Path) -> None:
    old, new, _ = load_runs([mllog(tmp_path / "a", 16, "1", 1.0)], [mllog(tmp_path / "b", 32, "2\x1b[31m", 1.1)], "loss", None)
    found = causes_of(compare_points(old, new, tolerance=0.005, higher_is_better=False), old, new, RULE)
    assert [c.cause.partition(":")[0] for c in found[:2]] == ["another seed", "another batch size"]
    assert found[1] == Cause("another batch size", "global_batch_size is 16 on legacy and 32 on target")
    assert found[0].evidence == "seed is 1 on legacy and 2\\x1b[31m on target"


def test_settings_that_both_sides_share_in_some_run_are_no_cause(tmp_path: Path) -> None:
    paths = [mllog(tmp_path / f"r{i}", 16, str(i), 1.0) for i in range(3)]
    old, new, _ = load_runs(paths[:2], paths[1:], "loss", None)
    found = compare_points(old, new, tolerance=0.005, higher_is_better=False)
    assert not any("seed" in c.cause for c in causes_of(found, old, new, RULE))


def test_an_explanation_holds_what_was_judged(tmp_path: Path) -> None:
    old, new = curve(LEGACY), curve({x: v * 1.03 for x, v in LEGACY.items()})
    found = compare_points(old, new, tolerance=0.005, higher_is_better=False)
    told = explanation(found, [old], [new], RULE, interpolate=False)
    assert told["window"] == [1, 30]
    assert told["compared"] == 30
    assert told["inputs"][0]["sha256"] == old.digest() != told["inputs"][1]["sha256"]
    assert told["inputs"][0]["points"] == 30
    assert told["rule"].startswith("the relative difference at each place, 0.5 % allowed; lower is better")
    assert told["sentence"] == found.reason


@pytest.mark.parametrize(
    "line",
    [
        "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "RuntimeError: HIP out of memory. Tried to allocate 1 GiB",
        "jaxlib.xla_extension.XlaRuntimeError: RESOURCE_EXHAUSTED: Out of memory while trying to allocate 12 bytes",
        "[12.3] Out of memory: Killed process 4711 (python)",
        "[12.3] oom-kill:constraint=CONSTRAINT_MEMCG,task=python",
    ],
)
def test_lines_that_say_that_memory_ran_out_are_known(line: str) -> None:
    assert memory_line(f"step 1\n\x1b{line}\nmore".encode()) == f"\\x1b{line}"


def test_a_word_about_memory_is_no_lack_of_it() -> None:
    assert memory_line(b"peak memory 12 GiB\nOOM handler installed\nrun out of memory budget soon\n") == ""


def test_runs_needed_grow_with_the_noise_and_are_those_of_the_books() -> None:
    # Julious, Sample Sizes for Clinical Trials, equivalence: 2 (z(0.95) + z(0.95))^2 (sd/room)^2 = 86.6 for sd/room = 2.
    assert runs_needed(0.005, 0.01, alpha=0.05, both_sides=True) == pytest.approx(88, abs=1)
    few, many = (runs_needed(0.005, s, alpha=0.01, both_sides=True) for s in (0.001, 0.01))
    assert few is not None
    assert many is not None
    assert few < many
    assert runs_needed(0.005, 1.0, alpha=0.01, both_sides=True) is None
    assert runs_needed(0.0, 0.01, alpha=0.01, both_sides=True) is None


def test_runs_of_one_system_tell_how_many_are_needed(recordings: Path) -> None:
    files = sorted((recordings / "mlperf/llama31_8b/nebius_b200_n1").glob("*.txt"))
    runs, _, axis = load_runs([str(f) for f in files], [str(files[0])], "eval_accuracy", None)
    places = plan_runs(runs, 0.005, 0.01, [172032.0])
    assert [p.at for p in places] == [172032.0]
    assert places[0].spread == pytest.approx(0.00153 * math.sqrt(1), rel=0.3)
    assert "one run's standard deviation" in plan_words(places, axis, 0.005)
