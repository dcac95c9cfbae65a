"""Time, cost and calendar: arithmetic that can be done by hand, and ranges that hold it."""

from __future__ import annotations

import itertools
import math
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.catalog.egress import Egress, egress_of
from backends.catalog.estimate import DAY, Estimate, Measured, Range, Size, estimate, hour_price
from backends.plan.models import Plan, Side

TB = 10**12
START = date(2026, 11, 30)  # a Monday
PHASES = ("development", "testing", "staging", "cutover", "decommission")
TIERS = ((10 * TB, 0.12), (140 * TB, 0.11), (math.inf, 0.08))


def plan(**more: Any) -> Plan:
    fields: dict[str, Any] = {
        "version": 1,
        "name": "m",
        "legacy": {
            "provider": "gcp",
            "gpu_hour_usd": 3.0,
            "hosts": [{"name": "a", "address": "a", "gpus": {"type": "A100-SXM4-40GB", "count": 8}}],
        },
        "target": {
            "provider": "lambda",
            "gpu_hour_usd": 2.0,
            "hosts": [{"name": "b", "address": "b", "gpus": {"type": "H100-SXM5", "count": 8}}],
        },
        "stores": {n: {"url": f"s3://{n}/"} for n in ("old", "new", "hub")},
        "datasets": [{"name": "d", "from": "old", "to": "new"}],
        "transfer": {"bandwidth": "500 Mbps"},
    }
    return Plan.model_validate({**fields, **more})


def of(spec: Plan, bytes_: int = TB, objects: int = 1000, **more: Any) -> Estimate:
    return estimate(
        spec,
        {d.name: Size(bytes_, objects, "given") for d in spec.datasets},
        egress=Egress(TIERS, "the plan"),
        start=START,
        **more,
    )


@pytest.mark.parametrize(("size", "seconds"), [(TB, 4.444 * 3600), (100 * TB, 18.52 * DAY), (1000 * TB, 185.2 * DAY)])
def test_at_the_line_rate_it_is_the_arithmetic_that_everybody_knows(size: int, seconds: float) -> None:
    found = of(plan(), size)
    assert found.total.seconds == pytest.approx(seconds, rel=1e-3)
    expected = found.total.seconds_expected
    assert expected is not None
    assert found.total.seconds <= expected.low < expected.high


def test_without_parallelism_small_objects_take_their_round_trips() -> None:
    found = of(plan(), 10**9, 1_000_000).total
    assert found.seconds_single is not None
    assert found.seconds_expected is not None
    assert found.seconds_single.low > 20 * found.seconds_expected.low


def test_egress_is_by_tiers_over_all_datasets_in_the_plans_order() -> None:
    two = [{"name": n, "from": "old", "to": "new"} for n in ("first", "second")]
    found = of(plan(datasets=two), 8 * TB)
    assert [d.egress_usd for d in found.datasets] == [pytest.approx(960), pytest.approx(2000 * 0.12 + 6000 * 0.11)]
    assert found.total.egress_usd == pytest.approx(1860)


@given(st.lists(st.integers(0, 400 * TB), min_size=1, max_size=6))
def test_the_same_bytes_cost_the_same_however_they_are_divided(sizes: list[int]) -> None:
    egress = Egress(TIERS, "")
    costs = egress.costs(sizes)
    assert all(c is not None and c >= 0 for c in costs)
    assert sum(c for c in costs if c is not None) == pytest.approx(egress.cost(sum(sizes)), abs=1e-6)


def test_whose_egress_prices_they_are_is_said_and_unknown_ones_stay_unknown() -> None:
    assert egress_of(Side(provider="AWS")).cost(100e9) == 0.0, "100 GB a month are free"
    assert "2026" in egress_of(Side(provider="AWS")).source
    nobody = egress_of(Side(provider="in-house"))
    assert nobody.cost(1e12) is None
    found = estimate(plan(), {"d": Size(TB, 1, "given")}, egress=nobody, start=START)
    assert found.total.egress_usd is None
    assert found.costs[0].usd is None


def test_a_dataset_without_a_size_stays_unknown_and_so_does_the_sum() -> None:
    found = estimate(plan(), {}, egress=Egress(TIERS, ""), start=START)
    assert (found.datasets[0].bytes, found.total.seconds, found.total.seconds_expected) == (None, None, None)
    assert any("no size is known" in note for note in found.notes)


def test_what_was_measured_takes_the_place_of_what_was_assumed() -> None:
    measured = Measured(Range(100, 200), 900.0, 10, 1, 1.0)
    found = of(plan(), measured={"d": measured})
    assert (found.datasets[0].seconds_expected, found.datasets[0].is_measured) == (Range(100, 200), True)
    assert not any("assumed" in d.source for d in found.drivers)


def test_two_sides_running_cost_twice_for_as_long_as_they_both_run() -> None:
    costs = {c.what: c.usd for c in of(plan()).costs}
    assert costs["parallel run: target"] == Range(8 * 2 * 168, 8 * 2 * 336)
    assert costs["dual window: legacy"] == Range(8 * 3 * 168, 8 * 3 * 168)
    month = costs["a month after, difference"]
    assert month is not None
    assert month.low == pytest.approx(-8 * 720)


def test_a_price_that_the_plan_lacks_is_the_catalogues_and_said_to_be() -> None:
    side = plan(
        target={"provider": "Lambda", "hosts": [{"name": "b", "address": "b", "gpus": {"type": "H100-SXM5-80GB", "count": 8}}]}
    ).target
    price, source = hour_price(side)
    assert price is not None
    assert "Lambda" in source
    none, why = hour_price(Side(provider="in-house", hosts=side.hosts))
    assert (none, "gpu_hour_usd" in why) == (None, True)


@pytest.mark.parametrize("bytes_", [TB, 400 * TB])
def test_phases_follow_each_other_and_hold_what_must_fit_in_them(bytes_: int) -> None:
    spec = plan(windows={"dual": "30d", "retire": "60d", "no_changes": {"from": "Fri 16:00", "to": "Mon 08:00"}})
    found = of(spec, bytes_)
    spans = found.calendar
    assert [s.phase for s in spans] == ["development", "testing", "staging", "cutover", "decommission"]
    assert spans[0].begins == START
    assert all(b.begins == a.ends + timedelta(days=1) for a, b in itertools.pairwise(spans))
    days = {s.phase: (s.ends - s.begins).days + 1 for s in spans}
    assert days["cutover"] >= 30 + 7
    assert days["decommission"] >= 60
    transfer = found.total.seconds_expected
    assert transfer is not None
    assert days["testing"] * DAY >= transfer.high
    assert "Fri 16:00" in spans[3].note


@pytest.mark.parametrize(
    ("periods", "moved", "told"),
    [
        ([], {}, ""),
        # the weekend of each week is in the guide's weeks, and no phase of them begins on one
        ([{"from": "Fri 16:00", "to": "Mon 08:00"}], {}, ""),
        ([{"from": "Mon 00:00", "to": "Tue 06:00"}], {"development": 1}, "1 day more: the next phase is not entered"),
        # in the middle of the cutover: it is longer by those days, and what follows is later
        ([{"from": "2027-02-01 00:00", "to": "2027-02-04 00:00"}], {"cutover": 3}, "3 days more: dated periods"),
        # over the end of staging: the cutover waits; hours of a day do not count
        ([{"from": "2027-01-20 00:00", "to": "2027-01-29 12:00"}], {"staging": 4}, "4 days more: the next phase"),
        # two that follow each other, both within it once it is longer
        (
            [{"from": "2027-02-10 00:00", "to": "2027-02-20 00:00"}, {"from": "2027-02-22 00:00", "to": "2027-02-24 00:00"}],
            {"cutover": 12},
            "12 days more",
        ),
    ],
)
def test_periods_without_changes_move_the_dates(periods: list[dict[str, str]], moved: dict[str, int], told: str) -> None:
    usual = {s.phase: (s.ends - s.begins).days for s in of(plan(), TB).calendar}
    spans = of(plan(windows={"no_changes": periods}), TB).calendar
    assert {s.phase: (s.ends - s.begins).days - usual[s.phase] for s in spans} == {phase: moved.get(phase, 0) for phase in PHASES}
    assert all(b.begins == a.ends + timedelta(days=1) for a, b in itertools.pairwise(spans))
    assert told in " ".join(s.note for s in spans)


def works(**after: list[str]) -> list[dict[str, Any]]:
    return [{"name": name, "class": "batch", "after": before} for name, before in after.items()]


def test_a_workload_begins_to_move_when_those_it_waits_for_are_over() -> None:
    found = of(plan(workloads=works(chat=["features", "embed"], features=[], embed=["features"], tune=[], report=["chat"])))
    usual = of(plan())
    moves = {m.workload: m for m in found.moves}
    assert [m.workload for m in found.moves] == ["features", "tune", "embed", "chat", "report"]
    cutover = found.calendar[3]
    assert moves["features"].begins == moves["tune"].begins == cutover.begins
    for name, move in moves.items():
        assert all(moves[before].ends < move.begins for before in move.after), name
        assert (move.ends - move.begins).days + 1 >= 7, name
    assert moves["tune"].ends == moves["report"].ends == cutover.ends - timedelta(days=7), "the dual window follows the last"
    # four in a row take a week each and the dual window: a week more than the guide has
    assert (cutover.ends - usual.calendar[3].ends).days == 7
    assert "4 workloads move one after the other" in cutover.note
    assert found.calendar[4].begins == cutover.ends + timedelta(days=1)
    assert usual.moves == (), "where nobody waits there is nothing to tell"


def test_three_in_a_row_fit_into_the_guides_weeks() -> None:
    found = of(plan(workloads=works(a=[], b=["a"], c=["b"])))
    assert found.calendar == of(plan()).calendar
    assert [(m.begins - found.calendar[3].begins).days for m in found.moves] == [0, 7, 14]


def test_a_period_without_changes_pushes_those_that_wait() -> None:
    free = of(plan(workloads=works(a=[], b=["a"])))
    dated = {"from": "2027-01-27 00:00", "to": "2027-01-30 00:00"}
    found = of(plan(workloads=works(a=[], b=["a"]), windows={"no_changes": dated}))
    assert (found.moves[1].begins - free.moves[1].begins).days == 3
    # b would begin on Thursday: where that is never a day for changes it begins on Friday
    weekly = {"from": "Thu 00:00", "to": "Fri 00:00"}
    assert free.moves[1].begins.strftime("%a") == "Thu"
    found = of(plan(workloads=works(a=[], b=["a"]), windows={"no_changes": weekly}))
    assert (found.moves[1].begins - free.moves[1].begins).days == 1
    assert "1 day more: no workload begins to move" in found.calendar[3].note


ORDERS = st.lists(st.lists(st.integers(0, 7), max_size=3), min_size=1, max_size=8)


@given(
    ORDERS,
    st.integers(0, 40),
    st.sampled_from([[], [{"from": "Fri 16:00", "to": "Mon 08:00"}], [{"from": "2027-02-01 00:00", "to": "2027-02-20 00:00"}]]),
)
def test_whatever_waits_for_whatever_nobody_moves_before_those_it_waits_for(
    waits: list[list[int]], dual: int, periods: list[dict[str, str]]
) -> None:
    after = {f"w{i}": [f"w{j}" for j in before if j < i] for i, before in enumerate(waits)}
    found = of(plan(workloads=works(**after), windows={"dual": f"{dual}d" if dual else "10s", "no_changes": periods}))
    moves, cutover = {m.workload: m for m in found.moves}, found.calendar[3]
    assert set(moves) == (set(after) if any(after.values()) else set())
    for move in moves.values():
        assert cutover.begins <= move.begins <= move.ends
        assert move.ends + timedelta(days=max(1, dual)) <= cutover.ends
        assert all(moves[before].ends < move.begins for before in move.after)
    assert all(b.begins == a.ends + timedelta(days=1) for a, b in itertools.pairwise(found.calendar))


def test_the_hub_and_what_is_listed_again_and_again_have_their_price() -> None:
    by_hub = plan(datasets=[{"name": "d", "from": "old", "to": "new", "hub": "hub", "compress": "auto", "follow": "60s"}])
    found = of(by_hub, TB, 3_000_000).datasets[0]
    assert found.hub_usd == pytest.approx(1000 * 0.023 * 7 / 30)
    assert found.saved == Range(0.0, 0.5)
    assert found.requests_usd is not None
    assert found.requests_usd.low < 100 < found.requests_usd.high


def test_over_a_hub_each_byte_has_two_legs_that_overlap_at_best() -> None:
    straight, by_hub = of(plan()), of(plan(datasets=[{"name": "d", "from": "old", "to": "new", "hub": "hub"}]))
    for way in ("seconds_expected", "seconds_single"):
        one, two = getattr(straight.total, way), getattr(by_hub.total, way)
        assert (two.low, two.high) == (one.low, pytest.approx(2 * one.high)), way
    assert by_hub.total.seconds == straight.total.seconds, "the arithmetic at the line rate stays what it is"
    assert any("legs" in d.what for d in by_hub.drivers)
    assert not any("legs" in d.what for d in straight.drivers)
    measured = of(
        plan(datasets=[{"name": "d", "from": "old", "to": "new", "hub": "hub"}]),
        measured={"d": Measured(Range(100, 200), 900.0, 10, 1, 1.0)},
    )
    assert measured.total.seconds_expected == Range(100, 400)


def test_what_a_dataset_gains_until_the_cutover_is_in_its_egress_and_told() -> None:
    def of(**more: Any) -> Estimate:
        spec = plan(datasets=[{"name": "d", "from": "old", "to": "new", **more}])
        return estimate(spec, {"d": Size(10 * TB, 1000, "plan")}, egress=Egress(TIERS, "test"), start=START)

    still, grows = of(), of(growth="100 GB")
    assert (still.total.egress_usd, grows.total.egress_usd) == (pytest.approx(1200.0), pytest.approx(1200.0 + 5600 * 0.11))
    assert grows.total.bytes == still.total.bytes
    assert any("5,600 GB more by the cutover" in note for note in grows.notes)
