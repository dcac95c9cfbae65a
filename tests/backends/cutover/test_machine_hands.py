"""The same machine with all that an operator has: two persons and a seat, overrides, signatures, no-change periods, evacuation, a route
with sessions that has to be emptied, commit and retirement. What cutover.md promises of them holds after every step."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule, run_state_machine_as_test

from backends.cutover.preflight import Proof
from backends.cutover.rules import OVERRIDABLE, RULES, delete_refusal
from backends.engine.callers import Caller
from backends.engine.evacuation import fence_legacy
from backends.engine.once import run_command
from backends.engine.seat import holds_seat
from backends.engine.snapshots import may_roll_back
from backends.errors import RefusedByRule
from backends.plan.calendar import no_changes_now
from backends.plan.models import Plan
from backends.snapshot import Health, State
from tests.backends.cutover.model_world import BEGINNING, plan_of
from tests.backends.cutover.test_machine import KILL, MODE, Machine

ANN, BEN = Caller(1000, "ann"), Caller(1001, "ben")
WHO = st.sampled_from([ANN, BEN])
NAMES = ("chat", "jobs", "front", "night")
SUNDAY = BEGINNING + timedelta(days=1)


def hands_plan() -> Plan:
    """Four routes, of which two belong to a workload that writes, and everything that a person has to do with."""
    common = {"command": {"set": ["x"], "get": ["x"]}, "soak": {"at_least": "5s"}}
    front = {"socket": "/run/x", "backend": "front", "legacy": "l0", "target": "t0", "drain": "3s"}
    return plan_of(
        workloads=[
            {"name": "chat", "class": "batch"},
            {"name": "train", "class": "training", "writes": ["ckpt", "logs"], "quiesce": {"systemd": "train", "timeout": "20s"}},
            {"name": "web", "class": "realtime"},
        ],
        routes=[
            {"name": "chat", "workload": "chat", "steps": [50, 100], **common},
            {"name": "jobs", "workload": "train", "steps": [100], **common},
            {"name": "night", "workload": "train", "steps": [100], **common},
            {"name": "front", "workload": "web", "steps": [30, 100], "haproxy": front, "soak": {"at_least": "5s"}},
        ],
        windows={
            "dual": "20s",
            "retire": "20s",
            "spacing": "2s",
            "no_changes": [{"from": "Sun 00:00", "to": "Sun 12:00", "zone": "UTC"}],
        },
        two_person=["commit"],
        approve_within="60s",
        checklist={"staging": [{"name": "trained", "text": "people are trained"}]},
        retire={"steps": [{"to": "50%", "command": ["x"]}]},
        archive=["logs"],
        capacity={"command": ["x"]},
    )


class Hands(Machine):
    """Rules are commands as clients give them, by one of two people."""

    plan = hands_plan()

    def __init__(self) -> None:
        super().__init__()
        self.epochs: dict[str, int] = {}
        self.left = 1.0  # of legacy's capacity
        self.strangers = False  # clients on target whom somebody else has sent there by a route that the migration has not used

    def give(self, name: str, who: Caller, **body: Any) -> Any:
        """A command of a client; what it answered or raised."""
        return self.it.do(run_command(self.it.engine, name, who, body))

    def forward(self, who: Caller, **body: Any) -> Any:
        """`advance`, with the second person's yes where it is asked for, and what must hold of it."""
        m, before = self.it.m, self.it.weights
        held, quiet, seat = m.is_held, no_changes_now(self.it.engine.plan.windows.no_changes, self.it.world.wall), m.seat
        lifted = m.overrides_rule("NO_CHANGES", self.it.engine.observed_now())
        free = seat is None or holds_seat(m, who)
        ended = self.give("advance", who, **body)
        risen = {name for name, weight in self.it.weights.items() if weight > before[name]}
        if isinstance(ended, RefusedByRule) and ended.rule == "APPROVAL":
            assert not risen, "nothing is done before the second person has approved it"
            assert isinstance(self.give("approve", who), Exception), "nobody is the second person to oneself"
            return self.give("approve", BEN if who is ANN else ANN)
        if held or not free or (quiet and not lifted):
            assert not risen, f"raised {risen}: held {held}, seat {seat}, no changes {quiet} {self._tail()}"
        if not free:
            assert isinstance(ended, RefusedByRule)
            assert ended.rule == "SEAT"
        return ended

    # What people do

    @initialize(advances=st.integers(0, 14), sign=st.booleans())
    def begun(self, advances: int, sign: bool) -> None:
        if sign:
            self.give("sign", ANN, item="trained", reason="seen")
        for _ in range(advances):
            self.it.wait(21)
            self.forward(ANN)

    @rule(who=WHO, kill=KILL, only=st.one_of(st.none(), st.sampled_from(NAMES)), seconds=st.sampled_from([0.0, 10.0, 25.0]))
    def advance_by_hand(self, who: Caller, kill: int | None, only: str | None, seconds: float) -> None:
        self.it.wait(seconds)
        self.it.kill_in = kill
        self._tell(f"advance by {who.user}", self.forward(who, **({"route": only} if only else {})))
        self.it.kill_in = None

    @rule(who=WHO, mode=MODE, kill=KILL)
    def rollback_by_anybody(self, who: Caller, mode: str, kill: int | None) -> None:
        """Needs no seat and no second person."""
        self.it.kill_in = kill
        ended = self.give("rollback", who, confirm="model", mode=mode)
        self.it.kill_in = None
        if isinstance(ended, RefusedByRule):
            assert ended.rule not in ("SEAT", "APPROVAL", "HELD", "NO_CHANGES"), ended
        self._tell(f"rollback by {who.user}", ended)

    @rule(who=WHO, kill=KILL, accept=st.booleans())
    def evacuate(self, who: Caller, kill: int | None, accept: bool) -> None:
        target = self.it.world.healths["target"]
        before = self.it.weights
        self.it.kill_in = kill
        ended = self.give("evacuate", who, confirm="model", accept_unknown=accept)
        self.it.kill_in = None
        if target is not Health.ALIVE:
            assert isinstance(ended, Exception)
            assert self.it.weights == before, "clients are sent to a target that is not alive"
        self._tell(f"evacuate by {who.user}", ended)

    @rule(who=WHO, take=st.booleans())
    def seat(self, who: Caller, take: bool) -> None:
        self._tell(f"seat {take} {who.user}", self.give("seat", who, take=take))

    @rule(who=WHO, name=st.sampled_from(sorted(RULES)), seconds=st.sampled_from([1, 30, 600]))
    def override(self, who: Caller, name: str, seconds: int) -> None:
        ended = self.give("override", who, rule=name, reason="looked at", **{"for": f"{seconds}s"})
        if name not in OVERRIDABLE:
            assert isinstance(ended, RefusedByRule), f"{name} was lifted"
        self._tell(f"override {name}", ended)

    @rule(who=WHO, withdraw=st.booleans())
    def sign(self, who: Caller, withdraw: bool) -> None:
        self._tell("sign", self.give("sign", who, item="trained", reason="seen", withdraw=withdraw))

    @rule(who=WHO)
    def hold_and_lift(self, who: Caller) -> None:
        self.give("hold", who, reason="mine")
        self._tell("lift", self.give("resume", who, reason="looked"))

    @rule(who=WHO)
    def hold(self, who: Caller) -> None:
        self._tell("hold", self.give("hold", who, reason="mine"))

    # What the world does

    @rule(is_sunday=st.booleans())
    def the_calendar_turns(self, is_sunday: bool) -> None:
        self.it.world.wall = SUNDAY if is_sunday else BEGINNING

    @rule(good=st.sampled_from([True, False, None]))
    def legacy_can_carry(self, good: bool | None) -> None:
        self.it.world.proofs["capacity"] = Proof(good, "model", at=float("inf"))

    @precondition(lambda self: self.it.m.armed is not None)
    @rule(name=st.sampled_from(NAMES), weight=st.sampled_from([0, 30, 100]))
    def somebody_else_sets_it(self, name: str, weight: int) -> None:
        route = self.it.world.routes[name]
        route.weight = weight
        if route.keeps and weight:
            route.sessions = 3
            self.strangers = not self._is_used(name)

    def _is_used(self, name: str) -> bool:
        """Does the migration know of clients on target by this route?"""
        seen = self.it.m.route(name)
        return bool(
            seen.desired or seen.confirmed or seen.in_flight or seen.leaving or seen.foreign is not None or name in self.it.m.away
        )

    # What always holds

    @invariant()
    def a_token_never_goes_back(self) -> None:
        for name in ("ckpt", "logs"):
            epoch = self.it.m.token(name).epoch
            assert epoch >= self.epochs.get(name, 0), self._tail()
            self.epochs[name] = epoch

    @invariant()
    def nothing_is_deleted_before_the_commit_nor_where_target_has_written(self) -> None:
        m = self.it.m
        for name in ("ckpt", "logs"):
            if m.state not in (State.COMMITTED, State.RETIRING, State.DECOMMISSIONED) or m.token(name).was_target:
                assert delete_refusal(m, name) is not None

    @invariant()
    def nothing_of_legacy_ends_before_the_archive_is_verified(self) -> None:
        m = self.it.m
        if m.legacy_left < self.left or m.state is State.DECOMMISSIONED:
            assert "logs" in m.archived, self._tail()
        self.left = m.legacy_left

    @invariant()
    def who_is_rolled_back_has_sent_everybody_home(self) -> None:
        m, front = self.it.m, self.it.world.routes["front"]
        if self._is_used("front"):
            self.strangers = False
        if self.strangers:
            return  # whom somebody else sends there, and leads away again before anybody looks, is not ours to send home
        if m.state is State.ROLLED_BACK and front.weight == 0 and m.route("front").foreign is None:
            assert front.sessions == 0 or front.failing or front.deaf, self._tail()

    @invariant()
    def what_was_pinned_is_known_to_the_route(self) -> None:
        armed = self.it.m.armed
        if armed is not None and "front" in armed.pins:
            assert self.it.world.routes["front"].pinned == armed.pins["front"]

    @invariant()
    def every_state_has_a_way_on(self) -> None:
        """Forward, back, or the end."""
        m = self.it.m
        if m.state is not State.DECOMMISSIONED and m.has_effects:
            assert may_roll_back(m), self._tail()

    async def _guard(self) -> None:
        await super()._guard()
        engine = self.it.engine
        if engine.migration.unfenced_legacy and engine.world.side("legacy").health is Health.ALIVE:
            await engine.in_turn(fence_legacy(engine), "fence legacy")

    def _comes_home(self) -> None:
        self.it.world.proofs["capacity"] = Proof(True, "model", at=float("inf"))
        super()._comes_home()


def test_whatever_people_do_production_comes_home_and_the_rules_hold() -> None:
    run_state_machine_as_test(Hands, settings=settings(max_examples=60, stateful_step_count=15, deadline=None))


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_whatever_people_do_for_long() -> None:
    run_state_machine_as_test(Hands, settings=settings(max_examples=5000, stateful_step_count=40, deadline=None))
