"""The hour that is kept of each host."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.probes.past import EVERY, KEPT, Past
from backends.snapshot import GpuSums


def sums(use: float | None = 0.5) -> GpuSums:
    return GpuSums(
        count=2, utilizations=(use, use), memory_used=30, memory_total=40, power_w=500.0, power_limit_w=700.0, temperature_c=61.0
    )


def test_a_sample_holds_what_the_gpus_do_together() -> None:
    past = Past()
    past.note(100.0, sums(0.25), 0.1)
    view = past.view(101.0)
    assert view.utilization == (0.25,)
    assert view.memory == (0.75,)
    assert view.power_w == (500.0,)
    assert view.temperature_c == (61.0,)
    assert view.cpu == pytest.approx((0.1,))


def test_what_is_not_known_is_none_and_never_0() -> None:
    past = Past()
    past.note(100.0, GpuSums(count=1, utilizations=(None,)), None)
    view = past.view(100.0)
    assert (view.utilization, view.memory, view.power_w, view.temperature_c, view.cpu) == (
        (None,),
        (None,),
        (None,),
        (None,),
        (None,),
    )


def test_time_in_which_nothing_was_heard_is_a_gap() -> None:
    past = Past()
    past.note(100.0, sums(0.1), None)
    past.note(105.0, sums(0.2), None)
    past.note(125.2, sums(0.3), None)
    assert past.view(126.0).utilization == pytest.approx((0.1, 0.2, None, None, None, 0.3))
    assert past.view(141.0).utilization[-3:] == pytest.approx((0.3, None, None))


def test_a_clock_that_was_set_back_leaves_no_hole() -> None:
    past = Past()
    for at in (1000.0, 1005.0, 400.0, 405.0):
        assert past.is_due(at)
        past.note(at, sums(), None)
    assert past.view(406.0).utilization == (0.5,) * 4


@given(st.lists(st.floats(0.9, 40.0), min_size=1, max_size=40))
def test_samples_lie_on_their_time_whatever_the_lines_come_at(steps: list[float]) -> None:
    past, now = Past(), 1000.0
    past.note(now, sums(), None)
    began = now
    for step in steps:
        now += step
        if past.is_due(now):
            past.note(now, sums(), None)
    view = past.view(now)
    assert view.count == int((now - began) // EVERY) + 1
    assert view.count == len(view.utilization)


def test_an_hour_is_kept_and_no_more() -> None:
    past = Past()
    for i in range(2 * KEPT + 50):
        past.note(i * EVERY, sums(i / 4000), None)
    view = past.view((2 * KEPT + 49) * EVERY)
    assert len(view.utilization) == KEPT
    assert view.count == 2 * KEPT + 50
    assert view.utilization[-1] == pytest.approx((2 * KEPT + 49) / 4000, abs=1e-4)
    assert Past().view(0.0).utilization == ()


def test_a_host_not_heard_for_a_day_has_an_hour_of_gaps() -> None:
    past = Past()
    past.note(0.0, sums(), None)
    past.note(86_400.0, sums(), None)
    assert past.view(86_400.0).utilization[:-1] == (None,) * (KEPT - 1)
