"""How cutover tools have failed their users: what each named issue tells, and that it does not happen here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.errors import CouldNot, RefusedByRule
from backends.vocabulary import State
from tests.faults.moments import ACTS, begun
from tests.faults.table import ELSEWHERE, fault_case
from tests.faults.virtual import EffectsEngine, assert_known


@pytest.fixture
def it(request: pytest.FixtureRequest) -> Iterator[EffectsEngine]:
    made = begun(ACTS[request.param])
    yield made
    assert not made.world.wrong, f"{made.world.wrong} {made.tail()}"
    made.close()


def of(act: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("it", [act], indirect=True)


@of("handover")
@fault_case("vitess 17620: a cancelled switch whose undoing fails", "held and told, a rollback undoes it")
def test_a_cancel_that_fails_is_not_only_logged(it: EffectsEngine) -> None:
    it.world.ways["round ckpt"] = ["refused"]
    it.world.ways["writer legacy"] = ["at once", *["refused"] * 40]
    it.advance("jobs")
    assert it.m.is_held
    assert "undoing it failed too" in " ".join(h.reason for h in it.m.holds)
    it.world.ways.clear()
    it.wait(30)
    if it.m.has_effects:
        assert it.rollback() is State.ROLLED_BACK
    assert it.writers == {"legacy": True, "target": False}


@of("handover")
@fault_case("vitess 17326: a switch that came about in part", "told and held, never two that write, a rollback brings all home")
def test_a_switch_that_came_about_in_part_is_neither_hidden_nor_left_so(it: EffectsEngine) -> None:
    it.world.ways["writer target"] = ["in part"] * 40
    it.advance("jobs")
    assert ("writer target", "in part") in it.world.seen_ways
    assert it.m.is_held
    assert any("train" in h.reason for h in it.m.holds), it.m.holds
    it.world.ways.clear()
    assert it.rollback() is State.ROLLED_BACK
    it.settle()
    assert (it.writers, it.weights["jobs"]) == ({"legacy": True, "target": False}, 0)
    assert {it.m.token(d).writer for d in it.world.data} == {"legacy"}
    assert_known(it)


@of("graceful rollback")
@fault_case("vitess 14276: a way back that fails", "blocked, nothing of the migration is lost, it can be asked for again")
def test_a_rollback_that_fails_loses_nothing(it: EffectsEngine) -> None:
    before = len(it.events())
    it.world.stores_gone.add("legacy")
    assert it.rollback() is State.ROLLBACK_BLOCKED
    assert len(it.events()) > before
    it.world.stores_gone.clear()
    assert it.rollback() is State.ROLLED_BACK
    assert_known(it)


@of("commit")
@fault_case("argo 4461: a rollback after the commit", "rolled back, as long as legacy stands")
def test_a_rollback_after_the_commit_is_heard(it: EffectsEngine) -> None:
    it.advance()
    assert it.m.state is State.COMMITTED
    assert it.rollback() is State.ROLLED_BACK
    assert it.weights == {"chat": 0, "jobs": 0}


@of("arm")
@fault_case("argo 1292: a rollback with nothing under way", "legacy is not touched")
def test_a_rollback_of_nothing_stops_nothing(it: EffectsEngine) -> None:
    it.rollback()
    assert not {what for what, _ in it.world.seen_ways}
    assert it.writers == {"legacy": True, "target": False}


@of("shift")
@fault_case("gh-ost 721: a shift in spite of a hold", "refused")
def test_a_hold_is_never_overlooked(it: EffectsEngine) -> None:
    from backends.engine.moves import hold

    it.do(hold(it.engine, "test", "not now"))
    refused = it.advance("chat")
    assert isinstance(refused, RefusedByRule)
    assert refused.rule == "HELD"
    assert it.weights["chat"] == 0


@of("handover")
@fault_case("gh-ost: the checkpoint for a way back cannot be written", "before the commit point: nothing is handed over")
def test_without_a_handover_index_nothing_is_handed_over(it: EffectsEngine) -> None:
    async def full(dataset: str, epoch: int) -> None:
        raise CouldNot("the index cannot be written: disk full")

    it.world.keep_index = full  # type: ignore[method-assign]
    it.advance("jobs")
    it.settle()
    assert {it.m.token(d).writer for d in it.world.data} == {"legacy"}
    assert it.writers == {"legacy": True, "target": False}
    assert it.weights["jobs"] == 0


@pytest.mark.parametrize("nodeid", ELSEWHERE)
def test_what_the_table_tells_of_elsewhere_is_there(nodeid: str) -> None:
    path, _, name = nodeid.partition("::")
    assert f"def {name}(" in (Path(__file__).resolve().parents[2] / path).read_text()
