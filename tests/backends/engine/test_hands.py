"""Who may command: the seat, roles by uid, commands journaled with who, and keys that act once."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Iterator
from typing import Any

import pytest

from backends.cutover.events import Kind
from backends.engine.callers import Caller, Roles
from backends.engine.once import CutOff, run_command
from backends.errors import RefusedByRule, UsageError
from backends.snapshot import State
from tests.backends.cutover.model_world import Killed, ModelEngine, plan_of

ANN = Caller(1000, "ann", gid=100)
BEN = Caller(1001, "ben", gid=100)
SHARED = Caller(1000, "ann", "carol", gid=100)


@pytest.fixture
def it() -> Iterator[ModelEngine]:
    made = ModelEngine()
    with made.failpoints():
        yield made
    assert not made.world.wrong
    made.close()


def give(it: ModelEngine, name: str, caller: Caller = ANN, key: str = "", acts: bool = True, **body: Any) -> Any:
    return it.do(run_command(it.engine, name, caller, body, key=key, acts=acts))


def told(it: ModelEngine, kind: Kind) -> list[Any]:
    return [e for e in it.events if e.kind == kind]


def test_a_free_seat_goes_to_whoever_commands_first(it: ModelEngine) -> None:
    assert it.m.seat is None
    assert give(it, "advance")["state"] == "preparing"
    assert (it.m.seat, it.m.seat_uid) == ("ann", 1000)


@pytest.mark.parametrize(("command", "body"), [("advance", {}), ("resume", {"reason": "go on"})])
def test_what_moves_forward_needs_the_seat(it: ModelEngine, command: str, body: dict[str, Any]) -> None:
    give(it, "seat")
    give(it, "hold", BEN, reason="a look")
    before = it.m.state, len(it.m.holds)
    refused = give(it, command, BEN, **body)
    assert isinstance(refused, RefusedByRule)
    assert (refused.rule, "held by ann" in refused.message) == ("SEAT", True)
    assert (it.m.state, len(it.m.holds)) == before


def test_hold_and_rollback_need_no_seat(it: ModelEngine) -> None:
    it.to_dual()
    give(it, "seat")
    assert give(it, "hold", BEN)["held"]
    assert give(it, "rollback", BEN, confirm="model")["state"] == "rolled_back"


def test_every_console_and_script_of_the_holders_uid_holds_the_seat(it: ModelEngine) -> None:
    give(it, "seat", SHARED)
    assert it.m.seat == "ann (carol, unverified)"
    assert give(it, "advance", ANN)["state"] == "preparing"
    assert give(it, "advance", BEN).rule == "SEAT"


def test_a_take_over_names_both_and_only_the_holder_gives_the_seat_up(it: ModelEngine) -> None:
    give(it, "seat")
    assert give(it, "seat", BEN, take=False).rule == "SEAT"
    assert give(it, "seat", BEN)["seat"] == "ben"
    taken = told(it, Kind.SEAT)[-1]
    assert (taken.actor, taken.data) == ("ben", {"holder": "ben", "uid": 1001, "from": "ann"})
    assert give(it, "advance", ANN).rule == "SEAT"
    assert give(it, "seat", BEN, take=False)["seat"] is None
    assert give(it, "advance", ANN)["state"] == "preparing"


def test_the_seat_survives_a_restart(it: ModelEngine) -> None:
    give(it, "seat")
    it.world.dead_engine = True
    it.start()
    assert give(it, "advance", BEN).rule == "SEAT"


def test_every_command_is_journaled_with_its_uid_refused_ones_too(it: ModelEngine) -> None:
    give(it, "hold", BEN, reason="a look")
    assert give(it, "advance", ANN).rule == "HELD"
    assert give(it, "rollback", BEN, confirm="modle").rule == "CONFIRM"
    given = [(e.data["command"], e.data["uid"], e.actor) for e in told(it, Kind.COMMAND)]
    assert given == [("hold", 1001, "ben"), ("advance", 1000, "ann"), ("rollback", 1001, "ben")]
    refused = [(e.data["command"], e.data["rule"], e.data["uid"]) for e in told(it, Kind.REFUSED)]
    assert refused == [("advance", "HELD", 1000), ("rollback", "CONFIRM", 1001)]


def test_a_preview_is_no_command(it: ModelEngine) -> None:
    seq = it.m.seq
    assert give(it, "preview", BEN, acts=False, command="advance")["allowed"] is True
    assert it.m.seq == seq


def test_who_only_observes_is_refused_and_that_is_journaled(it: ModelEngine) -> None:
    for command, body in (("hold", {}), ("rollback", {"confirm": "model"}), ("seat", {})):
        assert give(it, command, BEN, acts=False, **body).rule == "SEAT"
    assert len(told(it, Kind.REFUSED)) == 3
    assert not it.m.holds
    assert it.m.seat is None


def test_a_key_acts_once_and_answers_with_the_first_outcome(it: ModelEngine) -> None:
    first = give(it, "advance", key="k1")
    again = give(it, "advance", key="k1")
    assert again == first | {"repeated": True}
    assert give(it, "advance", idempotency_key="k1") == again, "in the body as in the header"
    assert it.m.phase == "development", "one step, not three"


def test_a_key_answers_with_its_first_refusal_also_when_it_would_be_allowed_now(it: ModelEngine) -> None:
    give(it, "hold")
    refused = give(it, "advance", key="k1")
    give(it, "resume", reason="over")
    again = give(it, "advance", key="k1")
    assert (again.rule, again.message, again.hint) == (refused.rule, refused.message, refused.hint)
    assert it.m.state is State.PLANNED
    assert give(it, "advance", key="k2")["state"] == "preparing"


def test_a_key_acts_once_across_a_restart(it: ModelEngine) -> None:
    first = give(it, "advance", key="k1")
    it.world.dead_engine = True
    it.start()
    assert give(it, "advance", key="k1") == first | {"repeated": True}
    assert it.m.phase == "development"


def test_a_key_whose_command_was_cut_off_says_so_and_does_not_act_again(it: ModelEngine) -> None:
    it.kill_in = 1  # in the middle of the change of state
    assert isinstance(give(it, "advance", key="k1"), Killed)
    state = it.m.state
    assert isinstance(give(it, "advance", key="k1"), CutOff)
    assert it.m.state is state


def test_a_key_stands_for_one_command_of_one_uid(it: ModelEngine) -> None:
    give(it, "hold", key="k1", reason="a look")
    for name, caller, body in (("advance", ANN, {}), ("hold", ANN, {"reason": "other"}), ("hold", BEN, {"reason": "a look"})):
        assert isinstance(give(it, name, caller, key="k1", **body), UsageError)


def test_two_at_once_with_one_key_act_once(it: ModelEngine) -> None:
    async def both() -> Any:
        import asyncio

        one = run_command(it.engine, "advance", ANN, {}, key="k1")
        two = run_command(it.engine, "advance", ANN, {}, key="k1")
        return await asyncio.gather(one, two)

    first, second = it.do(both())
    assert first == second
    assert it.m.phase == "development"


@pytest.mark.parametrize("key", [7, "k" * 201, None])
def test_a_key_that_is_no_short_text_is_a_usage_error(it: ModelEngine, key: object) -> None:
    assert isinstance(give(it, "hold", idempotency_key=key), UsageError)


def test_an_advance_is_bound_to_what_was_previewed(it: ModelEngine) -> None:
    preview = give(it, "preview", command="advance")
    give(it, "advance")
    refused = give(it, "advance", preview_hash=preview["hash"])
    assert (refused.rule, refused.code) == ("PREVIEW", "preview_changed")
    assert it.m.phase == "development"
    preview = give(it, "preview", command="advance")
    assert give(it, "advance", preview_hash=preview["hash"])["phase"] == "testing"


# Roles


def member() -> tuple[str, int]:
    """A group of this machine."""
    group = grp.getgrgid(os.getgid())
    return group.gr_name, group.gr_gid


def test_without_a_group_only_the_owner_and_root_are_let_in() -> None:
    roles = Roles(plan_of(), owner=1000)
    assert [roles.of(c) for c in (ANN, Caller(0, "root"), BEN, Caller(-1, "uid -1"))] == ["acts", "acts", "none", "none"]


def test_members_of_the_group_act_where_they_are_listed_and_observe_else() -> None:
    name, gid = member()
    plan = plan_of(operators_group=name, operators={"acts": ["ben", 4711], "observes": ["eve"]})
    roles = Roles(plan, owner=1000)
    seen = {
        "ben": Caller(1001, "ben", gid=gid),
        "by uid": Caller(4711, "uid 4711", gid=gid),
        "eve": Caller(1002, "eve", gid=gid),
        "unlisted": Caller(1003, "zoe", gid=gid),
        "listed, no member": Caller(1001, "ben", gid=gid + 1),
        "a stranger": Caller(1004, "mallory", gid=gid + 1),
    }
    assert {k: roles.of(c) for k, c in seen.items()} == {
        "ben": "acts", "by uid": "acts", "eve": "observes", "unlisted": "observes", "listed, no member": "none", "a stranger": "none",
    }  # fmt: skip


def test_a_name_that_a_client_gives_never_makes_it_somebody_else() -> None:
    name, gid = member()
    plan = plan_of(operators_group=name, operators={"acts": ["ben"]})
    assert Roles(plan, owner=1000).of(Caller(1003, "zoe", "ben", gid=gid)) == "observes"


def test_the_owner_is_who_runs_the_engine() -> None:
    me = pwd.getpwuid(os.getuid())
    assert Roles(plan_of()).of(Caller(me.pw_uid, me.pw_name)) == "acts"
