"""The plan's JSON schema, and which fields stand at a path of it."""

from __future__ import annotations

import functools
from typing import Any

from backends.plan.document import Path
from backends.plan.models import Plan


@functools.cache
def _schema() -> dict[str, Any]:
    return Plan.model_json_schema(by_alias=True, mode="validation")


def plan_schema() -> dict[str, Any]:
    """The plan's JSON schema, draft 2020-12. Quantities are text with a pattern for their units."""
    schema = dict(_schema())
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A plan of Cutover"}
    return head | {key: value for key, value in schema.items() if key != "title"}


def fields_at(path: Path) -> tuple[str, ...]:
    """The names of the fields that a mapping at `path` may have; none where it is not a mapping with named fields."""
    return tuple(_mapping(_at(path)).get("properties", {}))


def is_fixed_at(path: Path) -> bool:
    """Is there a list of fixed length at `path`, such as a pair?"""
    return "prefixItems" in _of_type(_at(path), "array")


def _at(path: Path) -> dict[str, Any]:
    node = _schema()
    for part in path:
        node = _below(node, part)
    return node


def _below(node: dict[str, Any], part: str | int) -> dict[str, Any]:
    if isinstance(part, int):
        node = _of_type(node, "array")
        prefix = node.get("prefixItems", [])
        found = prefix[part] if part < len(prefix) else node.get("items")
    else:
        node = _mapping(node)
        by_pattern = next(iter(node.get("patternProperties", {}).values()), node.get("additionalProperties"))
        found = node.get("properties", {}).get(part, by_pattern)
    return found if isinstance(found, dict) else {}


def _mapping(node: dict[str, Any]) -> dict[str, Any]:
    return _of_type(node, "object")


def _of_type(node: dict[str, Any], kind: str) -> dict[str, Any]:
    """`node` itself or the first of its alternatives that is of this type, references followed."""
    if "$ref" in node:
        name = str(node["$ref"]).rsplit("/", 1)[-1]
        node = _schema()["$defs"][name]
    if node.get("type") == kind:
        return node
    options = [_of_type(option, kind) for option in (*node.get("anyOf", ()), *node.get("allOf", ()))]
    return next((option for option in options if option), {})
