"""Simulated latencies, in stretches of 10 s, as counts on a grid of times: what the trigger of latency sees. Seeded; nothing here judges."""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from backends.validation.error_rule import Rate

STEP = 10.0  # seconds between two looks
DAY = 86400.0
SIGMA = 0.5  # of the logarithm of a time: lognormal, median 1
AR_SPREAD = 0.2  # of the logarithm of the level that all times of a stretch share
BURST, BURSTS, BUSY = 5.0, 0.05, 1.2  # times the usual requests, in so many minutes, and how much slower these are
STALL, STALLS = 5.0, 1 / 120  # how much slower all requests of a stretch are, in so many stretches
THIRD = math.log(1.25) / 3  # a step of the grid: 1.25 is three, and nine are 1.95, which stands for 2
EDGES = np.exp(np.arange(-8, 50) * THIRD)
SHAPES = ("stationary", "AR(1) 0.5", "AR(1) 0.9", "bursty requests", "stalls", "diurnal")

Counts = NDArray[np.int64]


def _beyond() -> NDArray[np.float64]:
    """Chances of each cell of the grid (the last one: all beyond it), for each level in steps of the grid from 0.1 to 100."""
    normal, logs = NormalDist(0.0, SIGMA), np.log(EDGES)
    levels = np.arange(-35, 63) * THIRD
    tails = np.array([[1.0 - normal.cdf(x - level) for x in logs] for level in levels])
    return np.diff(tails, axis=1, append=0.0) * -1.0


_CELLS = _beyond()
P99 = math.exp(NormalDist(0.0, SIGMA).inv_cdf(0.99))


@dataclass(frozen=True, slots=True)
class Latencies:
    """Sums from the beginning (the first is 0): `requests`, and of those the ones at or above each edge of the grid."""

    requests: Counts
    above: Counts  # one row a stretch, one column an edge

    @property
    def steps(self) -> int:
        return len(self.requests) - 1


@dataclass(slots=True)
class Seen:
    """A stream as the rule asks for it: up to stretch `end`; where `past` is given, always the so many stretches before its end."""

    stream: Latencies
    end: int = 0
    past: int | None = None

    def _first(self, seconds: float) -> int:
        return max(0, self.end - (self.past if self.past is not None else round(seconds / STEP)))

    def count(self, seconds: float) -> int:
        return int(self.stream.requests[self.end] - self.stream.requests[self._first(seconds)])

    def quantile(self, q: float, seconds: float) -> float:
        first = self._first(seconds)
        beyond = self.stream.above[self.end] - self.stream.above[first]
        place = int(np.count_nonzero(beyond > (1.0 - q) * self.count(seconds)))
        return float(EDGES[max(0, place - 1)])

    def above(self, time: float, seconds: float) -> Rate:
        first, edge = self._first(seconds), _edge(time)
        return Rate(int(self.stream.above[self.end, edge] - self.stream.above[first, edge]), self.count(seconds))

    def parts(self, time: float, seconds: float, count: int, before: float = 0.0) -> list[Rate]:
        if self.past is not None:
            seconds = self.past * STEP
        steps, end, edge = round(seconds / STEP), self.end - round(before / STEP), _edge(time)
        edges = np.maximum(0, np.arange(count + 1) * steps // count + end - steps)
        slow, all_ = np.diff(self.stream.above[edges, edge]), np.diff(self.stream.requests[edges])
        return [Rate(a, n) for a, n in zip(slow.tolist(), all_.tolist(), strict=True)]


def _edge(time: float) -> int:
    """The first edge at or above a time; of a time beyond the grid its last."""
    return min(len(EDGES) - 1, int(np.searchsorted(EDGES, time * (1 - 1e-6))))


def simulate(
    chance: np.random.Generator, shape: str, steps: int, requests: float, level: float, *, start: float = 0.0
) -> Latencies:
    """`requests` a second; all times are `level` times those with the median 1. `start`: its time of day, seconds."""
    sizes, levels = _shape(chance, shape, steps, start)
    place = np.clip(np.rint((np.log(level) + levels) / THIRD).astype(int) + 35, 0, len(_CELLS) - 1)
    means = requests * STEP * sizes
    cells = chance.poisson(means[:, None] * _CELLS[place])
    beyond = np.cumsum(cells[:, ::-1], axis=1)[:, ::-1]
    below = chance.poisson(np.maximum(0.0, means * (1.0 - _CELLS[place].sum(axis=1))))
    above = np.zeros((steps + 1, len(EDGES)), dtype=np.int64)
    np.cumsum(beyond, axis=0, out=above[1:])
    return Latencies(np.concatenate([[0], np.cumsum(beyond[:, 0] + below)]), above)


def joined(before: Latencies, after: Latencies) -> Latencies:
    """One after the other."""
    requests = np.concatenate([before.requests, before.requests[-1] + after.requests[1:]])
    return Latencies(requests, np.concatenate([before.above, before.above[-1] + after.above[1:]]))


def _shape(chance: np.random.Generator, shape: str, steps: int, start: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times the usual requests, and the logarithm of the level, of each stretch."""
    ones, none = np.ones(steps), np.zeros(steps)
    if shape.startswith("AR(1)"):
        rho = float(shape.rpartition(" ")[2])
        fresh = chance.normal(0.0, AR_SPREAD * math.sqrt(1 - rho * rho), steps).tolist()
        level, levels = float(chance.normal(0.0, AR_SPREAD)), []
        for step in fresh:
            level = rho * level + step
            levels.append(level)
        return ones, np.array(levels)
    if shape == "bursty requests":
        busy = np.repeat(chance.random(steps // 6 + 1) < BURSTS, 6)[:steps]
        usual = 1.0 / (1.0 + BURSTS * (BURST - 1.0))
        return np.where(busy, usual * BURST, usual), np.where(busy, math.log(BUSY), 0.0)
    if shape == "stalls":
        return ones, np.where(chance.random(steps) < STALLS, math.log(STALL), 0.0)
    if shape == "diurnal":
        day = np.sin(2 * math.pi * (start + np.arange(steps) * STEP) / DAY)
        return 1.0 + 0.8 * day, np.log(1.0 + 0.1 * day)
    return ones, none
