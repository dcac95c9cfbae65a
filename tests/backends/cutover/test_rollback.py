"""Rollback as a plan: which steps in which order, what blocks it, what binds its confirmation."""

from __future__ import annotations

from typing import Any

import pytest

from backends.cutover.readiness import readiness
from backends.cutover.rollback import plan_rollback, touches
from backends.snapshot import Health, Lag, State
from tests.backends.cutover.model_world import ModelWorld, plan_of


def world(chat: int = 0, jobs: int = 0, writer: Any = "legacy", epoch: int = 0, *, plan: Any = None) -> ModelWorld:
    made = ModelWorld(plan)
    for name, weight in (("chat", chat), ("jobs", jobs)):
        held = made.migration.route(name)
        held.confirmed = held.desired = weight
    for name in ("ckpt", "logs"):
        token = made.migration.token(name)
        token.writer, token.epoch = writer, epoch
    if writer != "legacy":
        made.migration.quiesced.add(("train", "legacy"))
    if writer == "target":
        made.migration.started.add(("train", "target"))
    made.migration.state = State.DUAL
    return made


def told(made: ModelWorld, mode: Any) -> list[str]:
    out = []
    for step in plan_rollback(made, mode).steps:
        args = step.args()
        what = args.get("route") or args.get("dataset") or args.get("workload") or args.get("side")
        more = args.get("writer") or (args.get("side") if step.kind in ("quiesce", "resume") else None)
        more = args["weight"] if step.kind == "weight" else args["epoch"] if step.kind == "token" and more is None else more
        out.append(
            f"{step.kind} {what}" + (f" {more}" if more is not None else "") + (f" {args['epoch']}" if "epoch" in args else "")
        )
        assert step.direction == "backward"
    return out


def test_graceful_moves_clients_first_hands_each_writer_back_then_its_route_then_drains_then_compares() -> None:
    assert told(world(100, 100, "target", 1), "graceful") == [
        "check_side legacy",
        "weight chat 0",
        "check_route jobs",
        "quiesce train target",
        "token ckpt none 1",
        "token logs none 1",
        "last_round ckpt",
        "last_round logs",
        "token ckpt legacy 2",
        "token logs legacy 2",
        "resume train legacy",
        "weight jobs 0",
        "drain chat",
        "drain jobs",
        "compare ckpt",
        "compare logs",
    ]


def test_emergency_routes_back_at_once_then_fences_then_settles_the_gap() -> None:
    assert told(world(100, 100, "target", 1), "emergency") == [
        "check_side legacy",
        "weight chat 0",
        "weight jobs 0",
        "fence train",
        "token ckpt legacy 2",
        "token logs legacy 2",
        "resume train legacy",
        "settle_gap ckpt",
        "settle_gap logs",
        "drain chat",
        "drain jobs",
    ]


@pytest.mark.parametrize("mode", ["graceful", "emergency"])
def test_both_are_the_same_where_nothing_on_target_writes(mode: Any) -> None:
    assert told(world(50), mode) == ["check_side legacy", "weight chat 0", "drain chat"]


@pytest.mark.parametrize("mode", ["graceful", "emergency"])
def test_before_the_commit_point_the_target_has_owned_nothing_and_nothing_is_copied_back(mode: Any) -> None:
    assert told(world(50, 0, "none", 0), mode) == [
        "check_side legacy",
        "weight chat 0",
        "token ckpt legacy 0",
        "token logs legacy 0",
        "resume train legacy",
        "drain chat",
    ]


def test_a_rollback_broken_off_in_the_middle_copies_what_the_target_has_owned() -> None:
    assert told(world(0, 100, "none", 1), "graceful")[:6] == [
        "check_side legacy",
        "check_route jobs",
        "quiesce train target",
        "token ckpt none 1",
        "token logs none 1",
        "last_round ckpt",
    ]


def test_a_frozen_writer_alone_is_started_again() -> None:
    made = world()
    made.migration.quiesced.add(("train", "legacy"))
    assert told(made, "graceful") == ["check_side legacy", "resume train legacy"]


def test_a_route_in_flight_or_foreign_or_meant_is_set_back_too() -> None:
    for field, value in (("in_flight", True), ("foreign", "somebody"), ("desired", 50)):
        made = world()
        setattr(made.migration.route("chat"), field, value)
        assert told(made, "emergency") == ["check_side legacy", "weight chat 0", "drain chat"]


def test_what_an_earlier_emergency_left_is_settled_by_any_rollback() -> None:
    made = world(50)
    made.migration.unsettled.add("ckpt")
    assert "settle_gap ckpt" in told(made, "graceful")


def test_what_is_unfenced_is_fenced_by_any_rollback() -> None:
    made = world()
    made.migration.unfenced = True
    assert "fence train" in told(made, "graceful")


def test_without_reverse_sync_what_is_lost_is_said() -> None:
    datasets = [{"name": n, "from": "old", "to": "new"} for n in ("ckpt", "logs")]
    made = world(100, 100, "target", 1, plan=plan_of(datasets=datasets))
    rollback = plan_rollback(made, "graceful")
    assert rollback.warnings == ("what train wrote on target to ckpt, logs is lost: no reverse sync in the plan",)
    assert not [s for s in rollback.steps if s.kind in ("last_round", "compare")]


def test_legacy_dead_blocks_both_and_nothing_lifts_it() -> None:
    made = world(50)
    made.healths["legacy"] = Health.DEAD
    for mode in ("graceful", "emergency"):
        assert plan_rollback(made, mode, accept_unknown=True).blocked_by == ("legacy is dead: model says dead",)  # type: ignore[arg-type]


def test_legacy_unseen_blocks_unless_that_is_accepted() -> None:
    made = world(50)
    made.healths["legacy"] = Health.UNKNOWN
    assert "only with --accept-unknown" in plan_rollback(made, "graceful").blocked_by[0]
    assert plan_rollback(made, "graceful", accept_unknown=True).blocked_by == ()


def test_a_proof_of_health_that_is_old_blocks_too() -> None:
    made = world(50)
    made.ages["legacy"] = 61.0
    assert "61 s old" in plan_rollback(made, "graceful").blocked_by[0]
    made.ages["legacy"] = 60.0
    assert plan_rollback(made, "graceful").blocked_by == ()


def test_a_dead_target_that_writes_leaves_only_the_emergency() -> None:
    made = world(100, 100, "target", 1)
    made.healths["target"] = Health.DEAD
    assert "only --emergency can go" in plan_rollback(made, "graceful").blocked_by[0]
    assert plan_rollback(made, "emergency").blocked_by == ()


def test_a_dead_target_that_writes_nothing_blocks_nothing() -> None:
    made = world(50)
    made.healths["target"] = Health.DEAD
    assert plan_rollback(made, "graceful").blocked_by == ()


def test_the_gap_is_told_for_an_emergency_alone() -> None:
    made, gap = world(100, 100, "target", 1), Lag(objects=3, bytes=30, seconds=2.0)
    assert plan_rollback(made, "emergency", gap=gap).gap == gap
    assert plan_rollback(made, "graceful", gap=gap).gap == Lag(objects=0, bytes=0, seconds=0.0)
    assert "a data gap of 3 objects" in plan_rollback(made, "emergency", gap=gap).warnings[0]
    assert "of unknown size" in plan_rollback(made, "emergency").warnings[0]
    one, none = Lag(objects=1, bytes=10), Lag(objects=0, bytes=0)
    assert "a data gap of 1 object," in plan_rollback(made, "emergency", gap=one).warnings[0]
    assert plan_rollback(made, "emergency", gap=none).warnings == (), "nothing is left behind"


def test_the_previews_hash_is_steady_under_measurements() -> None:
    made = world(100, 100, "target", 1)
    before = plan_rollback(made, "graceful", gap=Lag(objects=1)).hash("p")
    made.ages["legacy"], made.now = 33.0, 1e6
    made.migration.route("chat").since = 12.0
    assert plan_rollback(made, "graceful", gap=Lag(objects=999, bytes=5)).hash("p") == before


def test_the_previews_hash_changes_with_steps_mode_and_plan() -> None:
    made = world(50)
    hashes = {
        plan_rollback(made, "graceful").hash("p"),
        plan_rollback(made, "emergency").hash("p"),
        plan_rollback(made, "graceful").hash("q"),
    }
    hashes.add(plan_rollback(world(50, 100), "graceful").hash("p"))
    hashes.add(plan_rollback(world(100, 100, "target", 1), "graceful").hash("p"))
    assert len(hashes) == 5


def test_readiness_says_what_blocks_and_how_long_it_would_take() -> None:
    made, lag = world(100, 100, "target", 1), Lag(objects=2, bytes=20_000_000, seconds=3.0)
    seen = readiness(made, reverse_lag=lag)
    assert seen.ready
    assert seen.gap == lag
    assert seen.seconds_to_safe == plan_rollback(made, "graceful").seconds + 2.0
    made.healths["legacy"] = Health.DEAD
    seen = readiness(made, reverse_lag=lag)
    assert (seen.ready, seen.seconds_to_safe, seen.blocked_by) == (False, None, ("legacy is dead: model says dead",))


def test_readiness_without_a_writer_on_target_leaves_no_gap() -> None:
    assert readiness(world(50), reverse_lag=Lag()).gap == Lag(objects=0, bytes=0, seconds=0.0)


def test_readiness_knows_when_legacy_will_be_gone() -> None:
    made = world(100, 100)
    assert readiness(made, reverse_lag=Lag()).horizon is None
    made.migration.window_from, made.now = 100.0, 105.0
    assert readiness(made, reverse_lag=Lag()).horizon == 15.0 + 20.0
    made.migration.state = State.RETIRING
    assert readiness(made, reverse_lag=Lag()).horizon == 15.0
    made.now = 500.0
    assert readiness(made, reverse_lag=Lag()).horizon == 0.0


def test_readiness_ends_with_legacy() -> None:
    made = world(100, 100)
    made.migration.state = State.DECOMMISSIONED
    seen = readiness(made, reverse_lag=Lag())
    assert (seen.ready, seen.possible) == (False, False)
    assert "legacy has been decommissioned" in seen.blocked_by


def test_readiness_warns_before_it_is_needed() -> None:
    made = world(50)
    made.healths["target"] = Health.UNKNOWN
    seen = readiness(made, reverse_lag=Lag(), notes=("disk full",), stale_routes=("chat",))
    assert "disk full" in seen.warnings
    assert "route chat cannot be read" in seen.warnings
    assert any(w.startswith("target cannot be seen") for w in seen.warnings)
    assert any(w.startswith("no backup in the plan") for w in seen.warnings)


def test_what_has_to_do_with_a_route_is_known_of_every_step() -> None:
    made = world(100, 100, "target", 1)
    steps = plan_rollback(made, "graceful").steps
    apart = {s.text: touches(made.plan, s) for s in steps}
    assert apart[steps[0].text] == set()
    assert {frozenset(v) for k, v in apart.items() if k != steps[0].text} == {frozenset({"chat"}), frozenset({"jobs"})}
    assert [s.kind for s in steps if touches(made.plan, s) == {"chat"}] == ["weight", "drain"]
