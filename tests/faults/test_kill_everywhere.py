"""kill -9 at every point of every operation, shift, handover and rollback, times every way in which an effect may behave.

Exhaustive: the point moves on until an act is over before it is reached. After the restart the world is one of {before, after}, never
between, the journal's fold is the world, and production can be brought home.
"""

from __future__ import annotations

import pytest

from backends.vocabulary import State
from tests.faults.effects import WAYS, Way
from tests.faults.moments import ACTS, Act, begun, effects_of
from tests.faults.table import Cases, fault_case
from tests.faults.virtual import EffectsEngine, assert_known

GONE_WRONG: tuple[Way, ...] = tuple(way for way in WAYS if way != "at once")
BEHAVIOURS = [(act, what, way) for act in ACTS for what in effects_of(act) for way in GONE_WRONG]


def assert_whole(it: EffectsEngine, act: Act, began: tuple[object, ...]) -> None:
    """One of {before, after}: a workload that writes is wholly on one side, and a rollback that had begun has come home."""
    tokens = {it.m.token(d).writer for d in it.world.data}
    home = tokens == {"legacy"} and it.writers == {"legacy": True, "target": False} and it.weights["jobs"] == 0
    moved = tokens == {"target"} and it.writers == {"legacy": False, "target": True} and it.weights["jobs"] == 100
    assert home or moved, f"between: {tokens} {it.writers} {it.weights} {it.tail()}"
    if act.is_backward and (it.m.state, it.weights) != began:
        assert it.m.state is State.ROLLED_BACK, f"{it.m.state} {it.tail()}"
        assert it.weights == {"chat": 0, "jobs": 0}, it.tail()


def assert_way_to_safety(it: EffectsEngine) -> None:
    """With nothing broken any more, a rollback brings everything home."""
    if it.m.has_effects:
        assert it.rollback() is State.ROLLED_BACK, it.tail()
        it.settle()
    assert it.weights == {"chat": 0, "jobs": 0}, it.tail()
    assert it.writers == {"legacy": True, "target": False}, it.tail()
    assert_known(it)


def killed_once(act: Act, what: str, way: Way, kill_at: int, again: int | None = None) -> bool:
    """One kill at one point, and a second one `again` points later; False where the act was over before."""
    it = begun(act)
    try:
        began = (it.m.state, it.weights)
        it.world.ways[what] = [way]
        it.at(kill_at, it.die)
        if again is not None:
            it.at(kill_at + 1 + again, it.die)
        act.do(it)
        it.forget_plans()
        it.settle()
        assert_known(it)
        assert_whole(it, act, began)
        assert_way_to_safety(it)
        assert not it.world.wrong, f"{it.world.wrong} {it.tail()}"
        return it.kills > (again is not None)
    finally:
        it.close()


def everywhere(act: str, what: str, way: Way, cases: Cases) -> None:
    """At each point, until there are no more."""
    point = 0
    while killed_once(ACTS[act], what, way, point):
        point += 1
    cases.count(point + 1)
    assert point > 0


@fault_case("kill -9 at every point of {act}", "before or after, never between; the journal says which")
@pytest.mark.parametrize("act", ACTS)
def test_killed_everywhere(act: str, cases: Cases) -> None:
    everywhere(act, "", "at once", cases)


@fault_case("{way}: an effect of {act}", "undone and held, or done; known after it has landed")
@pytest.mark.parametrize(("act", "what", "way"), BEHAVIOURS)
def test_an_effect_that_behaves_badly(act: str, what: str, way: Way) -> None:
    killed_once(ACTS[act], what, way, 1 << 30)


# Two classes, so that the cases are shared out among the workers.
@pytest.mark.slow
@pytest.mark.timeout(600)
class TestWhateverItsEffectsDoOnTheWayThere:
    @fault_case("{way}, and kill -9 at every point of {act}", "before or after, never between; the journal says which")
    @pytest.mark.parametrize(("act", "what", "way"), [b for b in BEHAVIOURS if not ACTS[b[0]].is_backward])
    def test_killed_everywhere(self, act: str, what: str, way: Way, cases: Cases) -> None:
        everywhere(act, what, way, cases)


@pytest.mark.slow
@pytest.mark.timeout(600)
class TestWhateverItsEffectsDoOnTheWayBack:
    @fault_case("{way}, and kill -9 at every point of {act}", "before or after, never between; the journal says which")
    @pytest.mark.parametrize(("act", "what", "way"), [b for b in BEHAVIOURS if ACTS[b[0]].is_backward])
    def test_killed_everywhere(self, act: str, what: str, way: Way, cases: Cases) -> None:
        everywhere(act, what, way, cases)


@pytest.mark.slow
@pytest.mark.timeout(600)
class TestKilledAgainWhileItRecovers:
    @fault_case("kill -9 at every second point of {act}, and again {again} points into the restart", "as after one kill")
    @pytest.mark.parametrize("again", [0, 1, 2, 3, 5, 8, 13])
    @pytest.mark.parametrize("act", ACTS)
    def test_at_every_second_point(self, act: str, again: int, cases: Cases) -> None:
        point = 0
        while killed_once(ACTS[act], "", "at once", point, again):
            point += 2
        cases.count(point // 2 + 1)
