"""The JSON schema says the same as the models. The few keywords that it uses are checked by a small validator here."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from ruamel.yaml import YAML

from backends.plan.schema import fields_at, plan_schema
from tests.backends.plan.plans import FULL, documented_plan

SCHEMA = plan_schema()
TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
ANNOTATIONS = {"title", "description", "default", "examples", "$defs", "$schema"}


def misfits(value: Any, schema: dict[str, Any], at: str = "") -> list[str]:
    """Where `value` breaks `schema`; an unknown keyword fails the test."""
    found: list[str] = []
    for keyword, rule in schema.items():
        if keyword not in ANNOTATIONS:
            found += [f"{at}: {m}" if ":" not in m else m for m in CHECKS[keyword](value, rule, schema, at)]
    return found


def _type(value: Any, rule: str, _schema: dict[str, Any], at: str) -> list[str]:
    is_right = isinstance(value, TYPES[rule]) and (rule == "boolean" or not isinstance(value, bool))
    return [] if is_right else [f"{at}: no {rule}"]


def _any(value: Any, rule: list[dict[str, Any]], _schema: dict[str, Any], at: str) -> list[str]:
    return [] if any(not misfits(value, option, at) for option in rule) else [f"{at}: none of the alternatives"]


def _properties(value: Any, rule: dict[str, Any], _schema: dict[str, Any], at: str) -> list[str]:
    named = value.items() if isinstance(value, dict) else ()
    return [m for k, v in named if k in rule for m in misfits(v, rule[k], f"{at}.{k}")]


def _more(value: Any, rule: Any, schema: dict[str, Any], at: str) -> list[str]:
    more = [k for k in value if k not in schema.get("properties", {})] if isinstance(value, dict) else []
    more = [k for k in more if not any(re.search(p, k) for p in schema.get("patternProperties", {}))]
    if rule is False:
        return [f"{at}.{k}: not allowed" for k in more]
    return [] if rule is True else [m for k in more for m in misfits(value[k], rule, f"{at}.{k}")]


def _patterned(value: Any, rule: dict[str, Any], _schema: dict[str, Any], at: str) -> list[str]:
    named = value.items() if isinstance(value, dict) else ()
    return [m for k, v in named for p, s in rule.items() if re.search(p, k) for m in misfits(v, s, f"{at}.{k}")]


def _items(value: Any, rule: Any, schema: dict[str, Any], at: str) -> list[str]:
    rest = value[len(schema.get("prefixItems", [])) :] if isinstance(value, list) else []
    if rule is False:
        return [f"{at}: too many"] if rest else []
    return [m for i, v in enumerate(rest) for m in misfits(v, rule, f"{at}[{i}]")]


def _prefix(value: Any, rule: list[dict[str, Any]], _schema: dict[str, Any], at: str) -> list[str]:
    pairs = zip(value, rule, strict=False) if isinstance(value, list) else ()
    return [m for i, (v, s) in enumerate(pairs) for m in misfits(v, s, f"{at}[{i}]")]


def _size(is_right: Any) -> Any:
    return lambda value, rule, _s, at: (
        [] if not isinstance(value, list | str) or is_right(len(value), rule) else [f"{at}: length"]
    )


def _bound(is_right: Any) -> Any:
    def check(value: Any, rule: Any, _schema: dict[str, Any], at: str) -> list[str]:
        return [f"{at}: bound"] if isinstance(value, int | float) and not is_right(value, rule) else []

    return check


CHECKS: dict[str, Any] = {
    "type": _type,
    "anyOf": _any,
    "$ref": lambda v, r, _s, at: misfits(v, SCHEMA["$defs"][r.rsplit("/", 1)[1]], at),
    "properties": _properties,
    "required": lambda v, r, _s, at: [f"{at}: no {k}" for k in r if isinstance(v, dict) and k not in v],
    "additionalProperties": _more,
    "patternProperties": _patterned,
    "propertyNames": lambda v, r, _s, at: [m for k in (v if isinstance(v, dict) else ()) for m in misfits(k, r, f"{at}.{k}")],
    "items": _items,
    "prefixItems": _prefix,
    "enum": lambda v, r, _s, at: [] if v in r else [f"{at}: not in enum"],
    "const": lambda v, r, _s, at: [] if v == r else [f"{at}: not const"],
    "pattern": lambda v, r, _s, at: [] if not isinstance(v, str) or re.search(r, v) else [f"{at}: pattern"],
    "minItems": _size(lambda n, r: n >= r),
    "maxItems": _size(lambda n, r: n <= r),
    "minLength": _size(lambda n, r: n >= r),
    "minimum": _bound(lambda v, r: v >= r),
    "maximum": _bound(lambda v, r: v <= r),
    "exclusiveMinimum": _bound(lambda v, r: v > r),
    "exclusiveMaximum": _bound(lambda v, r: v < r),
}


def loaded(text: str) -> Any:
    return YAML(typ="safe", pure=True).load(text)


@pytest.mark.parametrize("text", [documented_plan(), FULL.read_text()], ids=["documented", "full"])
def test_the_schema_takes_whole_plans(text: str) -> None:
    assert misfits(loaded(text), SCHEMA) == []


@pytest.mark.parametrize(
    ("change", "misfit"),
    [
        (lambda p: p.update(nam="x"), ".nam: not allowed"),
        (lambda p: p.pop("name"), ": no name"),
        (lambda p: p.update(version=2), ".version: not const"),
        (lambda p: p["windows"].update(dual="7 days"), ".windows.dual: pattern"),
        (lambda p: p["windows"].update(dual=7), ".windows.dual: no string"),
        (lambda p: p["transfer"].update(parallel=0), ".transfer.parallel: none of the alternatives"),
        (lambda p: p["datasets"][0].update(hub_days=0), "bound"),
        (lambda p: p["gates"].update(stagin=[]), "stagin"),
        (lambda p: p["workloads"][0].update({"class": "realtme"}), "not in enum"),
        (lambda p: p["legacy"]["egress_usd_per_gb"][0].append(1), "length"),
        (lambda p: p["datasets"][0].update(size=12), ".size"),
    ],
)
def test_the_schema_refuses_what_the_models_refuse(change: Any, misfit: str) -> None:
    plan = copy.deepcopy(loaded(documented_plan()))
    change(plan)
    assert any(misfit in m for m in misfits(plan, SCHEMA))


def test_the_schema_is_json() -> None:
    assert json.loads(json.dumps(SCHEMA))["$schema"].startswith("https://json-schema.org/draft/2020-12")


def test_the_fields_of_a_place_are_those_of_its_model() -> None:
    assert "access_key" in fields_at(("stores", "any"))
    assert {"from", "to", "hub"} <= set(fields_at(("datasets", 7)))
    assert "at" in fields_at(("gates", "staging", 0))
    assert set(fields_at(("workloads", 0, "quiesce", "legacy"))) > {"command", "resume", "status", "on", "timeout"}
    assert fields_at(("name",)) == ()
    assert fields_at(("no", "such", 0, "place")) == ()
