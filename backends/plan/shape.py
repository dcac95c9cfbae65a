"""Values into the models: every misfit as a problem, and as much of a plan as can be judged further.

A value that does not fit is left out and the rest tried again, so that one wrong duration does not hide the wrong
reference ten lines below it. What was left out is in the problems; the plan is then only good for further checks.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from backends.escape import plain
from backends.plan.document import Document, Path, Places, plain_values
from backends.plan.models import Plan
from backends.plan.nearest import name_hint, nearest_name
from backends.plan.problems import SECRET_FIELDS, Findings, without_userinfo
from backends.plan.schema import fields_at, is_fixed_at
from backends.plan.units import UnitError

_ROUNDS = 20

# Stand-ins for required fields that are missing or wrong, so that what stands beside them is checked all the same.
_STAND_INS: dict[tuple[str, ...], Any] = {
    ("version",): 1,
    ("name",): "unnamed",
    ("legacy",): {"provider": "unknown"},
    ("target",): {"provider": "unknown"},
    ("legacy", "provider"): "unknown",
    ("target", "provider"): "unknown",
    ("legacy", "hosts", "address"): "unknown",
    ("target", "hosts", "address"): "unknown",
    ("workloads", "class"): "pipeline",
    ("measures", "kind"): "value",
}

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a number with an end",
    "string_type": "text",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of names",
    "model_type": "a mapping of fields",
    "model_attributes_type": "a mapping of fields",
}
# How a value of a kind is written.
_WRITTEN = {
    "int_type": "in digits, such as 8",
    "int_from_float": "without a fraction, such as 8",
    "int_parsing": "in digits, such as 8",
    "float_type": "in digits, such as 1.5",
    "float_parsing": "in digits, such as 1.5",
    "bool_type": "true or false, as it is meant",
    "tuple_type": "in brackets: [ONE, OTHER]",
    "list_type": "in brackets: [ONE, OTHER]",
    "dict_type": "in braces: {NAME: …}, or below it, further in",
    "model_type": "in braces: {FIELD: …}, or below it, further in",
    "model_attributes_type": "in braces: {FIELD: …}, or below it, further in",
}
_CURES = {"version": "add version: 1", "name": "add name: NAME", "class": "add class: batch, or another of them"}
_PATTERNS = {
    "^[a-z0-9-]{1,40}$": "1 to 40 of a-z, 0-9 and -",
    "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$": "1 to 64 letters, digits, `.`, `_` or `-`, a letter or digit first",
    r"^[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]{0,250}$": "the name of a unit, such as trainer.service",
    "^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,127}$": "a name as Slurm has it: letters, digits, `_`, `.`, `+` and `-`",
    "^(SIG)?[A-Z][A-Z0-9]{1,9}$": "the name of a signal, such as USR1",
    "^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$": "a name as Kubernetes has it: a to z, 0-9, `.` and `-`",
}


def shape_plan(document: Document, findings: Findings) -> tuple[Plan | None, Places]:
    """The plan, or what of it fits, with its places. Misfits go to `findings`."""
    assert document.root is not None
    without: set[Path] = set()
    stand_ins: dict[Path, Any] = {}
    for _ in range(_ROUNDS):
        values, places = plain_values(document.root, without=without)
        values = _with_stand_ins(values, places, stand_ins)
        try:
            return Plan.model_validate(values), places
        except ValidationError as error:
            before = (len(without), len(stand_ins))
            for detail in error.errors(include_url=False):
                _report(detail, places, findings)
                _leave_out(detail, places, without, stand_ins)
            if before == (len(without), len(stand_ins)):
                break
    return None, places


def _with_stand_ins(values: Any, places: Places, stand_ins: dict[Path, Any]) -> Any:
    """`values` with each stand-in put into the mapping at its path, where that is still there."""
    paths = {written: path for path, written in places.written.items()}
    for written, value in stand_ins.items():
        if written[:-1] in paths:
            parent: Any = values
            for part in paths[written[:-1]]:
                parent = parent[part]
            parent.setdefault(written[-1], value)
    return values


def _leave_out(detail: ErrorDetails, places: Places, without: set[Path], stand_ins: dict[Path, Any]) -> None:
    path, rest = _existing(_location(detail), places)
    if path and isinstance(path[-1], int) and is_fixed_at(path[:-1]):
        path, rest = path[:-1], ()  # half a pair is none
    written = places.written[path]
    field = (*written, *rest)
    stand_in = _STAND_INS.get(tuple(part for part in field if isinstance(part, str)))
    if stand_in is not None:
        stand_ins[field] = stand_in
    if stand_in is None or not rest:
        without.add(written)


def _location(detail: ErrorDetails) -> Path:
    return tuple(part for part in detail["loc"] if part != "[key]")


def _existing(location: Path, places: Places) -> tuple[Path, Path]:
    """The longest part of `location` that is written in the file, and the rest."""
    for end in range(len(location), -1, -1):
        if location[:end] in places.written:
            return location[:end], location[end:]
    return (), location


def _report(detail: ErrorDetails, places: Places, findings: Findings) -> None:
    location = _location(detail)
    path, rest = _existing(location, places)
    if detail["type"] == "missing":
        findings.places = places
        expected = _expected_of_missing(str(location[-1]))
        name = plain(str(location[-1]), 80)
        findings.error(
            location, "missing_field", f"found no field `{name}`, expected {expected}", _CURES.get(name, f"add {name}: …")
        )
    elif detail["type"] == "extra_forbidden":
        findings.places = places
        name = str(location[-1])
        found = f"found `{plain(name, 80)}`, expected a field that a plan has"
        findings.error(location, "unknown_field", found, name_hint(name, fields_at(location[:-1]), "fields here"))
    else:
        findings.places = places
        message, hint = _misfit(detail, path, is_key="[key]" in detail["loc"])
        findings.error(path if rest else location, _code(detail), message, hint)


def _code(detail: ErrorDetails) -> str:
    if isinstance(detail.get("ctx", {}).get("error"), UnitError):
        return "unit"
    return "name" if detail["type"] == "string_pattern_mismatch" else "value"


def _expected_of_missing(name: str) -> str:
    known = {
        "version": "`version: 1`",
        "name": "a name",
        "provider": "the provider's name, such as gcp",
        "class": "one of realtime, batch, training, pipeline",
    }
    return known.get(name, "one")


def _misfit(detail: ErrorDetails, path: Path, *, is_key: bool) -> tuple[str, str]:
    """What was found and what was expected, and a hint."""
    context = detail.get("ctx", {})
    error = context.get("error")
    field = next((str(part) for part in reversed(path) if isinstance(part, str)), "")
    found = "a value of another kind" if field in SECRET_FIELDS else _shown(detail["input"])
    if isinstance(error, UnitError):
        return str(error), error.hint
    if isinstance(error, ValueError):
        return f"found {found}, {error}", f"write {str(error).removeprefix('expected ').partition(',')[0]}"
    if detail["type"] in ("literal_error", "enum"):
        choices = _choices(str(context.get("expected", "")))
        value = detail["input"] if isinstance(detail["input"], str) else ""
        near = nearest_name(value, choices)
        return f"found {found}, expected {_one_of(choices)}", f"did you mean {near}?" if near else f"write {_one_of(choices)}"
    expected = _expectation(detail["type"], context)
    if is_key:
        expected = f"a name of {expected}"
    hint = _WRITTEN.get(detail["type"]) or (f"write {expected}" if expected else "see docs/plan.md")
    if detail["type"] == "string_type" and isinstance(detail["input"], int | float):
        hint = "write it in quotes: plain, YAML takes it for a number or a truth"
    elif detail["type"] in ("int_type", "float_type", "bool_type") and isinstance(detail["input"], str):
        hint = _without_quotes(detail["input"]) or hint
    return f"found {found}, expected {expected or detail['msg']}", hint


def _without_quotes(text: str) -> str:
    is_bare = text.replace(".", "", 1).lstrip("+-").isdecimal() or text in ("true", "false")
    return "write it without quotes" if is_bare else ""


def _expectation(kind: str, context: dict[str, Any]) -> str:
    if kind in _EXPECTED:
        return _EXPECTED[kind]
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(str(context.get("pattern")), "another form")
    limits = {
        "greater_than_equal": ("ge", "at least"),
        "greater_than": ("gt", "more than"),
        "less_than_equal": ("le", "at most"),
        "less_than": ("lt", "less than"),
    }
    if kind in limits:
        key, words = limits[kind]
        return f"{words} {context.get(key)}"
    lengths = {"too_short": ("min_length", "at least"), "too_long": ("max_length", "at most")}
    if kind in lengths:
        key, words = lengths[kind]
        return f"a list of {words} {context.get(key)}"
    return "text that is not empty" if kind == "string_too_short" else ""


def _choices(expected: str) -> list[str]:
    return [part.strip().strip("'") for part in expected.replace(" or ", ",").split(",") if part.strip()]


def _one_of(choices: list[str]) -> str:
    return choices[0] if len(choices) == 1 else "one of " + ", ".join(choices)


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    return f"`{without_userinfo(plain(str(value), 80))}`"
