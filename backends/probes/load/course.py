"""What a load run has come to: all of it as one, and each slice in brief. A day of them takes a few MB, however many requests there were."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from backends.probes.load.run import SliceDone
from backends.probes.load.side import Slice
from backends.vocabulary import SideName


@dataclass(frozen=True, slots=True)
class SideBrief:
    """One side of a slice: `p99` of its latencies in seconds, None where nothing was answered."""

    sent: int
    p99: float | None
    errors: int


@dataclass(slots=True)
class Course:
    """Slices are added as they end, and let go."""

    whole: dict[SideName, Slice] = field(default_factory=dict)
    slices: list[tuple[float, dict[SideName, SideBrief]]] = field(default_factory=list)  # by their start, seconds

    def add(self, done: SliceDone) -> None:
        for side, one in done.sides.items():
            self.whole.setdefault(side, Slice()).add(one)
        brief = {s: SideBrief(one.sent, one.latency.quantile(0.99), sum(one.errors.values())) for s, one in done.sides.items()}
        self.slices.append((done.at, brief))

    @property
    def last_at(self) -> float | None:
        """The start of the last slice; None where there is none."""
        return self.slices[-1][0] if self.slices else None

    def slices_json(self) -> list[dict[str, Any]]:
        return [
            {"at": at, "sides": {side: {"sent": b.sent, "p99": b.p99, "errors": b.errors} for side, b in sides.items()}}
            for at, sides in self.slices
        ]
