from __future__ import annotations

import pytest

from backends.plan.defaults import gates_of, triggers_of
from backends.plan.models import Plan
from backends.snapshot import Phase
from tests.backends.plan.plans import changed, documented_plan, judged


def plan_of(text: str) -> Plan:
    checked = judged(text)
    assert checked.plan is not None, checked.problems
    return checked.plan


def with_measure(kind: str, class_: str) -> Plan:
    text = changed("class: realtime", f"class: {class_}").replace("kind: latency", f"kind: {kind}")
    return plan_of(text.split("gates:")[0])


def test_a_list_of_the_plan_replaces_the_defaults_of_its_phase_only() -> None:
    plan = plan_of(documented_plan())
    assert [g.name for g in gates_of(plan, Phase.STAGING)] == [
        "loss@10,50,100",
        "chat-latency",
        "corpus verified",
        "checkpoints verified",
    ]
    [loss] = gates_of(plan, Phase.TESTING)
    assert (loss.measure, loss.at, loss.within) == ("loss", (10.0, 50.0, 100.0), 0.005)


def test_an_empty_list_leaves_no_gate() -> None:
    text = documented_plan()
    plan = plan_of(text[: text.index("gates:")] + "gates: {staging: [], testing: []}\n")
    assert gates_of(plan, Phase.STAGING) == ()
    assert gates_of(plan, Phase.TESTING) == ()


def test_without_gates_each_dataset_is_to_be_verified_and_latency_watched_for_a_day() -> None:
    text = documented_plan()
    plan = plan_of(text[: text.index("gates:")])
    gates = gates_of(plan, Phase.STAGING)
    assert [(g.dataset, g.verified) for g in gates[:2]] == [("corpus", "all"), ("checkpoints", "all")]
    latency = next(g for g in gates if g.measure == "chat-latency")
    assert (latency.within, latency.for_) == (0.05, 86400)
    assert any(g.measure == "chat-errors" for g in gates)
    assert gates_of(plan, Phase.CUTOVER) == ()


@pytest.mark.parametrize(
    ("kind", "class_", "worse_by", "above"),
    [
        ("step_time", "training", 0.1, None),
        ("throughput", "pipeline", 0.1, None),
        ("step_time", "batch", 0.2, None),
        ("latency", "realtime", 0.25, None),
        ("latency", "batch", 0.25, None),
        ("loss", "training", 0.01, None),
        ("error_rate", "realtime", None, 0.001),
    ],
)
def test_a_measure_without_a_trigger_has_that_of_its_kind(
    kind: str, class_: str, worse_by: float | None, above: float | None
) -> None:
    trigger = next(t for t in triggers_of(with_measure(kind, class_)) if t.measure == "chat-latency")
    assert trigger.worse_by == pytest.approx(worse_by)
    assert trigger.above == pytest.approx(above)
    assert trigger.windows == (120, 600)
    assert trigger.action == "rollback"


@pytest.mark.parametrize("kind", ["memory", "value"])
def test_a_measure_of_any_kind_else_has_none(kind: str) -> None:
    assert "chat-latency" not in [t.measure for t in triggers_of(with_measure(kind, "realtime"))]


@pytest.mark.parametrize(("class_", "within"), [("batch", 0.2), ("training", 0.05), ("realtime", 0.05), ("pipeline", 0.05)])
def test_only_batch_tolerates_a_slowdown(class_: str, within: float) -> None:
    gates = gates_of(with_measure("step_time", class_), Phase.TESTING)
    assert next(g for g in gates if g.measure == "chat-latency").within == pytest.approx(within)


def test_a_trigger_of_the_plan_replaces_the_default_and_keeps_what_it_says() -> None:
    triggers = {t.measure: t for t in triggers_of(plan_of(documented_plan()))}
    assert len(triggers) == 3
    assert (triggers["loss"].action, triggers["loss"].worse_by) == ("hold", 0.01)
    assert triggers["loss"].windows == (120, 600)
    assert triggers["chat-errors"].above == pytest.approx(0.001)


def test_a_trigger_without_a_limit_takes_that_of_its_kind() -> None:
    text = changed("{measure: loss, worse_by: 1%, action: hold}", "{measure: loss, action: tell}")
    loss = next(t for t in triggers_of(plan_of(text)) if t.measure == "loss")
    assert (loss.worse_by, loss.action) == (0.01, "tell")


def test_two_triggers_on_one_measure_are_both_kept_and_have_names_of_their_own() -> None:
    text = documented_plan()
    before, mark, after = text.partition("\ntriggers:\n")
    first = after.splitlines()[0]
    plan = plan_of(f"{before}{mark}{first}\n{first}\n{after.partition(chr(10))[2]}")
    names = [t.name for t in triggers_of(plan)]
    measure = plan.triggers[0].measure
    assert names[:2] == [measure, f"{measure}#2"]
    assert len(set(names)) == len(names)
    assert len(names) == len(triggers_of(plan_of(text))) + 1
