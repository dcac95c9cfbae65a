"""`cutover baseline` as an operator runs it: over a real sshd, with no engine and with one."""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from backends.cutover.fold import fold
from backends.engine.journal import read_events
from tests.peers.mlflow import Mlflow, mlflow
from tests.peers.openssh import OpenSsh, openssh

CUTOVER = [sys.executable, "-c", "from console.main import main; main()"]


def write_world(folder: Path, sshd: OpenSsh) -> Path:
    chance = random.Random(4)
    for seed in (1, 2):
        lines = [{"epoch": e, "loss": 2 + 1 / e + seed * 0.001} for e in range(1, 61)]
        (folder / f"loss{seed}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    steps = [{"time": 1000.0 + i, "seconds": chance.gauss(2, 0.05)} for i in range(300)]
    (folder / "steps.jsonl").write_text("".join(json.dumps(line) + "\n" for line in steps))
    path = folder / "plan.yaml"
    path.write_text(
        f"""version: 1
name: try
legacy: {{provider: a, hosts: [{{name: old, address: 127.0.0.1, port: {sshd.port}}}]}}
target: {{provider: b, hosts: [{{name: new, address: 127.0.0.1, port: {sshd.port}}}]}}
ssh: {{config: {sshd.config}, known_hosts: {sshd.known_hosts}}}
workloads:
  - {{name: train, class: training, runs_on: {{legacy: [old], target: [new]}}}}
  - {{name: other, class: batch, runs_on: {{legacy: [old], target: [new]}}}}
measures:
  - name: loss
    workload: train
    kind: loss
    legacy: {{file: "ssh://old{folder}/loss1.jsonl", value: loss, by: epoch}}
    target: {{file: "ssh://new{folder}/none.jsonl", value: loss, by: epoch}}
  - name: step
    workload: train
    kind: step_time
    legacy: {{file: "ssh://old{folder}/steps.jsonl", value: seconds}}
    target: {{file: "ssh://new{folder}/none.jsonl", value: seconds}}
  - name: gone
    workload: other
    kind: step_time
    legacy: {{file: "ssh://old{folder}/gone.jsonl", value: seconds}}
    target: {{file: "ssh://new{folder}/none.jsonl", value: seconds}}
"""
    )
    return path


async def cutover(*args: str | Path) -> tuple[int, Any]:
    argv = [*CUTOVER, *map(str, args), "--json"]
    done = await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


async def test_what_legacy_does_is_recorded_with_no_engine_and_with_one(tmp_path: Path) -> None:
    async with openssh(tmp_path / "sshd") as sshd:
        plan, state = write_world(tmp_path, sshd), tmp_path / "state"
        code, body = await cutover(
            "baseline", plan, "--state", state, "--workload", "train", "--run", f"loss={tmp_path}/loss2.jsonl"
        )
        assert code == 0, body
        loss, step = sorted(body["measures"], key=lambda m: m["measure"])
        assert (loss["value"], loss["runs"]) == (pytest.approx(2 + 1 / 60 + 0.001), 2)
        assert loss["noise"] == pytest.approx(0.001 / (2 + 1 / 60 + 0.001), rel=0.01)
        assert step["value"] == pytest.approx(2, rel=0.01)
        assert fold(read_events(state)).baselines.keys() == {"loss", "step"}

        assert (await cutover("up", plan, "--state", state, "--detach"))[0] == 0
        try:
            code, body = await cutover("baseline", plan, "--state", state)
            assert code == 1
            gone = next(m for m in body["measures"] if m["measure"] == "gone")
            assert not gone["recorded"]
            assert "there is no such file" in gone["reason"]
            assert sum(e.kind == "baseline" for e in read_events(state)) == 2
        finally:
            assert (await cutover("down", "--state", state))[0] == 0


async def test_the_speed_of_legacys_card_is_believed_before_the_sheets(tmp_path: Path) -> None:
    file, state = tmp_path / "own.csv", tmp_path / "state"
    async with openssh(tmp_path / "sshd") as sshd:
        plan = write_world(tmp_path, sshd)
        argv = ("baseline", plan, "--state", state, "--workload", "train", "--benchmarks", file)
        nowhere = await cutover(*argv)
        assert (nowhere[0], file.exists()) == (2, False), "the plan does not say on which card"
        gpus = "gpus: {type: A100-SXM4-40GB, count: 4},"
        plan.write_text(plan.read_text().replace("name: old, address: 127.0.0.1,", f"name: old, address: 127.0.0.1, {gpus}"))
        file.write_text("gpu,value\nH100-SXM5,0.3\nA100-SXM4-40GB,9\n")
        code, body = await cutover(*argv)
    assert code == 0, body
    assert (body["benchmark"]["gpu"], body["benchmark"]["measure"]) == ("A100-SXM4-40GB", "step")
    assert body["benchmark"]["value"] == pytest.approx(1 / 2 / 4, rel=0.01), "steps a second, of each of four cards"
    found = (await cutover("gpus", "--like", "A100-SXM4-40GB", "--benchmarks", file))[1]["gpus"]
    h100 = next(g for g in found if g["name"] == "H100-SXM5")
    assert (h100["measured"], h100["ratio"]) == (True, pytest.approx(0.3 * 8, rel=0.01))


async def test_names_that_the_plan_does_not_have_are_usage_errors(tmp_path: Path) -> None:
    async with openssh(tmp_path / "sshd") as sshd:
        plan = write_world(tmp_path, sshd)
        for wrong in (["--workload", "nobody"], ["--run", "nothing=x"], ["--run", "loss"]):
            assert (await cutover("baseline", plan, "--state", tmp_path / "state", *wrong))[0] == 2


async def test_a_plan_whose_figures_are_mlflows_is_read_with_no_engine_and_followed_by_one(tmp_path: Path) -> None:
    runs = {
        f"seed{n}": {"loss": [(s, 1_700_000_000_000 + s * 1000, 2 + 1 / (s + 1) + n * 0.001) for s in range(60)]} for n in (1, 2)
    }
    async with mlflow(Mlflow(runs, page=20)) as server:
        plan, state = tmp_path / "plan.yaml", tmp_path / "state"
        source = f"{{mlflow: {server.url}, run: seed%d, value: loss, by: step}}"
        plan.write_text(
            "version: 1\nname: try\nlegacy: {provider: a}\ntarget: {provider: b}\n"
            "workloads: [{name: train, class: training}]\n"
            f"measures: [{{name: loss, workload: train, kind: loss, legacy: {source % 1}, target: {source % 2}}}]\n"
            "gates: {testing: [{measure: loss, at: [10, 50], within: 0.5%}]}\n"
        )
        code, body = await cutover("baseline", plan, "--state", state, "--run", "loss=seed2")
        assert code == 0, body
        (loss,) = body["measures"]
        assert (loss["samples"], loss["runs"], loss["by"]) == (60, 2, "step")
        assert loss["noise"] == pytest.approx(0.001 / 2.02, rel=0.01)
        assert (await cutover("up", plan, "--state", state, "--detach"))[0] == 0
        try:
            async with asyncio.timeout(30):
                verdict = ""
                while verdict != "PASS":
                    gate = (await cutover("status", "--state", state))[1]["gates"][0]
                    verdict = gate["verdict"]
            assert gate["name"] == "loss@10,50"
        finally:
            await cutover("down", "--state", state, "--anyway")
