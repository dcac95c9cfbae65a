"""Who may act, and with whom: the operators' group and its roles."""

from __future__ import annotations

from backends.escape import plain
from backends.plan.models import Plan
from backends.plan.problems import Findings
from backends.plan.rules.names import Names


def check_hands(plan: Plan, _names: Names, findings: Findings) -> None:
    _check_operators(plan, findings)
    _check_two_person(plan, findings)


def _check_operators(plan: Plan, findings: Findings) -> None:
    listed = plan.operators
    if (listed.acts or listed.observes) and plan.operators_group is None:
        message = "found operators without an operators_group, expected the group whose members they are"
        findings.error(("operators",), "no_group", message, "operators_group: NAME")
    for i, name in enumerate(listed.observes):
        if name in listed.acts:
            message = f"found {plain(str(name), 60)} in acts and in observes, expected one of them"
            findings.error(("operators", "observes", i), "two_roles", message, "leave it out of one: who acts observes as well")
    if plan.operators_group is not None and not listed.acts:
        message = "found no operators.acts: the group only observes, and the engine's owner alone acts"
        findings.note(("operators_group",), "nobody_acts", message, "operators: {acts: [NAME]}, or keep it where that is meant")


def _check_two_person(plan: Plan, findings: Findings) -> None:
    everywhere = bool({"advance", "shift"} & set(plan.two_person))
    for i, route in enumerate(plan.routes):
        if route.advance == "auto" and (route.two_person or everywhere):
            message = "found advance: auto on a route that two persons have to advance, expected one of the two"
            findings.error(("routes", i, "advance"), "auto_by_two", message, "advance: manual")
