"""Moments of a migration over the effects model, reached once a session, and what may happen from there on."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from backends.vocabulary import State
from tests.faults.virtual import MEMORY, EffectsEngine, Saved, effects_engine

LOOKED = 1.5  # seconds after its start in which an engine has looked at both sides
Moment = str


@cache
def _folder() -> Path:
    import atexit

    folder = Path(tempfile.mkdtemp(prefix="cutover-moments-", dir=MEMORY))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def moment(name: Moment) -> Saved:
    """`staging`, `armed`, `soaking` (chat at 50 %), `dual` (all on target, train handed over), `unfenced` (an emergency is done and
    target could not be stopped)."""
    with effects_engine() as it:
        if name == "staging":
            for _ in range(3):
                it.advance()
        elif name == "soaking":
            it.to(State.ARMED)
            it.wait(12)
            it.advance("chat")
        elif name == "unfenced":
            it.to(State.DUAL)
            it.world.controls_["train"].unreachable.add("target")
            it.rollback("emergency")
        else:
            it.to(State(name))
        it.wait(30)
        return it.save(_folder() / name)


@dataclass(frozen=True, slots=True)
class Act:
    """Something that an operator, or the engine by itself, does from a moment on."""

    name: str
    begins: Moment
    do: Callable[[EffectsEngine], Any]
    is_backward: bool = False


ACTS: dict[str, Act] = {
    act.name: act
    for act in (
        Act("arm", "staging", lambda it: it.advance()),
        Act("shift", "armed", lambda it: it.advance("chat")),
        Act("handover", "armed", lambda it: it.advance("jobs")),
        Act("shift and handover", "armed", lambda it: it.advance()),
        Act("commit", "dual", lambda it: it.advance()),
        Act("rollback of a shift", "soaking", lambda it: it.rollback(), True),
        Act("graceful rollback", "dual", lambda it: it.rollback(), True),
        Act("emergency rollback", "dual", lambda it: it.rollback("emergency"), True),
        Act("reconcile", "unfenced", lambda it: it.wait(12), True),
    )
}


def begun(act: Act) -> EffectsEngine:
    """An engine at the act's beginning, that has looked at both sides. Close it."""
    it = EffectsEngine(moment(act.begins))
    it.wait(LOOKED)
    it.points.clear()
    return it


@cache
def effects_of(act: str) -> tuple[str, ...]:
    """The things that an act has effects on, where nothing goes wrong."""
    it = begun(ACTS[act])
    try:
        it.world.seen_ways.clear()
        ACTS[act].do(it)
        return tuple(sorted(what for what, _ in it.world.seen_ways))
    finally:
        it.close()
