"""Backups as gates of staging, and what a rollback makes of them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from backends.cutover.backups import backup_gates, has_writer, surplus, usable, wants_taking, wants_trying
from backends.cutover.fold import fold
from backends.cutover.migration import Armed, Migration
from backends.cutover.preflight import Proof
from backends.cutover.readiness import readiness
from backends.cutover.rollback import plan_rollback
from backends.cutover.steps.build import step_of
from backends.cutover.steps.restore import Restore
from backends.cutover.world import RoundEnd
from backends.dataset_view import Lag
from backends.errors import CouldNot
from backends.plan.backups import Backup
from backends.verdict import Verdict
from backends.vocabulary import Phase, State
from tests.backends.cutover.model_world import BEGINNING, ModelWorld, plan_of, story

CKPT = {"dataset": "ckpt", "kind": "snapshot", "every": "1h"}
TAKEN = ("backup.taken", {"dataset": "ckpt", "number": 1, "kind": "snapshot", "objects": 3, "bytes": 9, "where": "file:///b/"})
TRIED = ("backup.tried", {"dataset": "ckpt", "number": 1, "good": True, "text": "3 of 3 objects"})
SOON = BEGINNING + timedelta(minutes=5)


def staged(*events: tuple[str, dict[str, Any]]) -> Migration:
    return story(("state", {"state": "preparing", "phase": "staging"}), *events)


def gate(m: Migration, now: Any = SOON, error: str = "") -> tuple[Verdict, str]:
    (view,) = backup_gates(plan_of(backups=[CKPT]), m, now, {"ckpt": error} if error else {})
    assert (view.name, view.phase) == ("backup ckpt", Phase.STAGING)
    return view.verdict, view.reason


def test_the_gate_passes_when_the_backup_was_taken_tried_and_is_young() -> None:
    assert gate(staged())[0] is Verdict.INCONCLUSIVE
    assert gate(staged(TAKEN))[0] is Verdict.INCONCLUSIVE
    assert gate(staged(TAKEN, TRIED)) == (Verdict.PASS, "file:///b/: 3 of 3 objects")
    assert gate(staged(TAKEN, TRIED), BEGINNING + timedelta(hours=2))[0] is Verdict.INCONCLUSIVE
    assert gate(staged(TAKEN, (TRIED[0], TRIED[1] | {"good": False, "text": "a differs"}))) == (
        Verdict.BREACH,
        "its trial failed: a differs",
    )
    assert gate(staged(), error="no room") == (Verdict.ERROR, "no room")


def test_the_trial_of_an_earlier_backup_says_nothing_of_a_later_one() -> None:
    later = (TAKEN[0], TAKEN[1] | {"number": 2})
    assert gate(staged(TAKEN, later, TRIED))[0] is Verdict.INCONCLUSIVE


def test_arming_after_a_rollback_wants_a_new_backup_and_the_old_one_is_still_known() -> None:
    again = ("state", {"state": "preparing", "phase": "staging", "rearm": True})
    m = staged(TAKEN, TRIED, ("state", {"state": "rolled_back"}), again)
    assert gate(m)[0] is Verdict.INCONCLUSIVE
    assert wants_taking(Backup(dataset="ckpt", kind="snapshot"), m, SOON)
    assert m.backups["ckpt"].number == 1


@pytest.mark.parametrize("state", [s for s in State if s is not State.PREPARING])
def test_nothing_is_taken_once_armed(state: State) -> None:
    m = staged()
    m.state = state
    assert not wants_taking(Backup(dataset="ckpt", kind="snapshot"), m, SOON)


def test_a_backup_is_taken_then_tried_then_left_until_it_is_late() -> None:
    spec = Backup.model_validate(CKPT)
    assert wants_taking(spec, staged(), SOON)
    assert (wants_taking(spec, staged(TAKEN), SOON), wants_trying(spec, staged(TAKEN), SOON)) == (False, True)
    done = staged(TAKEN, TRIED)
    assert (wants_taking(spec, done, SOON), wants_trying(spec, done, SOON)) == (False, False)
    assert wants_taking(spec, done, BEGINNING + timedelta(hours=2))


def taken(*outcomes: bool | None) -> list[tuple[str, dict[str, Any]]]:
    """Backups one after the other, each with what came of its trial."""
    out = []
    for number, good in enumerate(outcomes, 1):
        out.append((TAKEN[0], TAKEN[1] | {"number": number}))
        if good is not None:
            out.append((TRIED[0], TRIED[1] | {"number": number, "good": good}))
    return out


@pytest.mark.parametrize(
    ("outcomes", "goes"),
    [
        ((True, True), []),
        ((True, True, True), [1]),
        ((True, False, True, True), [1, 2]),
        ((True, True, False, None), []),
        ((False, False, False), []),
        ((True, True, True, None), [1]),
    ],
)
def test_a_snapshot_goes_when_enough_newer_ones_were_good(outcomes: tuple[bool | None, ...], goes: list[int]) -> None:
    spec = Backup.model_validate(CKPT | {"keep": 2})
    m = staged(*taken(*outcomes))
    assert [b.number for b in surplus(spec, m)] == goes
    newest = max((n for n, good in enumerate(outcomes, 1) if good), default=0)
    assert not {newest, len(outcomes)} & set(goes), "neither the newest good one nor the last, which a rollback restores from"


@pytest.mark.parametrize("state", [s for s in State if s is not State.PREPARING])
def test_no_snapshot_goes_once_armed_or_while_held(state: State) -> None:
    spec, m = Backup.model_validate(CKPT | {"keep": 1}), staged(*taken(True, True))
    assert [b.number for b in surplus(spec, m)] == [1]
    held = staged(*taken(True, True), ("held", {"by": "ann", "reason": "look"}))
    assert surplus(spec, held) == ()
    m.state = state
    assert surplus(spec, m) == ()


def test_where_the_plan_does_not_say_three_snapshots_are_kept_and_all_of_what_is_not_ours() -> None:
    m = staged(*taken(*[True] * 5))
    assert [b.number for b in surplus(Backup.model_validate(CKPT), m)] == [1, 2]
    for other in ({"kind": "versioned"}, {"kind": "command", "command": ["x", "{place}"]}):
        assert surplus(Backup.model_validate(CKPT | other), m) == ()


def test_what_is_being_removed_is_restored_from_no_more_and_is_finished() -> None:
    begun = ("backup.ending", {"dataset": "ckpt", "number": 1})
    late = (TRIED[0], TRIED[1] | {"number": 1})
    spec, m = Backup.model_validate(CKPT | {"keep": 1}), staged(*taken(True, True), begun, late)
    assert usable(m, "ckpt", 1) is None
    assert [b.number for b in surplus(spec, m)] == [1]
    done = staged(*taken(True, True), begun, ("backup.removed", {"dataset": "ckpt", "number": 1}))
    assert (surplus(spec, done), usable(done, "ckpt")) == ((), done.backups["ckpt"])


def test_who_may_write_a_dataset_is_a_workload_or_whoever_is_followed() -> None:
    fed = {"name": "fed", "from": "old", "to": "new", "follow": "60s"}
    plan = plan_of(datasets=[fed, {"name": "still", "from": "old", "to": "new"}, *plan_datasets()])
    assert [n for n in ("ckpt", "logs", "fed", "still") if has_writer(plan, n)] == ["ckpt", "logs", "fed"]


def plan_datasets() -> list[dict[str, Any]]:
    return [{"name": n, "from": "old", "to": "new", "reverse": True} for n in ("ckpt", "logs")]


def armed_world(backups: list[dict[str, Any]], *events: tuple[str, dict[str, Any]]) -> ModelWorld:
    made = ModelWorld(plan_of(backups=backups))
    made.lone = staged(*events)
    made.lone.armed = Armed("h", {}, {})
    made.lone.state = State.DUAL
    return made


def kinds(made: ModelWorld, mode: Any) -> list[tuple[str, Any]]:
    steps = plan_rollback(made, mode).steps
    return [(s.kind, s.args()["dataset"]) for s in steps if s.kind in ("compare", "restore")]


def test_a_graceful_rollback_restores_after_it_has_compared_and_an_emergency_does_neither() -> None:
    made = armed_world([CKPT], TAKEN, TRIED)
    assert kinds(made, "graceful") == [("compare", "ckpt"), ("restore", "ckpt")]
    assert kinds(made, "emergency") == []
    for name in ("ckpt", "logs"):
        made.lone.token(name).writer, made.lone.token(name).epoch = "target", 1
    assert kinds(made, "graceful") == [("compare", "ckpt"), ("compare", "logs"), ("restore", "ckpt")]


def test_from_a_backup_that_failed_its_trial_nothing_is_restored() -> None:
    bad = (TRIED[0], TRIED[1] | {"good": False})
    assert kinds(armed_world([CKPT], TAKEN, bad), "graceful") == []
    assert kinds(armed_world([CKPT], TAKEN), "graceful") == []


def test_the_step_is_rebuilt_from_the_journal() -> None:
    step = Restore("ckpt")
    assert step_of(step.kind, step.args()) == step


class Restoring(ModelWorld):
    """Counts how often it is asked, and answers as a test says."""

    asked = 0
    answer: RoundEnd | Exception = RoundEnd(True, True, "1 restored")

    async def restore(self, dataset: str) -> RoundEnd:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_what_compared_equal_is_not_looked_at_again() -> None:
    made = Restoring()
    made.lone.compared["ckpt"] = True
    assert (await Restore("ckpt").observe(made)).done
    assert made.asked == 0


@pytest.mark.parametrize("answer", [CouldNot("the store is gone"), TimeoutError(), RoundEnd(False, False, "1 not restored")])
async def test_what_cannot_be_restored_is_told_and_takes_nothing_back(answer: Any) -> None:
    made = Restoring()
    made.answer = answer
    seen = await Restore("ckpt").observe(made)
    assert seen.done
    assert dict(seen.extra) == {"equal": False}


def test_a_restore_makes_good_what_the_comparison_had_found() -> None:
    def op(kind: str, equal: bool) -> list[tuple[str, dict[str, Any]]]:
        data = {"id": kind, "kind": kind, "args": {"dataset": "ckpt"}, "direction": "backward"}
        return [("op.intent", data), ("op.confirmed", data | {"equal": equal})]

    assert story(*op("compare", False)).compared == {"ckpt": False}
    assert story(*op("compare", False), *op("restore", False)).compared == {"ckpt": False}
    assert story(*op("compare", False), *op("restore", True)).compared == {"ckpt": True}


def test_a_backup_that_has_gone_or_is_late_lowers_readiness_and_blocks_nothing() -> None:
    made = armed_world([CKPT], TAKEN, TRIED)
    made.proofs["backup:ckpt"] = Proof(False, "a has gone", at=0.0, needed=False)
    seen = readiness(made, reverse_lag=Lag())
    assert "backup:ckpt: a has gone" in seen.warnings
    assert not [b for b in seen.blocked_by if "backup" in b]
    assert "no backup of logs: what fails its comparison there cannot be restored" in seen.warnings


def test_an_older_journal_has_no_backups() -> None:
    assert fold([]).backups == {}
