"""`cutover validate` as an operator runs it: a real model trained over two real sshd, compared, journaled."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from backends.cutover.fold import fold
from backends.engine.journal import read_events
from backends.engine.lock import StateLock
from backends.statedir import make_state_dir
from tests.conftest import ROOT
from tests.peers.nvidia_smi import fake_smi
from tests.peers.openssh import OpenSsh, openssh

CUTOVER = [sys.executable, "-c", "from console.main import main; main()"]
TRAIN = ROOT / "tests" / "backends" / "validation" / "trial" / "train.py"


class Sides:
    """Two hosts, each with an environment of its own."""

    def __init__(self, folder: Path, legacy: OpenSsh, target: OpenSsh) -> None:
        self.folder = folder
        self.state = folder / "state"
        config = folder / "ssh_config"
        config.write_text(
            "Host *\n" + "".join(f"  IdentityFile {s.folder}/id_ed25519\n" for s in (legacy, target)) + "  IdentitiesOnly yes\n"
        )
        known = folder / "known_hosts"
        known.write_text(legacy.known_hosts.read_text() + "\n" + target.known_hosts.read_text() + "\n")
        self._hosts = {"legacy": legacy.port, "target": target.port}
        self._ssh = f"{{config: {config}, known_hosts: {known}}}"

    def plan(self, trial: str) -> Path:
        path = self.folder / "plan.yaml"
        path.write_text(
            f"""version: 1
name: try
legacy: {{provider: a, hosts: [{{name: old, address: 127.0.0.1, port: {self._hosts["legacy"]}}}]}}
target: {{provider: b, hosts: [{{name: new, address: 127.0.0.1, port: {self._hosts["target"]}}}]}}
ssh: {self._ssh}
workloads:
  - name: train
    class: training
    runs_on: {{legacy: [old], target: [new]}}
    validate: {trial}
"""
        )
        return path

    async def validate(self, trial: str, *more: str) -> tuple[int, Any]:
        done = await self.run("validate", str(self.plan(trial)), "--json", *more)
        assert done.stdout, done.stderr
        return done.returncode, json.loads(done.stdout)

    async def run(self, command: str, *more: str) -> subprocess.CompletedProcess[str]:
        argv = [*CUTOVER, command, *more, "--state", str(self.state)]
        return await asyncio.to_thread(subprocess.run, argv, capture_output=True, text=True, timeout=90, check=False)


async def two(stack: AsyncExitStack, folder: Path, target: Mapping[str, str]) -> Sides:
    path = {"PATH": os.environ["PATH"]}
    legacy = await stack.enter_async_context(openssh(folder / "one", env=path))
    other = await stack.enter_async_context(openssh(folder / "two", env=path | dict(target)))
    return Sides(folder, legacy, other)


@pytest.fixture(autouse=True)
def one_at_a_time() -> Iterator[None]:
    """What a run leaves behind in /tmp is looked for: no other test's may lie there meanwhile."""
    with open("/tmp/cutover-test.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def leftovers() -> set[str]:
    return {name for name in os.listdir("/tmp") if name.startswith("cutover-validate-")}


COMMAND = f'[{sys.executable}, {TRAIN}, --seed, "{{seed}}", --out, "{{out}}"]'
COMPARED = "[{value: loss, at: [10, 50, 100], within: 0.5%}, {value: step_seconds, kind: step_time}]"


async def test_the_same_training_on_both_sides_passes_and_is_in_the_journal(tmp_path: Path) -> None:
    before = leftovers()
    async with AsyncExitStack() as stack:
        sides = await two(stack, tmp_path, {"NCCL_ALGO": "Ring"})
        code, body = await sides.validate(f"{{command: {COMMAND}, seeds: [1, 2], compare: {COMPARED}}}")
    assert (code, body["verdict"]) == (0, "PASS"), body
    runs = {side: body["sides"][side]["runs"] for side in ("legacy", "target")}
    hashes = {side: [run["series"]["loss"]["sha256"] for run in runs[side]] for side in runs}
    assert hashes["legacy"] == hashes["target"]  # the same seeds, to the bit
    assert len(set(hashes["legacy"])) == 2
    assert [run["status"] for run in runs["target"]] == [0, 0]
    assert body["sides"]["legacy"]["environment"]["version.numpy"]
    assert {"name": "env.NCCL_ALGO", "legacy": None, "target": "Ring"} in body["differences"]
    kept = fold(read_events(sides.state)).validated["train"]
    assert kept == body
    assert leftovers() == before


async def test_another_rate_of_learning_on_target_breaches_and_so_does_a_slow_one(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        sides = await two(stack, tmp_path, {"LR": "0.04", "SLOW": "1.2", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1"})
        code, body = await sides.validate(f"{{command: {COMMAND}, compare: {COMPARED}}}")
        text = (await sides.run("validate", str(sides.folder / "plan.yaml"))).stdout
    assert (code, body["verdict"]) == (1, "BREACH")
    assert [m["verdict"] for m in body["metrics"]] == ["BREACH", "BREACH"]
    assert "+20 %" in body["metrics"][1]["reason"]
    assert body["reason"].startswith("loss: ")
    assert "the sides differ in TORCH_ALLOW_TF32_CUBLAS_OVERRIDE none → 1" in body["reason"]
    assert body["causes"][0]["cause"] == "flags of precision differ (TF32 and the like)"
    assert "  env.TORCH_ALLOW_TF32_CUBLAS_OVERRIDE  none → 1\n" in text


async def test_a_gpu_without_room_to_spare_breaches_with_what_it_has(tmp_path: Path) -> None:
    smi = [fake_smi(tmp_path / name / "bin") for name in ("a", "b")]
    for side, used in zip(smi, (60_000, 80_000), strict=True):
        side.say(f"0, {used}, 81559", "1, 10, 81559")
    async with AsyncExitStack() as stack:
        path = os.environ["PATH"]
        legacy = await stack.enter_async_context(openssh(tmp_path / "one", env={"PATH": f"{smi[0].folder}:{path}"}))
        target = await stack.enter_async_context(openssh(tmp_path / "two", env={"PATH": f"{smi[1].folder}:{path}"}))
        code, body = await Sides(tmp_path, legacy, target).validate(f"{{command: {COMMAND}, compare: {COMPARED}}}")
    assert (code, body["verdict"]) == (1, "BREACH")
    assert body["reason"].startswith(
        "GPU memory: target has too little room: peak 78.1 of 79.6 GiB on target, 58.6 of 79.6 GiB on legacy"
    )
    assert body["sides"]["target"]["runs"][0]["gpu_memory"] == {"peak": 80_000 * 2**20, "capacity": 81_559 * 2**20}
    assert body["metrics"][-1]["kind"] == "memory"


@pytest.mark.parametrize(
    ("trial", "words"),
    [
        (
            '{command: [sh, -c, "echo CUDA out of memory. Tried to allocate 2 GiB; exit 1"], compare: [{value: loss}]}',
            "memory ran out on",
        ),
        ('{command: [sh, -c, "echo out of memory; exit 7"], compare: [{value: loss}]}', "ended with 7 on"),
        ('{command: [sh, -c, "sleep 60"], compare: [{value: loss}], timeout: 1s}', "has not ended within 1 s"),
        ('{command: ["true"], compare: [{value: loss}], folder: /no/such; touch /tmp/oops}', "there is no folder"),
        ('{command: ["true"], compare: [{value: loss}]}', "there is no such file"),
    ],
)
async def test_a_side_that_cannot_be_trained_on_is_an_error_and_leaves_nothing_behind(
    tmp_path: Path, trial: str, words: str
) -> None:
    before = leftovers()
    async with AsyncExitStack() as stack:
        sides = await two(stack, tmp_path, {})
        code, body = await sides.validate(trial)
        assert code == 4
        assert words in body["error"]["message"]
        assert leftovers() == before
    assert not Path("/tmp/oops").exists()


async def test_a_folder_that_somebody_holds_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        sides = await two(stack, tmp_path, {})
        lock = StateLock(make_state_dir(sides.state))
        lock.take("somebody")
        try:
            code, body = await sides.validate(f"{{command: [touch, {tmp_path}/trained], compare: {COMPARED}}}")
        finally:
            lock.release()
    assert code == 3
    assert body["error"]["refused_by"]
    assert not (tmp_path / "trained").exists()


async def test_a_workload_without_a_command_is_a_usage_error(tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        sides = await two(stack, tmp_path, {})
        code, body = await sides.validate(f"{{command: {COMMAND}, compare: {COMPARED}}}", "--workload", "other")
    assert code == 2
    assert body["error"]["hint"] == "one of train"
