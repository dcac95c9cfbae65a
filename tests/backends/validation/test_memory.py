"""What a card has, from the plan's hosts and the catalogue; and the peak that nvidia-smi shows."""

from __future__ import annotations

import pytest

from backends.plan.models import Plan
from backends.validation.memory import Use, capacity_of
from backends.validation.trial.gpus import Watched


def plan(*types: str | None) -> Plan:
    hosts = [
        {"name": f"h{i}", "address": "10.0.0.1"} | ({"gpus": {"type": t, "count": 8}} if t else {}) for i, t in enumerate(types)
    ]
    runs_on = {"target": [h["name"] for h in hosts]}
    workload = {"name": "w", "class": "training", "runs_on": runs_on}
    side = {"provider": "b", "hosts": hosts}
    return Plan.model_validate({"version": 1, "name": "p", "legacy": {"provider": "a"}, "target": side, "workloads": [workload]})


def test_the_smallest_card_of_the_side_counts_as_its_tool_reports_it() -> None:
    one = capacity_of(plan("H100-SXM5-80GB"), "w", "target")
    assert one == pytest.approx(81559 * 2.0**20, rel=0.01)
    assert capacity_of(plan("H100-SXM5-80GB", "A100-SXM4-40GB"), "w", "target") == pytest.approx(40960 * 2.0**20, rel=0.02)


@pytest.mark.parametrize("types", [(), (None,), ("H100-SXM5-80GB", None), ("no such card",)])
def test_a_card_that_nobody_names_is_not_known(types: tuple[str | None, ...]) -> None:
    assert capacity_of(plan(*types), "w", "target") is None


def test_the_fullest_card_is_the_peak_and_odd_rows_are_passed_over() -> None:
    peak = Watched("host")
    peak.take("0, 70000, 81559\n1, 20000, 81559\n2, [N/A], [N/A]\nrubbish\n3, 5, 0\n4, \u0663, 81559\n")
    peak.take("0, 10, 81559\n")
    assert peak.use == Use(70000 * 2.0**20, 81559 * 2.0**20)


def state(*rows: str, work: int, idle: int) -> str:
    return "".join(f"{row}\n" for row in rows) + f"cpu  {work} 0 0 {idle} 0 0 0 0 0 0\n"


def test_gpus_that_are_held_down_or_wait_for_busy_processors_are_causes_of_a_slow_run() -> None:
    watched = Watched("gpu-b1")
    watched.take_state(state("0, 30, 0x0000000000000060", "1, 40, 0x0000000000000004", work=100, idle=100))
    watched.take_state(state("0, 30, 0x0000000000000040", "1, 40, 0x0000000000000004", work=1090, idle=110))
    watched.take_state("0, 70000, 81920\nField is not a valid field to query\n9, 101, 0x\n")
    assert [(c.cause, c.evidence) for c in watched.causes] == [
        ("throttled GPUs on target", "gpu-b1: GPU 0: thermal (hardware), GPU 0: thermal (software)"),
        ("the target is bound by its input", "gpu-b1: GPUs at 35%, processors at 99%"),
    ]
    assert Watched("quiet").causes == ()


def test_a_card_that_works_at_its_power_cap_is_not_held_down() -> None:
    watched = Watched("gpu-b1")
    for work in (100, 200):
        watched.take_state(state("0, 99, 0x0000000000000004", work=work, idle=1000))
    assert watched.causes == ()
