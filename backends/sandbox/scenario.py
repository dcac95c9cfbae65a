"""Scenarios: data files that say when which fault is played into the sandbox's own world.

A file is a list of steps, each `when` (all conditions given must hold) and `do` (effects), played once each and in order.
Conditions look only at the sandbox itself: seconds since all was up, the front door's weight held for a time, an epoch of a
side's training, the time since the step before. What was played is appended to `DIR/scenario.jsonl`, for people and tests; no
engine reads it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from backends.errors import UsageError
from backends.escape import plain
from backends.plan.units import Duration, Share
from backends.sandbox.state import Ramp, World
from backends.vocabulary import SideName


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class EpochReached(Part):
    side: SideName
    at_least: int = Field(ge=1)


class When(Part):
    """All that is given must hold."""

    ready_for: Duration | None = None
    chat_weight: int | None = Field(default=None, ge=0, le=100)  # at least this
    held_for: Duration = 0.0  # the weight, for so long without a break
    epoch: EpochReached | None = None
    after_previous: Duration | None = None

    @model_validator(mode="after")
    def _something(self) -> When:
        if self.ready_for is None and self.chat_weight is None and self.epoch is None and self.after_previous is None:
            raise ValueError("expected a condition: ready_for, chat_weight, epoch or after_previous")
        return self


class ErrorShare(Part):
    """That share of a side's answers is a 500."""

    side: SideName
    share: Share


class SlowChat(Part):
    """A side's chat takes `worse_by` longer, reached within `over`."""

    side: SideName
    worse_by: Share
    over: Duration = 0.0


class SlowTraining(Part):
    side: SideName
    worse_by: Share


class HigherLoss(Part):
    side: SideName
    by: Share


class Silence(Part):
    """A side serves on and writes neither metrics nor access log."""

    side: SideName


class Kill(Part):
    """A side's chat refuses connections, its SSH hosts drop theirs and refuse new ones, its training ends."""

    side: SideName


class Damage(Part):
    """The first answer with this object of legacy's corpus is damaged on the way."""

    key: str


class Do(Part):
    """Exactly one effect."""

    errors: ErrorShare | None = None
    slow_chat: SlowChat | None = None
    slow_training: SlowTraining | None = None
    higher_loss: HigherLoss | None = None
    silence: Silence | None = None
    kill: Kill | None = None
    damage: Damage | None = None

    @model_validator(mode="after")
    def _one(self) -> Do:
        if len(self.model_fields_set) != 1:
            raise ValueError(f"expected exactly one of {', '.join(type(self).model_fields)}")
        return self


class Step(Part):
    when: When
    do: tuple[Do, ...] = Field(min_length=1)


class Scenario(Part):
    """`expected` is the state that a run of the main job ends in; `story` one sentence for people."""

    name: str
    story: str
    expected: Literal["committed", "held", "rolled_back", "rollback_blocked"]
    steps: tuple[Step, ...] = ()


class UnknownScenario(UsageError):
    code = "unknown_scenario"


def scenario_names() -> tuple[str, ...]:
    """All that there are, `clean` first."""
    names = sorted(p.name.removesuffix(".yaml") for p in _folder().iterdir() if p.name.endswith(".yaml"))
    return tuple(sorted(names, key=lambda n: n != "clean"))


def load_scenario(name: str) -> Scenario:
    """Read one by name. Blocking, small. Raises `UnknownScenario`."""
    if name not in scenario_names():
        raise UnknownScenario(f"no scenario is called {plain(name)}", hint=f"there are {', '.join(scenario_names())}")
    return parse_scenario((_folder() / f"{name}.yaml").read_text(), name)


def parse_scenario(text: str, name: str) -> Scenario:
    """Raises `UsageError` for a file that is no scenario."""
    try:
        return Scenario.model_validate(YAML(typ="safe", pure=True).load(text))
    except (YAMLError, ValidationError) as error:
        raise UsageError(f"scenario {plain(name)} cannot be read: {plain(str(error))}") from error


def _folder() -> Traversable:
    return files("backends.sandbox") / "scenarios"


class Player:
    """Plays a scenario. `tick` is called often, and before each epoch's line; `act` does what needs more than a number."""

    def __init__(
        self, scenario: Scenario, world: World, act: Callable[[Do], None], note: Callable[[dict[str, object]], None]
    ) -> None:
        self._scenario = scenario
        self._world = world
        self._act = act
        self._note = note
        self._next = 0
        self._weight_since: float | None = None
        self._previous_at: float | None = None

    def tick(self, now: float | None = None) -> None:
        """Play every step whose time has come."""
        now = time.monotonic() if now is None else now
        while self._next < len(self._scenario.steps):
            step = self._scenario.steps[self._next]
            if not self._holds(step.when, now):
                return
            for effect in step.do:
                self._play(effect, now)
            self._next += 1
            self._previous_at = now
            self._weight_since = None

    def _holds(self, when: When, now: float) -> bool:
        if self._world.ready_at is None:
            return False
        checks = [self._weight_held(when, now)]
        if when.ready_for is not None:
            checks.append(self._world.since_ready(now) >= when.ready_for)
        if when.epoch is not None:
            checks.append(self._world.side(when.epoch.side).epoch >= when.epoch.at_least)
        if when.after_previous is not None:
            checks.append(self._previous_at is not None and now - self._previous_at >= when.after_previous)
        return all(checks)

    def _weight_held(self, when: When, now: float) -> bool:
        if when.chat_weight is None:
            return True
        if self._world.chat_weight < when.chat_weight:
            self._weight_since = None
            return False
        if self._weight_since is None:
            self._weight_since = now
        return now - self._weight_since >= when.held_for

    def _play(self, effect: Do, now: float) -> None:
        if effect.errors is not None:
            self._world.side(effect.errors.side).error_share = effect.errors.share
        elif effect.slow_chat is not None:
            ramp = Ramp(1.0 + effect.slow_chat.worse_by, effect.slow_chat.over, now)
            self._world.side(effect.slow_chat.side).latency = ramp
        elif effect.slow_training is not None:
            self._world.side(effect.slow_training.side).step_time_factor = 1.0 + effect.slow_training.worse_by
        elif effect.higher_loss is not None:
            self._world.side(effect.higher_loss.side).loss_factor = 1.0 + effect.higher_loss.by
        elif effect.silence is not None:
            self._world.side(effect.silence.side).is_silent = True
        else:
            self._act(effect)
        played = effect.model_dump(mode="json", exclude_unset=True)
        self._note({"scenario": self._scenario.name, "since_ready": round(self._world.since_ready(now), 3), "do": played})
