"""What a workload requires of target is held against where target is, what it meets, and that its hosts stay."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from backends.plan.load import parse_plan
from backends.plan.regions import countries_of, country_of

CODES = ("locality", "locality_unknown", "compliance", "compliance_unknown", "spot_host", "spot_for_tests")


def told(work: dict[str, Any], target: dict[str, Any], stores: dict[str, Any] | None = None) -> list[tuple[str, str]]:
    """Codes and fields of what the plan's requirements make."""
    plan = {
        "version": 1,
        "name": "m",
        "legacy": {"provider": "gcp", "hosts": [{"name": "a", "address": "10.0.0.1"}]},
        "target": {"provider": "lambda", **target},
        "stores": {"old": {"url": "s3://old/"}, "new": {"url": "s3://new/"}, **(stores or {})},
        "datasets": [{"name": "d", "from": "old", "to": "new"}],
        "workloads": [{"name": "w", "class": "training", **work}],
    }
    out = StringIO()
    YAML().dump(plan, out)
    checked = parse_plan(out.getvalue(), Path("plan.yaml"))
    return [(p.code, p.field) for p in checked.problems if p.code in CODES]


def host(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "address": f"10.0.1.{len(name)}", **more}


@pytest.mark.parametrize(
    ("target", "problems"),
    [
        ({"region": "eu-west-1"}, []),
        ({"region": "europe-west4"}, []),
        ({"region": "swedencentral"}, []),
        ({"region": "eu-west-2"}, [("locality", "target.region")]),
        ({"region": "europe-west6"}, [("locality", "target.region")]),
        ({"region": "us-east-1"}, [("locality", "target.region")]),
        ({"region": "frankfurt-1"}, [("locality_unknown", "target.region")]),
        ({"region": "frankfurt-1", "country": "de"}, []),
        ({"region": "eu-west-1", "country": "GB"}, [("locality", "target.country")]),
        ({"region": "eu-west-1", "hosts": [host("b", region="us-east-1"), host("bb")]}, [("locality", "target.hosts[0].region")]),
        ({"region": "us-east-1", "hosts": [host("b", country="FR")]}, []),
    ],
)
def test_eu_only_is_held_against_the_country_and_never_read_out_of_a_name(
    target: dict[str, Any], problems: list[tuple[str, str]]
) -> None:
    assert told({"locality": ["EU"]}, target) == problems


def test_data_of_a_bound_workload_may_not_leave_either() -> None:
    stores = {"new": {"url": "s3://new/", "region": "us-east-1"}}
    work = {"locality": ["DE", "FR"], "datasets": ["d"]}
    assert told(work, {"region": "eu-central-1"}, stores) == [("locality", "stores.new.region")]
    assert told({"locality": ["DE", "FR"]}, {"region": "eu-central-1"}, stores) == []


@pytest.mark.parametrize(
    ("given", "problems"),
    [
        ([], [("compliance_unknown", "workloads[0].compliance[0]"), ("compliance_unknown", "workloads[0].compliance[1]")]),
        (["HIPAA", "soc2"], []),
        (["soc2"], [("compliance", "workloads[0].compliance[0]")]),
    ],
)
def test_what_is_required_is_held_against_what_target_is_shown_to_meet(given: list[str], problems: list[tuple[str, str]]) -> None:
    assert told({"compliance": ["hipaa", "soc2"]}, {"compliance": given}) == problems


def test_a_spot_host_is_for_tests_and_an_error_where_a_workload_runs() -> None:
    target = {"hosts": [host("b"), host("bb", spot=True)]}
    assert told({"runs_on": {"target": ["b"]}}, target) == [("spot_for_tests", "target.hosts[1].spot")]
    assert told({"runs_on": {"target": ["bb"]}}, target) == [("spot_host", "target.hosts[1].spot")]
    assert told({}, target) == [("spot_host", "target.hosts[1].spot")], "a workload that names no host runs on all"


def test_countries_are_those_of_the_area() -> None:
    eu, eea = countries_of("eu"), countries_of("EEA")
    assert eu is not None
    assert eea is not None
    assert (len(eu), len(eea - eu)) == (27, 3)
    assert countries_of("us") == {"US"}
    assert countries_of("Texas") is None
    assert country_of("eu-west-2") == "GB"
    assert country_of(None) is None
