"""NVML without a GPU: a small C library that speaks its ABI with scripted values, loaded by the same code as the real one."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("fake_nvml.c")
GIB = 1 << 30


@dataclass
class FakeNvml:
    """`set` changes what the library says; its processes see it at their next call."""

    library: Path
    script: Path
    values: dict[str, str] = field(default_factory=dict)

    @property
    def env(self) -> dict[str, str]:
        return {"CUTOVER_NVML": str(self.library), "FAKE_NVML_SCRIPT": str(self.script)}

    def set(self, **values: object) -> None:
        """By keyword: `g0_util=90` is GPU 0's `util`, `driver=…` the system's; None takes it away."""
        for name, value in values.items():
            key = f"{name[1:].split('_', 1)[0]}.{name.split('_', 1)[1]}" if name[0] == "g" and name[1].isdigit() else name
            if value is None:
                self.values.pop(key, None)
            else:
                self.values[key] = str(value)
        new = self.script.with_suffix(".new")
        new.write_text("".join(f"{key} {value}\n" for key, value in self.values.items()))
        os.replace(new, self.script)


def fake_nvml(folder: Path, gpus: int = 2) -> FakeNvml:
    """Built in `folder`, with `gpus` H100s that give everything. Skips where there is no C compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler (cc): the scripted NVML cannot be built")
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, SOURCE], check=True)
    made = FakeNvml(library, folder / "script")
    made.set(count=gpus, driver="570.124.06", cuda=12080)
    for index in range(gpus):
        made.set(**{f"g{index}_{key}": value for key, value in H100.items()})
        made.set(**{f"g{index}_uuid": f"GPU-0000000{index}-1111-2222-3333-444444444444", f"g{index}_index": index})
    return made


H100: dict[str, object] = {
    "name": "NVIDIA H100 80GB HBM3",
    "util": 55,
    "mutil": 21,
    "total": 85_520_809_984,
    "used": 40 * GIB,
    "reserved": 600 << 20,
    "mw": 412_345,
    "cap": 700_000,
    "temp0": 61,
    "field82": 72,
    "clock1": 1755,
    "clock2": 2619,
    "maxclock1": 1980,
    "why": 0x4,
    "enc": 0,
    "field138": 1 << 20,
    "field139": 1 << 21,
    "pstate": 0,
    "persist": 1,
    "mode": 0,
    "ecc": 1,
    "ecc1": 3,
    "ecc2": 0,
    "rows": "1,0,0,0",
    "pages0": 0,
    "pages1": 0,
    "pcie0": 1000,
    "pcie1": 2000,
    "gen": 5,
    "width": 16,
    "mig": 0,
    "compute": "",
    "graphics": "",
}
