"""How long a rollback will take, by what the journal tells of the way there."""

from __future__ import annotations

from datetime import timedelta

import pytest

from backends.cutover.events import Event, Kind
from backends.cutover.expected import expected_seconds
from backends.cutover.fold import apply
from backends.cutover.migration import Migration
from backends.cutover.steps.base import Step
from backends.cutover.steps.weight import SetWeight
from backends.cutover.steps.writer import Compare, Fence, LastRound, Quiesce, Resume
from tests.backends.cutover.model_world import BEGINNING


def done(step: Step, seconds: float, wall: float | None = None) -> Migration:
    """A journal in which this step took so long; `wall`: by a wall clock that jumped under it."""
    m, op = Migration(), {"id": "o", "kind": step.kind, "args": step.args(), "step": 0}
    apply(
        m, Event(1, BEGINNING, "t", Kind.RUN_STARTED, {"id": "r", "kind": "advance", "steps": [{"kind": step.kind, "args": {}}]})
    )
    apply(m, Event(2, BEGINNING, "t", Kind.INTENT, op | {"direction": "forward"}, observed=100.0))
    at = BEGINNING + timedelta(seconds=seconds if wall is None else wall)
    apply(m, Event(3, at, "t", Kind.CONFIRMED, op, observed=100.0 + seconds))
    return m


@pytest.mark.parametrize(
    ("there", "back"),
    [
        (SetWeight("chat", 100), SetWeight("chat", 0, direction="backward")),
        (Quiesce("train", "legacy"), Quiesce("train", "target", direction="backward")),
        (Resume("train", "target"), Resume("train", "legacy", direction="backward")),
        (LastRound("ckpt"), LastRound("ckpt", reverse=True, direction="backward")),
        (LastRound("ckpt"), Compare("ckpt")),
        (Quiesce("train", "legacy"), Fence("train")),
    ],
    ids=lambda s: s.kind,
)
def test_the_way_back_takes_as_long_as_the_way_there_took(there: Step, back: Step) -> None:
    assert expected_seconds(back, done(there, 42.0)) == 42.0
    assert expected_seconds(back, Migration()) == back.seconds


def test_another_thing_says_nothing() -> None:
    m = done(SetWeight("chat", 100), 42.0)
    other = SetWeight("jobs", 0, direction="backward")
    assert expected_seconds(other, m) == other.seconds


def test_a_wall_clock_that_jumps_makes_no_step_longer() -> None:
    m = done(Quiesce("train", "legacy"), 3.0, wall=3603.0)
    assert m.run is not None
    assert m.run.took == [3.0]
    assert expected_seconds(Quiesce("train", "target"), m) == 3.0
