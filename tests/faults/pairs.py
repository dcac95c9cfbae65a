"""Every fault alone and every pair of faults, beginning at each step of a rollback, and how it must end: the table of docs/faults.md.

`python -m tests.faults.pairs` tries them all and writes the table anew: look at what has changed before it is committed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from itertools import combinations
from pathlib import Path

from backends.vocabulary import State
from tests.faults.faults_of import BY_SHORT, FAULTS
from tests.faults.moments import ACTS, begun
from tests.faults.virtual import EffectsEngine, assert_known

DOCS = Path(__file__).resolve().parents[2] / "docs" / "faults.md"
MODES = ("graceful", "emergency")
ENDS = {State.ROLLED_BACK: "home", State.ROLLBACK_BLOCKED: "blocked", State.RECONCILING: "reconciling", State.DUAL: "dual"}
Cell = frozenset[str]
Pair = tuple[str, ...]  # one short name, or two


def pairs() -> list[Pair]:
    """Every fault alone, then every two."""
    names = [f.short for f in FAULTS]
    return [(n,) for n in names] + list(combinations(names, 2))


@cache
def steps_of(mode: str) -> tuple[int, ...]:
    """The points just before each step of a rollback that nothing disturbs."""
    it = begun(ACTS[f"{mode} rollback"])
    try:
        it.rollback(mode)
        return tuple(n for n, point in enumerate(it.points) if point.endswith(".before-intent"))
    finally:
        it.close()


def tried(mode: str, pair: Pair, point: int) -> str:
    """How a rollback ends when these faults begin at this point and last; asserts what must hold, and that it comes home once they
    have been mended."""
    it = begun(ACTS[f"{mode} rollback"])
    faults = [BY_SHORT[name] for name in pair]
    try:
        it.at(point, lambda: [f.begin(it) for f in faults] and None)
        it.rollback(mode)
        it.wait(40)
        ended = ENDS[it.m.state]
        if ended == "home":
            assert not set(it.weights.values()) - {0, 30} or "authority" in pair, f"told to be home: {it.weights} {it.tail()}"
        if ended == "blocked" and not {"target", "ssh", "cut target"} & set(pair):
            _serves_whole(it)
        for fault in faults:
            fault.mend(it)
        _come_home(it)
        return ended
    finally:
        it.close()


def _serves_whole(it: EffectsEngine) -> None:
    """Who is blocked leaves nobody without a writer: what target has, it writes."""
    writers = {it.m.token(d).writer for d in it.world.data}
    assert "none" not in writers, it.tail()
    assert writers != {"target"} or it.writers["target"], f"{it.writers} {it.tail()}"


def _come_home(it: EffectsEngine) -> None:
    """What an operator does in the end: ask for it again, and lift nothing."""
    it.wait(20)
    for mode in ("graceful", "emergency", "graceful"):
        if not it.m.has_effects and it.m.state in (State.ROLLED_BACK, State.RECONCILING):
            break
        it.rollback(mode)
        it.wait(20)
    it.settle()
    assert it.m.state is State.ROLLED_BACK, f"{it.m.state} {it.tail()}"
    assert it.weights == {"chat": 0, "jobs": 0}, f"{it.weights} {it.tail()}"
    assert it.writers == {"legacy": True, "target": False}, f"{it.writers} {it.tail()}"
    assert_known(it)
    assert not it.world.wrong, f"{it.world.wrong} {it.tail()}"


def cell(mode: str, pair: Pair) -> Cell:
    """The ends over all steps."""
    return frozenset(tried(mode, pair, point) for point in steps_of(mode))


def written(cell: Cell) -> str:
    """A cell as the table has it."""
    return " / ".join(sorted(cell, key=list(ENDS.values()).index))


def expected() -> dict[tuple[str, Pair], Cell]:
    """What docs/faults.md says."""
    out: dict[tuple[str, Pair], Cell] = {}
    for line in DOCS.read_text().splitlines():
        fields = [f.strip() for f in line.strip("|").split("|")]
        names = tuple(_short(n) for n in fields[0].split(" + "))
        if len(fields) == 3 and all(names):
            for mode, text in zip(MODES, fields[1:], strict=True):
                out[mode, names] = frozenset(text.split(" / "))  # type: ignore[index]
    return out


def _short(name: str) -> str:
    return next((f.short for f in FAULTS if name in (f.name, f.short)), "")


def _row(pair: Pair) -> str:
    names = [BY_SHORT[p].name if len(pair) == 1 else p for p in pair]
    return f"| {' + '.join(names)} | {' | '.join(written(cell(mode, pair)) for mode in MODES)} |"


def _tables() -> Iterator[str]:
    with ProcessPoolExecutor() as pool:
        rows = list(pool.map(_row, pairs()))
    head = ["| fault | graceful | emergency |", "| --- | --- | --- |"]
    yield "\n".join(head + rows[: len(FAULTS)])
    yield "\n".join(head + rows[len(FAULTS) :])


def main() -> int:
    text = DOCS.read_text()
    for name, table in zip(("alone", "pairs"), _tables(), strict=True):
        text = re.sub(
            rf"(<!-- {name} -->\n).*?(<!-- end -->)", lambda m, t=table: f"{m[1]}{t}\n{m[2]}", text, count=1, flags=re.S
        )
    DOCS.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
