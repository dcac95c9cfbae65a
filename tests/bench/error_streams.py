"""Simulated requests and errors, in stretches of 5 s: what the trigger of an error rate sees. Seeded; nothing here judges."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from random import Random

from backends.validation.error_rule import Rate

STEP = 5.0  # seconds, the engine's own time between two looks
DAY = 86400.0
AR_STEPS = 2  # stretches that one step of an autocorrelated stream lasts: 10 s
AR_SPREAD = 0.3  # of the logarithm of its error rate
CLUMP = 3.0  # errors that come together, mean of a geometric distribution
BURST, BURSTS = 5.0, 0.05  # times the usual requests, in so many minutes
SHAPES = ("stationary", "AR(1) 0.5", "AR(1) 0.9", "bursty requests", "clumped errors", "diurnal")


@dataclass(frozen=True, slots=True)
class Stream:
    """Counts of each stretch, as sums from the beginning (the first is 0)."""

    requests: Sequence[int]
    errors: Sequence[int]

    def rate(self, first: int, end: int) -> Rate:
        """Of stretches `first` to before `end`."""
        return Rate(self.errors[end] - self.errors[first], self.requests[end] - self.requests[first])


@dataclass(slots=True)
class Seen:
    """A stream as the rule asks for it: up to stretch `end`, none from before `first`."""

    stream: Stream
    first: int = 0
    end: int = 0

    def rate(self, seconds: float) -> Rate:
        return self.stream.rate(max(self.first, self.end - round(seconds / STEP)), self.end)

    def parts(self, seconds: float, count: int, before: float = 0.0) -> list[Rate]:
        steps, end = round(seconds / STEP), self.end - round(before / STEP)
        edges = [max(self.first, end - steps + steps * i // count) for i in range(count + 1)]
        return [self.stream.rate(a, b) for a, b in pairwise(edges)]


def simulate(chance: Random, shape: str, steps: int, requests: float, share: float, *, start: float = 0.0) -> Stream:
    """`requests` a second and the `share` of errors are means over the stream; `start` its time of day, seconds."""
    sizes, rates = _sizes(chance, shape, steps, start), _rates(chance, shape, steps, start)
    counts, failed = [0] * steps, [0] * steps
    mean = requests * STEP
    for i, size, factor in zip(range(steps), sizes, rates, strict=False):
        n = poisson(chance, mean * size)
        counts[i], failed[i] = n, min(n, _errors(chance, shape, n * min(1.0, share * factor)))
    return Stream([0, *accumulate(counts)], [0, *accumulate(failed)])


def joined(before: Stream, after: Stream) -> Stream:
    """One after the other."""
    requests = [*before.requests, *(before.requests[-1] + n for n in after.requests[1:])]
    return Stream(requests, [*before.errors, *(before.errors[-1] + n for n in after.errors[1:])])


def _sizes(chance: Random, shape: str, steps: int, start: float) -> Iterator[float]:
    usual = 1.0 / (1.0 + BURSTS * (BURST - 1.0))
    size = usual
    for i in range(steps):
        if shape == "diurnal":
            size = 1.0 + 0.8 * math.sin(2 * math.pi * (start + i * STEP) / DAY)
        elif shape == "bursty requests" and i % 12 == 0:
            size = usual * (BURST if chance.random() < BURSTS else 1.0)
        yield size if shape in ("diurnal", "bursty requests") else 1.0


def _rates(chance: Random, shape: str, steps: int, start: float) -> Iterator[float]:
    rho = float(shape.rpartition(" ")[2]) if shape.startswith("AR(1)") else 0.0
    level = chance.gauss(0.0, AR_SPREAD)
    fresh = AR_SPREAD * math.sqrt(1 - rho * rho)
    for i in range(steps):
        if rho and i % AR_STEPS == 0:
            level = rho * level + chance.gauss(0.0, fresh)
        if rho:
            yield math.exp(level - AR_SPREAD**2 / 2)
        elif shape == "diurnal":
            yield 1.0 + 0.3 * math.sin(2 * math.pi * (start + i * STEP) / DAY)
        else:
            yield 1.0


def _errors(chance: Random, shape: str, mean: float) -> int:
    if shape != "clumped errors":
        return poisson(chance, mean)
    stay = 1.0 - 1.0 / CLUMP
    return sum(1 + int(math.log(1.0 - chance.random()) / math.log(stay)) for _ in range(poisson(chance, mean / CLUMP)))


def poisson(chance: Random, mean: float) -> int:
    """By inversion; from 50 on by the normal distribution, which is as near as a count of requests needs."""
    if mean > 50.0:
        return max(0, round(chance.gauss(mean, math.sqrt(mean))))
    k, p, u = 0, math.exp(-mean), chance.random()
    while u > p and k < 1000:
        u -= p
        k += 1
        p *= mean / k
    return k
