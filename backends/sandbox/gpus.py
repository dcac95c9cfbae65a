"""The simulated GPUs of one host: seeded curves of utilisation, memory, power and temperature that follow the work given to them.

A share of work (0..1) is asked of the host's role at each tick; utilisation follows it within a second or two, power with it,
temperature ten times slower, as on real boards. The greatest power is that of the models' data sheets.
"""

from __future__ import annotations

import math
import random
import uuid
from dataclasses import dataclass, field

from backends.sandbox.layout import HostSpec
from backends.sandbox.state import World


@dataclass(frozen=True, slots=True)
class GpuModel:
    """What a GPU model is like: memory as the driver reports it, power idle and at most, its highest SM clock."""

    memory_mib: int
    idle_w: float
    limit_w: float
    idle_c: float
    hot_c: float
    sm_mhz: int
    memory_mhz: int
    compute_capability: str


MODELS = {
    "NVIDIA A100-SXM4-40GB": GpuModel(40960, 54.0, 400.0, 31.0, 66.0, 1410, 1215, "8.0"),
    "NVIDIA H100 80GB HBM3": GpuModel(81559, 71.0, 700.0, 28.0, 63.0, 1980, 2619, "9.0"),
}


@dataclass(slots=True)
class SimulatedGpu:
    """One GPU as it is now."""

    index: int
    name: str
    uuid: str
    model: GpuModel
    rng: random.Random
    utilization: float = 0.0  # 0..1
    memory_utilization: float = 0.0
    memory_mib: float = 0.0
    power_w: float = 0.0
    temperature_c: float = 0.0
    wave: float = field(default=0.0)

    def settle(self, busy: float, memory: float) -> None:
        """As it is after a long time at this load."""
        self.utilization = busy
        self.memory_mib = memory * self.model.memory_mib
        self.power_w = self._power(busy)
        self.temperature_c = self._temperature(busy)

    def step(self, busy: float, memory: float, seconds: float) -> None:
        """Move towards a load (0..1) and a share of memory held for `seconds`."""
        self.wave += seconds * (0.5 + 0.05 * self.index)
        wanted = busy * (1.0 + 0.03 * math.sin(self.wave) + self.rng.gauss(0.0, 0.015))
        self.utilization = _towards(self.utilization, min(1.0, max(0.0, wanted)), seconds, 1.2)
        self.memory_utilization = self.utilization * 0.62
        self.memory_mib = _towards(self.memory_mib, memory * self.model.memory_mib, seconds, 1.5)
        power = self._power(self.utilization) * (1.0 + self.rng.gauss(0.0, 0.008))
        self.power_w = min(self.model.limit_w, _towards(self.power_w, power, seconds, 0.8))
        self.temperature_c = _towards(self.temperature_c, self._temperature(self.utilization), seconds, 12.0)

    def _power(self, busy: float) -> float:
        return self.model.idle_w + (self.model.limit_w * 0.94 - self.model.idle_w) * math.pow(busy, 0.9)

    def _temperature(self, busy: float) -> float:
        return self.model.idle_c + self.index * 0.8 + (self.model.hot_c - self.model.idle_c) * busy


def _towards(now: float, goal: float, seconds: float, constant: float) -> float:
    return now + (goal - now) * (1.0 - math.exp(-seconds / constant))


class GpuBox:
    """All GPUs of one host."""

    def __init__(self, spec: HostSpec, world: World) -> None:
        self._spec = spec
        self._world = world
        model = MODELS[spec.gpu_name]
        self.gpus: list[SimulatedGpu] = []
        for index in range(spec.gpus):
            rng = random.Random(f"{world.seed}:gpu:{spec.name}:{index}")
            identity = uuid.UUID(int=rng.getrandbits(128), version=4)
            gpu = SimulatedGpu(index, spec.gpu_name, f"GPU-{identity}", model, rng, wave=rng.uniform(0, 6.28))
            gpu.settle(*self._load())
            self.gpus.append(gpu)
        for _ in range(4):
            self.step(1.0)

    def step(self, seconds: float) -> None:
        """Let `seconds` go by."""
        busy, memory = self._load()
        for gpu in self.gpus:
            gpu.step(busy, memory, seconds)

    def _load(self) -> tuple[float, float]:
        """Work (0..1) and share of memory held on this host now."""
        state = self._world.side(self._spec.side)
        if state.is_dead:
            return 0.0, 0.0
        large = MODELS[self._spec.gpu_name].memory_mib > 60000
        if self._spec.role == "chat":
            share = self._world.chat_share(self._spec.side)
            return (0.02 + share * (0.58 if large else 0.86), 0.41 if large else 0.79)
        writer = 0.02 if state.writes_checkpoints else 0.0
        return ((0.91 if large else 0.95) + writer, 0.45 if large else 0.88)
