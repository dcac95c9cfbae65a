"""The training job of one side: it writes its metrics all the time, and checkpoints while it is the production writer.

Both sides train the same model from the same data order: one seeded loss curve, within 0.1 % of each other. Epochs 1 to 100
take 25 seconds; it then goes on, more slowly, so that data keeps coming. A side that is not the production writer goes on as a
comparison run: metrics, never checkpoints. `trainctl stop` leaves a last checkpoint; `trainctl start` goes on at the newest one
of its side.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import re
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from backends.sandbox.state import SideState, World

FAST_EPOCHS = 100
FAST_SECONDS = 0.25  # an epoch, up to FAST_EPOCHS
SLOW_SECONDS = 0.5  # an epoch, after them
STEPS_PER_EPOCH = 10
CHECKPOINT_SECONDS = 3.0
STEPS_PER_CHECKPOINT = 120
KEPT_CHECKPOINTS = 400
_MODEL_BYTES = 64 << 10
_STEP_FOLDER = re.compile(r"^step-(\d{6,9})$")


def loss_at(seed: int, side: str, epoch: int) -> float:
    """The loss of an epoch as this side computes it; the sides differ by less than 0.1 %."""
    base = 1.92 + 7.4 * math.pow(epoch + 1.0, -0.72)
    together = random.Random(f"{seed}:loss:{epoch}").gauss(0.0, 0.0025)
    own = random.Random(f"{seed}:loss:{side}:{epoch}").gauss(0.0, 0.00015)
    return base * (1.0 + together) * (1.0 + max(-0.00045, min(0.00045, own)))


def step_time_at(seed: int, side: str, epoch: int) -> float:
    """Seconds a step; the sides are equal within 1 %."""
    own = random.Random(f"{seed}:step:{side}:{epoch}").gauss(0.0, 0.0015)
    return 0.412 * (1.0 + max(-0.004, min(0.004, own)))


@dataclass(slots=True)
class _Files:
    metrics: Path
    checkpoints: Path
    parts: Path  # where a checkpoint is written before it appears under its name


class Training:
    """One side's job. `before_epoch` is called before each line is written: the scenario looks at the epoch there."""

    def __init__(
        self, world: World, side: SideState, root: Path, remember: Callable[[], Awaitable[None]], before_epoch: Callable[[], None]
    ) -> None:
        self._world = world
        self._side = side
        self._files = _Files(root / "train" / "metrics.jsonl", root / "ckpt", root / "parts")
        self._remember = remember
        self._before_epoch = before_epoch
        self._lock = asyncio.Lock()

    @property
    def is_writing(self) -> bool:
        return self._side.writes_checkpoints

    @property
    def status(self) -> str:
        return "running" if self.is_writing else "quiesced"

    def prepare(self) -> None:
        """Make the folders; legacy starts with two checkpoints; epochs go on where an earlier run ended. Blocking."""
        for folder in (self._files.metrics.parent, self._files.checkpoints):
            folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(self._files.parts, ignore_errors=True)
        self._files.parts.mkdir()
        self._side.epoch = _last_epoch(self._files.metrics)
        if self.is_writing and self._newest() == 0:
            for number in (1, 2):
                self._write_checkpoint(number * STEPS_PER_CHECKPOINT)

    async def run(self) -> None:
        """Train until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._epochs())
            group.create_task(self._checkpoints())

    async def quiesce(self) -> str:
        """Stop writing, with a last checkpoint; in words what happened."""
        async with self._lock:
            if not self.is_writing:
                return f"quiesced at step {await asyncio.to_thread(self._newest)}"
            step = await asyncio.to_thread(self._next_checkpoint)
            self._side.writes_checkpoints = False
            await self._remember()
            return f"quiesced at step {step}"

    async def resume(self) -> str:
        """Start writing after the newest checkpoint of this side; in words what happened."""
        async with self._lock:
            self._side.writes_checkpoints = True
            await self._remember()
            return f"running from step {await asyncio.to_thread(self._newest)}"

    async def step(self) -> int:
        """The step of the newest checkpoint of this side, from which it would go on."""
        return await asyncio.to_thread(self._newest)

    async def _epochs(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            seconds = FAST_SECONDS if self._side.epoch < FAST_EPOCHS else SLOW_SECONDS
            due += seconds * self._side.step_time_factor
            await asyncio.sleep(max(0.0, due - loop.time()))
            self._side.epoch += 1
            self._before_epoch()
            if not self._side.is_silent and not self._side.is_dead:
                await asyncio.to_thread(_append, self._files.metrics, self._line(self._side.epoch))

    def _line(self, epoch: int) -> str:
        seed, name = self._world.seed, self._side.name
        step_time = step_time_at(seed, name, epoch) * self._side.step_time_factor
        line = {
            "time": round(time.time(), 3),
            "epoch": epoch,
            "step": epoch * STEPS_PER_EPOCH,
            "loss": round(loss_at(seed, name, epoch) * self._side.loss_factor, 5),
            "step_time": round(step_time, 5),
            "throughput": round(524288 / step_time, 1),
        }
        return json.dumps(line) + "\n"

    async def _checkpoints(self) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_SECONDS)
            async with self._lock:
                if self.is_writing and not self._side.is_dead:
                    await asyncio.to_thread(self._next_checkpoint)

    def _next_checkpoint(self) -> int:
        step = self._newest() + STEPS_PER_CHECKPOINT
        self._write_checkpoint(step)
        for old in self._steps()[:-KEPT_CHECKPOINTS]:
            shutil.rmtree(self._files.checkpoints / f"step-{old:06d}")
        return step

    def _steps(self) -> list[int]:
        matches = (_STEP_FOLDER.match(name) for name in os.listdir(self._files.checkpoints))
        return sorted(int(m[1]) for m in matches if m)

    def _newest(self) -> int:
        return max(self._steps(), default=0)

    def _write_checkpoint(self, step: int) -> None:
        part = self._files.parts / f"step-{step:06d}"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        rng = random.Random(f"{self._world.seed}:checkpoint:{self._side.name}:{step}")
        (part / "model.bin").write_bytes(rng.randbytes(_MODEL_BYTES))
        (part / "state.json").write_text(json.dumps({"step": step, "side": self._side.name}) + "\n")
        os.rename(part, self._files.checkpoints / part.name)


def _append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def _last_epoch(path: Path) -> int:
    """The epoch of the last whole line; a line that a kill cut short is passed over."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return 0
    for line in reversed(lines):
        try:
            return int(json.loads(line)["epoch"])
        except (ValueError, KeyError):
            continue
    return 0
