"""`cutover checkpoints` as a user runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import save_file

from backends.checkpoint_view import MOST_TENSORS, share_of
from backends.cutover.fold import fold
from backends.engine.journal import read_events
from console.commands.checkpoints import command


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(command, [str(a) for a in args])


@pytest.fixture
def legacy(tmp_path: Path) -> Path:
    path = tmp_path / "legacy.safetensors"
    save_file({"layer.0": np.arange(1, 7, dtype=np.float32).reshape(2, 3), "layer.1": np.ones(4, np.float32)}, path)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    path = tmp_path / "target.safetensors"
    other = np.arange(1, 7, dtype=np.float32).reshape(2, 3)
    other[1, 2] = 6.006
    save_file({"layer.0": other, "layer.1": np.ones(4, np.float32)}, path)
    return path


def test_equal_is_exit_zero_and_a_difference_exit_one(legacy: Path, target: Path) -> None:
    same = run(legacy, legacy)
    assert same.exit_code == 0
    assert same.output.splitlines()[-1] == "PASS: all 2 tensors equal to the bit"
    other = run(legacy, target)
    assert other.exit_code == 1
    assert other.output.splitlines()[-1].startswith("BREACH: 1 of 2 tensors differ, most layer.0 (at most 0.006")
    assert run(legacy, target, "--rtol", "0.01").exit_code == 0
    assert run(legacy, target, "--ignore", "layer.0").exit_code == 0


def test_the_json_is_the_contracts(legacy: Path, target: Path) -> None:
    body = json.loads(run(legacy, target, "--json").stdout)
    assert body["verdict"] == "BREACH"
    first, second = body["tensors"]
    assert {"name", "shape", "dtype", "max_abs", "max_rel", "cosine", "equal", "missing"} <= set(first)
    assert (first["name"], first["shape"], first["dtype"], first["equal"], first["missing"]) == (
        "layer.0",
        [2, 3],
        "F32",
        False,
        None,
    )
    assert first["max_abs"] == pytest.approx(0.006, rel=1e-4)
    assert first["max_rel"] == pytest.approx(0.001, rel=1e-4)
    assert 0.999 < first["cosine"] < 1
    assert (second["name"], second["equal"], second["cosine"], second["max_abs"]) == ("layer.1", True, 1.0, 0)


def test_what_is_absent_says_on_which_side(legacy: Path, tmp_path: Path) -> None:
    save_file({"layer.1": np.ones(4, np.float32)}, tmp_path / "less.safetensors")
    body = json.loads(run(legacy, tmp_path / "less.safetensors", "--json").stdout)
    assert [(t["name"], t["missing"]) for t in body["tensors"]] == [("layer.0", "target"), ("layer.1", None)]
    assert body["verdict"] == "BREACH"


def test_a_hostile_file_is_exit_four_and_names_the_file(legacy: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"\xff" * 64)
    result = run(legacy, bad, "--json")
    assert result.exit_code == 4
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "checkpoint_refused"
    assert error["where"] == str(bad)


def test_a_path_that_is_not_there_and_a_tolerance_without_end_are_usage_errors(legacy: Path, tmp_path: Path) -> None:
    assert run(legacy, tmp_path / "nothing").exit_code == 2
    assert run(legacy, legacy, "--rtol", "inf").exit_code == 2


def test_names_from_outside_do_no_harm_on_screen_and_in_svg(tmp_path: Path) -> None:
    for name, by in (("a", 1.0), ("b", 2.0)):
        save_file({"\x1b[2J<script>&": np.full(3, by, np.float32)}, tmp_path / f"{name}.safetensors")
    result = run(tmp_path / "a.safetensors", tmp_path / "b.safetensors", "--svg", tmp_path / "x.svg")
    assert result.exit_code == 1
    assert "\x1b" not in result.output
    text = (tmp_path / "x.svg").read_text()
    assert "<script>" not in text
    drawn = [e.text or "" for e in ElementTree.fromstring(text).iter() if e.tag.endswith("text")]
    assert any("\\x1b[2J<script>&" in words for words in drawn)


def test_the_bar_is_logarithmic_and_full_for_what_cannot_be_told() -> None:
    assert share_of(0.0, False) == 0
    assert share_of(1e-4, False) == pytest.approx(0.5)
    assert share_of(None, False) == share_of(3.0, False) == share_of(1e-9, True) == 1
    assert share_of(1e-12, False) == 0


def cutover(*args: str | Path) -> tuple[int, str, str]:
    argv = [sys.executable, "-c", "from console.main import main; main()", *map(str, args)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout, done.stderr


def test_the_migration_of_a_plan_keeps_the_tensors_that_differ_most_with_an_engine_and_without(tmp_path: Path) -> None:
    weights = {f"layer.{i:02}": np.full(4, 1.0, np.float32) for i in range(60)}
    save_file(weights, tmp_path / "a.safetensors")
    apart = {name: w + np.float32(i / 1000) for i, (name, w) in enumerate(weights.items()) if i != 7}
    save_file(apart, tmp_path / "b.safetensors")
    plan, state = tmp_path / "plan.yaml", tmp_path / "state"
    plan.write_text(
        "version: 1\nname: try\nlegacy: {provider: a}\ntarget: {provider: b}\n"
        "workloads:\n  - {name: train, class: training}\n  - {name: chat, class: batch}\n"
    )
    asked = ("checkpoints", tmp_path / "a.safetensors", tmp_path / "b.safetensors", "--plan", plan, "--state", state, "--json")
    code, out, err = cutover(*asked)
    assert (code, json.loads(out)["kept"], state.exists()) == (1, False, False), err  # no migration: none is begun
    assert cutover("up", plan, "--state", state, "--detach")[0] == 0
    try:
        code, out, err = cutover(*asked)
        assert (code, json.loads(out)["kept"]) == (1, True), err
        code, out, err = cutover("status", "--state", state, "--json")
        (shown,) = json.loads(cutover("status", "--state", state, "--json")[1])["checkpoints"]
    finally:
        assert cutover("down", "--state", state)[0] == 0
    assert (shown["workload"], shown["verdict"], shown["tensors"], shown["apart"]) == ("train", "BREACH", 60, 59)
    names = [t["name"] for t in shown["worst"]]
    assert (names[0], shown["worst"][0]["words"]) == ("layer.07", "missing on target")
    assert names[1:] == [f"layer.{i}" for i in range(59, 59 - MOST_TENSORS + 1, -1)]
    assert shown["worst"][1]["relative"] == pytest.approx(0.059, rel=1e-4)
    code, out, err = cutover(*asked, "--workload", "chat", "--ignore", "layer.07", "--atol", "1")
    assert (code, json.loads(out)["kept"]) == (0, True), err
    kept = fold(read_events(state)).checkpoints
    assert kept["train"]["apart"] == 59
    assert (kept["chat"]["verdict"], kept["chat"]["apart"], kept["chat"]["worst"]) == ("PASS", 0, [])
    assert kept["chat"]["at"] > kept["train"]["at"]


def test_checkpoints_of_no_workload_of_the_plan_are_a_usage_error(legacy: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.yaml"
    plan.write_text("version: 1\nname: try\nlegacy: {provider: a}\ntarget: {provider: b}\n")
    assert run(legacy, legacy, "--plan", plan, "--workload", "none").exit_code == 2
    assert run(legacy, legacy, "--workload", "none").exit_code == 2
