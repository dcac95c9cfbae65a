"""What a case found: a row for each contender, a verdict for each bar, and every run behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one contender. Seconds and bytes."""

    contender: str
    wall: float
    cpu: float
    rss: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """What must be reached and what was measured; `bar` is the largest value that reaches it, or the least where `at_least`."""

    text: str
    measured: float
    bar: float
    at_least: bool = False
    unit: str = "x"

    @property
    def reached(self) -> bool:
        return self.measured >= self.bar if self.at_least else self.measured <= self.bar

    def line(self) -> str:
        sign = "at least" if self.at_least else "at most"
        return f"{self.text}: {_figure(self.measured, self.unit)}, {sign} {_figure(self.bar, self.unit)} {self.word}"

    @property
    def word(self) -> str:
        return "reached" if self.reached else "MISSED"


def row_of(verdict: Verdict) -> tuple[str, str, str, str]:
    """What, the bar, what was measured, reached or missed."""
    sign = "at least" if verdict.at_least else "at most"
    bar, measured = (_figure(value, verdict.unit) for value in (verdict.bar, verdict.measured))
    return verdict.text, f"{sign} {bar}", measured, verdict.word


def _figure(value: float, unit: str) -> str:
    if unit == "x":
        return f"{value:.3g} x"
    if unit == "bytes":
        return f"{value:,.0f} bytes"
    return f"{value:.4g} {unit}".rstrip()


@dataclass(slots=True)
class Outcome:
    """`tried` are the single runs that chose each family's variant; they count for nothing else."""

    case: str
    title: str
    server: str
    runs: list[Run] = field(default_factory=list)
    tried: list[Run] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    began: str = ""

    def contenders(self) -> list[str]:
        return list(dict.fromkeys(run.contender for run in self.runs))

    def median(self, contender: str, what: str) -> float:
        return float(median(getattr(run, what) for run in self.runs if run.contender == contender))

    def count(self, contender: str) -> int:
        return sum(run.contender == contender for run in self.runs)

    def span(self, contender: str) -> tuple[float, float]:
        walls = [run.wall for run in self.runs if run.contender == contender]
        return min(walls), max(walls)

    def best(self, contenders: Sequence[str]) -> str:
        """The one with the least median wall."""
        return min(contenders, key=lambda name: self.median(name, "wall"))

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(found: dict[str, Any]) -> Outcome:
        runs = {name: [Run(**run) for run in found[name]] for name in ("runs", "tried")}
        return Outcome(**{**found, **runs, "verdicts": [Verdict(**v) for v in found["verdicts"]]})


def table(outcome: Outcome, ours: str = "") -> list[str]:
    """The rows, aligned: wall with its spread, CPU, memory, and each wall as a multiple of ours."""
    head = ("", "wall s", "least-most", "CPU s", "RSS MB", "wall / ours", "CPU / ours", "runs")
    rows: list[tuple[str, ...]] = [head]
    names = outcome.contenders()
    ours = ours or (names[0] if names else "")
    for name in sorted(names, key=lambda n: outcome.median(n, "wall")):
        least, most = outcome.span(name)
        wall, cpu, rss = (outcome.median(name, what) for what in ("wall", "cpu", "rss"))
        ratios = [
            f"{value / base:.2f}" if base else "-"
            for value, base in zip((wall, cpu), (outcome.median(ours, "wall"), outcome.median(ours, "cpu")), strict=True)
        ]
        rows.append(
            (name, f"{wall:.2f}", f"{least:.2f}-{most:.2f}", f"{cpu:.2f}", f"{rss / 1e6:.0f}", *ratios, str(outcome.count(name)))
        )
    if len(rows) == 1:
        return []
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return [
        "| "
        + " | ".join(cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(row, widths, strict=True)))
        + " |"
        for row in rows
    ]
