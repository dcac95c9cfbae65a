"""Our agent against a real NVML, every value held to nvidia-smi's; and the comparison itself, against scripted ones."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.backends.probes.against_smi import FIELDS, ask_agent, ask_smi, differences
from tests.peers.fake_nvml import FakeNvml, fake_nvml

SAID = {
    "uuid": "GPU-0000000{}-1111-2222-3333-444444444444", "name": "NVIDIA H100 80GB HBM3", "driver_version": "570.124.06",
    "memory.total": "81559", "memory.used": "40960", "utilization.gpu": "55", "utilization.memory": "21", "power.draw": "410.10",
    "enforced.power.limit": "700.00", "temperature.gpu": "61", "temperature.memory": "72", "clocks.sm": "1755", "clocks.mem": "2619",
    "clocks.max.sm": "1980", "pcie.link.gen.gpucurrent": "5", "pcie.link.width.current": "16", "fan.speed": "[N/A]",
    "persistence_mode": "Enabled", "compute_mode": "Default", "mig.mode.current": "Disabled", "ecc.mode.current": "Enabled",
    "ecc.errors.corrected.volatile.total": "3", "ecc.errors.uncorrected.volatile.total": "0",
}  # fmt: skip


@pytest.mark.gpu
async def test_every_value_is_nvidia_smis() -> None:
    if shutil.which("nvidia-smi") is None:
        pytest.skip("no NVIDIA GPU here: nvidia-smi is missing")
    for _ in range(3):  # a value that moves more than it may between two looks is looked at again
        found = differences(await ask_agent(os.environ), await ask_smi("nvidia-smi", os.environ))
        if not found:
            return
    assert found == []


@pytest.fixture
def nvml(tmp_path: Path) -> FakeNvml:
    return fake_nvml(tmp_path / "nvml")


def scripted_smi(folder: Path, **planted: str) -> Path:
    """An nvidia-smi that says the same as the scripted NVML, but for what is planted in its second GPU."""
    rows = [", ".join({**SAID, "uuid": SAID["uuid"].format(i), **(planted if i else {})}.values()) for i in range(2)]
    (folder / "said").write_text("\n".join(rows) + "\n")
    program = folder / "nvidia-smi"
    program.write_text(f'#!/bin/sh\ncase "$1" in --query-gpu={",".join(FIELDS)}) cat "{folder}/said" ;; *) exit 2 ;; esac\n')
    program.chmod(0o755)
    return program


async def test_two_that_say_the_same_do_not_differ(tmp_path: Path, nvml: FakeNvml) -> None:
    env = {**os.environ, **nvml.env}
    assert differences(await ask_agent(env), await ask_smi(scripted_smi(tmp_path), env)) == []


@pytest.mark.parametrize("unit", ["more", "nothing"])
async def test_a_planted_difference_is_found_in_every_field(tmp_path: Path, nvml: FakeNvml, unit: str) -> None:
    env = {**os.environ, **nvml.env}
    seen = await ask_agent(env)
    for field, said in SAID.items():
        if unit == "nothing":
            planted = "7" if said.startswith("[") else "[N/A]"
        else:
            planted = f"{float(said) + 2000:g}" if said.replace(".", "", 1).isdigit() else said + "x"
            if said.startswith("["):
                continue
        found = differences(seen, await ask_smi(scripted_smi(tmp_path, **{field: planted}), env))
        assert len(found) == 1, field
        assert found[0].startswith(f"{field}: ")


async def test_a_gpu_that_one_of_them_does_not_see_is_a_difference(tmp_path: Path, nvml: FakeNvml) -> None:
    env = {**os.environ, **nvml.env}
    rows = await ask_smi(scripted_smi(tmp_path), env)
    assert differences(await ask_agent(env), rows[:1])[0] == "2 GPUs, nvidia-smi says 1"
