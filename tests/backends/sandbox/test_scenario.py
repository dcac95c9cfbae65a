"""Scenarios: what their files may say, and that each fault begins exactly where its file says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backends.errors import UsageError
from backends.sandbox import training
from backends.sandbox.scenario import Do, Player, Scenario, UnknownScenario, load_scenario, parse_scenario, scenario_names
from backends.sandbox.state import World
from backends.sandbox.training import Training, loss_at, step_time_at

CONTRACT = {
    "clean": "committed",
    "corrupt-object": "committed",
    "loss-drift": "held",
    "slow-target": "held",
    "telemetry-gone": "held",
    "error-burst": "rolled_back",
    "latency-creep": "rolled_back",
    "legacy-dies": "rollback_blocked",
}


class Stage:
    """A world whose clock the test moves."""

    def __init__(self, scenario: Scenario) -> None:
        self.world = World(seed=0)
        self.world.ready_at = 100.0
        self.acted: list[Do] = []
        self.notes: list[dict[str, object]] = []
        self.player = Player(scenario, self.world, self.acted.append, self.notes.append)

    def at(self, seconds: float, weight: int | None = None) -> None:
        if weight is not None:
            self.world.chat_weight = weight
        self.player.tick(100.0 + seconds)


def test_there_are_the_eight_scenarios_of_the_contract() -> None:
    assert scenario_names()[0] == "clean"
    assert {name: load_scenario(name).expected for name in scenario_names()} == CONTRACT
    assert all(load_scenario(name).name == name for name in scenario_names())


def test_an_unknown_scenario_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UnknownScenario) as caught:
        load_scenario("../clean")
    assert "error-burst" in caught.value.hint


@pytest.mark.parametrize(
    "step",
    [
        "{when: {chat_weight: 25}, do: [{explode: {side: target}}]}",
        "{when: {}, do: [{silence: {side: target}}]}",
        "{when: {chat_weight: 25}, do: []}",
        "{when: {chat_weight: 125}, do: [{silence: {side: target}}]}",
        "{when: {chat_weight: 25}, do: [{silence: {side: target}, kill: {side: legacy}}]}",
        "{when: {chat_weight: 25, moon: full}, do: [{silence: {side: target}}]}",
        "{when: {chat_weight: 25}, do: [{errors: {side: target, share: 15}}]}",
    ],
)
def test_a_file_that_says_what_nobody_knows_is_refused(step: str) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        parse_scenario(f"name: x\nstory: y\nexpected: held\nsteps:\n  - {step}\n", "x")


def test_errors_burst_once_a_quarter_of_the_clients_has_been_there_for_a_second() -> None:
    stage = Stage(load_scenario("error-burst"))
    stage.at(1.0, weight=5)
    stage.at(9.0, weight=24)
    stage.at(10.0, weight=25)
    stage.at(10.5, weight=5)
    stage.at(11.0, weight=25)
    stage.at(11.9)
    assert stage.world.target.error_share == 0.0
    stage.at(12.0)
    assert stage.world.target.error_share == 0.15
    assert stage.world.legacy.error_share == 0.0
    assert stage.notes == [{"scenario": "error-burst", "since_ready": 12.0, "do": {"errors": {"side": "target", "share": 0.15}}}]


def test_latency_creeps_up_by_sixty_percent_within_four_seconds() -> None:
    stage = Stage(load_scenario("latency-creep"))
    stage.at(0.0, weight=25)
    stage.at(1.0)
    factor = stage.world.target.latency.at
    assert [round(factor(100.0 + t), 3) for t in (1.0, 3.0, 5.0, 60.0)] == [1.0, 1.3, 1.6, 1.6]
    assert stage.world.legacy.latency.at(160.0) == 1.0


def test_training_slows_only_once_clients_are_on_the_target() -> None:
    stage = Stage(load_scenario("slow-target"))
    stage.at(500.0, weight=0)
    assert stage.world.target.step_time_factor == 1.0
    stage.at(501.0, weight=5)
    stage.at(502.0)
    assert stage.world.target.step_time_factor == 1.2


def test_legacy_dies_at_all_clients_and_the_target_fails_four_seconds_later() -> None:
    stage = Stage(load_scenario("legacy-dies"))
    stage.at(0.0, weight=50)
    stage.at(10.0, weight=100)
    stage.at(12.9)
    assert stage.acted == []
    stage.at(13.0)
    assert [d.kill is not None for d in stage.acted] == [True]
    stage.at(16.9)
    assert stage.world.target.error_share == 0.0
    stage.at(17.0, weight=100)
    assert stage.world.target.error_share == 0.15


def test_telemetry_goes_and_an_object_is_named_for_damage() -> None:
    silent = Stage(load_scenario("telemetry-gone"))
    silent.at(0.0, weight=25)
    silent.at(1.0)
    assert silent.world.target.is_silent
    assert not silent.world.legacy.is_silent
    damaged = Stage(load_scenario("corrupt-object"))
    damaged.at(0.0)
    assert [d.damage.key for d in damaged.acted if d.damage] == ["v3/shards/shard-00137.bin"]


def test_nothing_is_played_before_all_is_up() -> None:
    stage = Stage(load_scenario("corrupt-object"))
    stage.world.ready_at = None
    stage.at(50.0)
    assert stage.acted == []


async def test_the_loss_drifts_from_epoch_45_on_and_not_a_line_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "FAST_SECONDS", 0.0)
    stage = Stage(load_scenario("loss-drift"))
    reached = _Reached(50)

    def before_epoch() -> None:
        stage.at(0.0)
        if stage.world.target.epoch > 50:
            raise reached

    job = Training(stage.world, stage.world.target, tmp_path, _nothing, before_epoch)
    job.prepare()
    with pytest.RaisesGroup(_Reached):
        await job.run()
    rows = [json.loads(line) for line in (tmp_path / "train" / "metrics.jsonl").read_text().splitlines()]
    drift = {row["epoch"]: row["loss"] / loss_at(0, "legacy", row["epoch"]) - 1 for row in rows}
    assert all(abs(drift[epoch]) < 0.001 for epoch in range(1, 45))
    assert all(0.015 < drift[epoch] < 0.017 for epoch in range(45, 51))


class _Reached(Exception):
    pass


async def _nothing() -> None:
    return None


def test_the_same_seed_gives_the_same_curves_and_another_seed_others() -> None:
    def curve(seed: int) -> list[float]:
        return [loss_at(seed, "legacy", epoch) for epoch in range(1, 101)]

    assert curve(7) == curve(7)
    assert curve(7) != curve(8)
    assert curve(7)[0] > curve(7)[20] > curve(7)[99]


def test_a_clean_worlds_sides_agree_within_the_gates_margins() -> None:
    for epoch in range(1, 401):
        assert abs(loss_at(3, "target", epoch) / loss_at(3, "legacy", epoch) - 1) < 0.001
        assert abs(step_time_at(3, "target", epoch) / step_time_at(3, "legacy", epoch) - 1) < 0.01
