"""Simulated losses, place by place, as logarithms beside a curve that both sides share. Seeded; nothing here judges."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

RECORDED = Path(__file__).parents[3] / "shared" / "data" / "mlperf" / "llama31_8b" / "theia_ngpu8_ngc25.09_nemo" / "result_0.txt"
SHAPES = ("white", "AR(1) 0.5", "AR(1) 0.9", "paired", "spikes", "restarts", "bursty", "diurnal", "MLPerf")
SPREAD, PAIRED, QUIET = 0.03, 0.002, 0.02
DAY = 2880  # places
BLOCK = 20  # places of the recorded noise that stay together
WARM_UP = 60  # recorded places that are left out: the curve falls steeply

Losses = NDArray[np.float64]


def simulate(chance: np.random.Generator, shape: str, places: int) -> Losses:
    """One side's noise."""
    if shape == "MLPerf":
        return _blocks(chance, places)
    if shape.startswith("AR(1)"):
        return autocorrelated(chance, places, float(shape.rpartition(" ")[2]), SPREAD)
    if shape == "paired":
        return autocorrelated(chance, places, 0.5, PAIRED)
    fresh = chance.normal(0.0, 1.0, places)
    if shape == "spikes":
        return QUIET * fresh + _jumps(chance, places, 1000, 0.2, 10)
    if shape == "restarts":
        return QUIET * fresh + _jumps(chance, places, 500, 0.05, 20)
    if shape == "bursty":
        busy = np.repeat(chance.random(places // 60 + 1) < 0.05, 60)[:places]
        return QUIET * fresh * np.where(busy, 5.0, 1.0)
    if shape == "diurnal":
        return SPREAD * fresh * (1.0 + 2 / 3 * np.sin(2 * math.pi * np.arange(places) / DAY))
    return SPREAD * fresh


def autocorrelated(chance: np.random.Generator, places: int, alike: float, spread: float) -> Losses:
    """Varies by `spread`; neighbours correlate by `alike`."""
    level, out = float(chance.normal(0.0, spread)), []
    for fresh in chance.normal(0.0, spread * math.sqrt(1 - alike * alike), places).tolist():
        level = alike * level + fresh
        out.append(level)
    return np.array(out)


def _jumps(chance: np.random.Generator, places: int, every: int, height: float, halves: int) -> Losses:
    """Jumps of exponential height, each so many places at the mean, that halve in `halves` places."""
    out, fading = np.zeros(places), 0.5 ** (np.arange(12 * halves) / halves)
    for at in np.flatnonzero(chance.random(places) < 1 / every).tolist():
        end = min(places, at + len(fading))
        out[at:end] += chance.exponential(height) * fading[: end - at]
    return out


@lru_cache(maxsize=1)
def recorded_noise() -> Losses | None:
    """How real training losses lie beside their own running median, as logarithms; None where the recordings are absent."""
    if not RECORDED.is_file():
        return None
    found = []
    for line in RECORDED.read_text().splitlines():
        entry = json.loads(line.partition(":::MLLOG")[2] or "{}")
        value = entry.get("value")
        if entry.get("key") == "tracked_stats" and isinstance(value, dict) and "reduced_train_loss" in value:
            found.append(math.log(value["reduced_train_loss"]))
    logs = np.array(found[WARM_UP:])
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(logs, BLOCK, mode="edge"), 2 * BLOCK + 1)
    rest = logs - np.median(windows, axis=1)
    return np.asarray(rest - rest.mean())


def _blocks(chance: np.random.Generator, places: int) -> Losses:
    noise = recorded_noise()
    assert noise is not None
    starts = chance.integers(0, len(noise) - BLOCK + 1, places // BLOCK + 1)
    return np.asarray(np.concatenate([noise[s : s + BLOCK] for s in starts])[:places])
