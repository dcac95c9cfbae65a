"""Health by weight: the table of cutover.md, section 3, cell by cell."""

from __future__ import annotations

import itertools

import pytest

from backends.cutover.health import decide
from backends.snapshot import Health

A, D, U = Health.ALIVE, Health.DEAD, Health.UNKNOWN


@pytest.mark.parametrize(
    ("legacy", "target", "actions"),
    [
        (A, A, ("plan", "plan", "plan")),
        (A, U, ("hold", "hold", "hold")),
        (A, D, ("hold", "rollback", "rollback")),
        (U, A, ("hold", "hold", "hold")),
        (D, A, ("tell", "hold", "blocked")),
        (U, D, ("tell", "hold", "hold")),
        (D, D, ("hold", "hold", "hold")),
        (D, U, ("hold", "hold", "hold")),
        (U, U, ("hold", "hold", "hold")),
    ],
)
def test_what_is_done_by_itself(legacy: Health, target: Health, actions: tuple[str, str, str]) -> None:
    assert tuple(decide(legacy, target, e).action for e in ("none", "some", "all")) == actions


def test_traffic_is_never_sent_by_itself_to_a_side_that_is_not_alive() -> None:
    for legacy, target, exposure in itertools.product(Health, Health, ("none", "some", "all")):
        if decide(legacy, target, exposure).action == "rollback":
            assert legacy is A


def test_everything_but_both_alive_is_said_in_words() -> None:
    for legacy, target in itertools.product(Health, Health):
        if (legacy, target) != (A, A):
            assert all(decide(legacy, target, e).words for e in ("none", "some", "all"))
