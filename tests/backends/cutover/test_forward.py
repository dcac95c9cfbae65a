"""What `advance` would do: every refusal by its rule, and the steps of a handover."""

from __future__ import annotations

from typing import Any

import pytest

from backends.cutover.forward import Move, compensation_steps, handover_steps, next_move
from backends.cutover.rules import Refusal
from backends.snapshot import GateView, Health, Phase, SoakView, State
from backends.verdict import Verdict
from tests.backends.cutover.model_world import ModelEngine, ModelWorld, story

SOAKED = {name: SoakView(elapsed=100.0, at_least=5.0) for name in ("chat", "jobs")}


def world(state: State, phase: Phase | None = Phase.CUTOVER, **weights: int) -> ModelWorld:
    made = ModelWorld()
    made.migration.state, made.migration.phase = state, phase
    for name, weight in weights.items():
        held = made.migration.route(name)
        held.confirmed = held.desired = weight
    return made


def refused(made: ModelWorld, *gates: GateView, soaks: dict[str, SoakView] = SOAKED, only: str | None = None) -> Refusal:
    said = next_move(made, gates, soaks, only)
    assert isinstance(said, Refusal), said
    return said


def moved(made: ModelWorld, *gates: GateView, soaks: dict[str, SoakView] = SOAKED, only: str | None = None) -> Move:
    said = next_move(made, gates, soaks, only)
    assert isinstance(said, Move), said
    return said


def gate(phase: Phase, verdict: Verdict) -> GateView:
    return GateView(name="loss@10", phase=phase, verdict=verdict, reason="seen")


@pytest.mark.parametrize(
    "state", [State.DECOMMISSIONED, State.ROLLING_BACK, State.RECONCILING, State.ROLLBACK_BLOCKED, State.ROLLED_BACK]
)
def test_state_nothing_follows_by_an_advance(state: State) -> None:
    assert refused(world(state)).rule == "STATE"


def test_state_after_a_rollback_only_a_resume_with_a_reason_goes_on() -> None:
    made = world(State.ROLLED_BACK)
    assert "resume --reason" in refused(made).would_allow
    made.migration.state, made.migration.needs_resume = State.PREPARING, True
    assert refused(made).rule == "STATE"


def test_nothing_goes_forward_while_nobody_writes_a_dataset() -> None:
    made = world(State.DUAL, chat=100, jobs=100)
    made.migration.token("ckpt").writer, made.migration.token("ckpt").epoch = "none", 1
    said = refused(made)
    assert said.rule == "SR2"
    assert "ckpt" in said.reason


def test_state_a_route_that_the_plan_does_not_have() -> None:
    assert refused(world(State.ARMED), only="chatt").reason == "the plan has no route chatt"


def test_busy_while_another_operation_is_in_flight() -> None:
    assert refused(world(State.SHIFTING)).rule == "BUSY"
    made = world(State.SOAKING, chat=50)
    story(("run.started", {"id": "r", "kind": "advance", "steps": []}), migration=made.migration)
    assert refused(made).rule == "BUSY"


def test_held_comes_before_everything_that_time_would_mend() -> None:
    made = world(State.SOAKING, chat=50)
    story(("held", {"by": "ops", "reason": "lunch"}), migration=made.migration)
    said = refused(made, gate(Phase.CUTOVER, Verdict.BREACH), soaks={})
    assert (said.rule, said.reason) == ("HELD", "ops: lunch")


@pytest.mark.parametrize("verdict", [Verdict.BREACH, Verdict.INCONCLUSIVE, Verdict.ERROR])
@pytest.mark.parametrize("phase", [Phase.DEVELOPMENT, Phase.TESTING, Phase.STAGING, Phase.CUTOVER])
def test_gate_only_a_pass_lets_a_phase_be_left(phase: Phase, verdict: Verdict) -> None:
    state = State.SOAKING if phase is Phase.CUTOVER else State.PREPARING
    said = refused(world(state, phase, chat=50), gate(phase, verdict))
    assert said.rule == "GATE"
    assert f"loss@10 {verdict} (seen)" in said.reason


def test_gate_those_of_another_phase_do_not_count() -> None:
    assert moved(world(State.PREPARING, Phase.TESTING), gate(Phase.STAGING, Verdict.BREACH), gate(Phase.TESTING, Verdict.PASS))


def test_the_phases_follow_each_other_to_armed() -> None:
    told = [moved(world(State.PLANNED, None)).to_phase]
    told += [moved(world(State.PREPARING, phase)).to_phase for phase in (Phase.DEVELOPMENT, Phase.TESTING, Phase.STAGING)]
    assert told == [Phase.DEVELOPMENT, Phase.TESTING, Phase.STAGING, Phase.CUTOVER]


def test_soak_says_what_is_missing() -> None:
    made = world(State.SOAKING, chat=50)
    said = refused(made, soaks={"chat": SoakView(elapsed=2.0, at_least=5.0, samples=3, samples_needed=10)})
    assert (said.rule, said.would_allow) == ("SOAK", "3 s and 7 samples more")
    assert (
        refused(made, soaks={"chat": SoakView(elapsed=9.0, at_least=5.0, samples=3, samples_needed=10)}).would_allow
        == "7 samples more"
    )
    assert moved(made, soaks={"chat": SoakView(elapsed=5.0, at_least=5.0, samples=10, samples_needed=10)})


def test_sr5_the_spacing_holds_a_soaked_route() -> None:
    made = world(State.SOAKING, chat=50, jobs=100)
    made.migration.last_shift = made.migration.route("chat").since = made.now = 50.0
    assert refused(made).rule == "SR5"


def test_sr3_a_target_that_is_not_seen_gets_nothing() -> None:
    made = world(State.ARMED)
    made.healths["target"] = Health.UNKNOWN
    assert refused(made, only="chat").rule == "SR3"
    assert refused(made, only="jobs").rule == "SR1"  # at 100 % nobody else would serve


@pytest.mark.parametrize(("state", "name"), [(State.DUAL, "dual"), (State.RETIRING, "retire")])
def test_window_not_before_it_is_over(state: State, name: str) -> None:
    made = world(state, Phase.DECOMMISSION if state is State.RETIRING else Phase.CUTOVER, chat=100, jobs=100)
    assert refused(made).rule == "WINDOW"
    made.migration.window_from, made.now = 10.0, 29.0
    assert refused(made).reason == f"the {name} window has 1 s left"
    made.now = 30.0
    assert moved(made).to_state in (State.COMMITTED, State.DECOMMISSIONED)


@pytest.mark.parametrize("health", [Health.UNKNOWN, Health.DEAD])
def test_preflight_wants_a_living_legacy_to_come_home_to(health: Health) -> None:
    made = world(State.PREPARING, Phase.STAGING)
    made.healths["legacy"] = health
    assert refused(made).rule == "PREFLIGHT"


def test_preflight_wants_every_writer_to_be_one_that_can_be_stopped() -> None:
    made = world(State.PREPARING, Phase.STAGING)
    made._controls.clear()
    assert "train writes and cannot be stopped" in refused(made).reason


def test_preflight_refuses_routes_that_carry_weight_already() -> None:
    it = ModelEngine()
    for _ in range(3):
        it.advance()
    it.world.routes["chat"].weight = 5
    said = it.advance()
    assert said.rule == "PREFLIGHT"
    assert "route chat already has weight 5" in said.message
    assert it.m.state is State.PREPARING
    it.close()


def kinds(steps: Any) -> list[str]:
    return [
        f"{s.kind}:{s.args().get('writer') or s.args().get('side') or s.args().get('weight', '')}:{s.direction}" for s in steps
    ]


def test_a_handover_stops_proves_and_then_gives_the_tokens_the_first_being_the_commit_point() -> None:
    move = moved(world(State.ARMED), only="jobs")
    assert kinds(move.steps) == [
        "quiesce:legacy:forward",
        "token:none:forward",
        "last_round::forward",
        "token:none:forward",
        "last_round::forward",
        "token:target:forward",
        "token:target:safety",
        "resume:target:safety",
        "weight:100:safety",
    ]


def test_all_routes_move_together_and_one_alone_where_it_is_named() -> None:
    assert moved(world(State.ARMED)).text == "chat 0 -> 50 %, jobs 0 -> 100 %"
    assert moved(world(State.ARMED), only="chat").text == "chat 0 -> 50 %"


def test_a_handover_broken_between_two_tokens_is_finished_by_the_next_one() -> None:
    made = world(State.ARMED)
    for name, writer, epoch in (("ckpt", "target", 1), ("logs", "none", 0)):
        token = made.migration.token(name)
        token.writer, token.epoch = writer, epoch  # type: ignore[assignment]
    steps = handover_steps(made.plan, made.plan.workloads[1], made.migration)
    assert [s.args()["dataset"] for s in steps if s.kind == "token" and s.args()["writer"] == "target"] == ["logs"]


def test_what_broke_off_before_the_commit_point_is_undone() -> None:
    made = world(State.SHIFTING)
    made.migration.token("ckpt").writer = "none"
    made.migration.quiesced.add(("train", "legacy"))
    assert kinds(compensation_steps(made.plan, made.migration)) == ["token:legacy:backward", "resume:legacy:backward"]


def test_nothing_is_undone_behind_the_commit_point() -> None:
    made = world(State.SHIFTING)
    for name in ("ckpt", "logs"):
        token = made.migration.token(name)
        token.writer, token.epoch = "target", 1
    made.migration.quiesced.add(("train", "legacy"))
    assert compensation_steps(made.plan, made.migration) == []


def test_nothing_is_undone_where_nothing_was_done() -> None:
    assert compensation_steps(world(State.ARMED).plan, world(State.ARMED).migration) == []
