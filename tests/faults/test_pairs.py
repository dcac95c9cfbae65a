"""During a rollback: each fault alone and every two, at each step, end as docs/faults.md says, and production comes home when they are
mended. No safety rule is broken on the way: the model's own oracle watches."""

from __future__ import annotations

import pytest

from tests.faults.faults_of import BY_SHORT, FAULTS
from tests.faults.pairs import MODES, Pair, cell, expected, pairs, steps_of, tried, written
from tests.faults.table import Cases, fault_case

ALONE = [f.short for f in FAULTS]


def test_the_table_of_the_docs_has_every_case() -> None:
    assert set(expected()) == {(mode, pair) for mode in MODES for pair in pairs()}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("fault", ALONE)
@fault_case("{mode} rollback, alone: {fault}", "as docs/faults.md says, at every third step")
def test_a_fault_alone(fault: str, mode: str, cases: Cases) -> None:
    points = steps_of(mode)[::3]
    seen = {tried(mode, (fault,), point) for point in points}
    assert seen <= expected()[mode, (fault,)], f"{BY_SHORT[fault].name}: {seen}"
    cases.count(len(points))


def ends_as_the_docs_say(pair: Pair, mode: str, cases: Cases) -> None:
    assert written(cell(mode, pair)) == written(expected()[mode, pair])
    cases.count(len(steps_of(mode)))


# Classes, so that the cases are shared out among the workers.
@pytest.mark.slow
@pytest.mark.timeout(600)
class TestGracefulAtEveryStep:
    @pytest.mark.parametrize("pair", pairs(), ids=" + ".join)
    @fault_case("graceful rollback, one or two faults at each step", "as docs/faults.md says")
    def test_it_ends_as_the_docs_say(self, pair: Pair, cases: Cases) -> None:
        ends_as_the_docs_say(pair, "graceful", cases)


@pytest.mark.slow
@pytest.mark.timeout(600)
class TestEmergencyAtEveryStep:
    @pytest.mark.parametrize("pair", pairs(), ids=" + ".join)
    @fault_case("emergency rollback, one or two faults at each step", "as docs/faults.md says")
    def test_it_ends_as_the_docs_say(self, pair: Pair, cases: Cases) -> None:
        ends_as_the_docs_say(pair, "emergency", cases)
