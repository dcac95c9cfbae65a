"""Whatever is changed in a plan, it ends in problems with places, never in an exception."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from backends.plan.load import CheckedPlan, parse_plan
from tests.backends.plan.plans import FULL, documented_plan

PLANS = [documented_plan(), FULL.read_text()]
TREES = [json.loads(json.dumps(YAML(typ="safe", pure=True).load(text))) for text in PLANS]
ODD: list[Any] = [
    None, True, 0, -1, 10**30, 1.5, float("nan"), "", "x", "7d", "5%", "12 TB", "${env:X}", "${", "a\x1b[31m", "gcp-a1", "corpus",
    "s3://", "ssh://[", "http://[::1", "file:///", "2026-12-24 16:00", [], [None], {}, {"x": 1}, [[[]]], ["a", "a"], {"command": ["x"]},
]  # fmt: skip


def judged(text: str) -> CheckedPlan:
    checked = parse_plan(text, Path("plan.yaml"))
    lines = text.count("\n") + 2
    for problem in checked.problems:
        assert problem.where.startswith("plan.yaml")
        assert 0 <= problem.line <= lines
        assert problem.line > 0 or problem.code in ("syntax", "empty", "too_large"), problem
        assert problem.message.isprintable(), problem
        assert problem.hint, problem
        assert problem.hint.isprintable(), problem
    assert (checked.plan is None) == any(p.severity == "error" for p in checked.problems)
    return checked


@settings(max_examples=100)
@given(st.sampled_from(PLANS), st.randoms(use_true_random=False))
def test_changed_text_ends_in_problems_with_lines(text: str, chance: random.Random) -> None:
    for _ in range(chance.randint(1, 4)):
        start = chance.randrange(len(text))
        end = min(len(text), start + chance.choice([0, 0, 1, 3, 20]))
        piece = chance.choice(
            ["", " ", "\n", ":", "- ", "{", "}", "[", "]", "'", '"', "&a ", "*a", "#", "%", "\t", "\x00", "ü", "0", "!!x "]
        )
        text = text[:start] + piece + text[end:]
    judged(text)


def slots(tree: Any) -> list[tuple[Any, Any]]:
    """Every place of the tree that a value may be put into, as (container, key)."""
    keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
    found = [(tree, key) for key in keys]
    for key in keys:
        if isinstance(tree[key], dict | list):
            found += slots(tree[key])
    return found


@settings(max_examples=80)
@given(st.sampled_from(TREES), st.randoms(use_true_random=False))
def test_changed_values_end_in_problems_with_lines(tree: Any, chance: random.Random) -> None:
    tree = json.loads(json.dumps(tree))
    for _ in range(chance.randint(1, 5)):
        container, key = chance.choice(slots(tree))
        way = chance.random()
        if way < 0.6:
            container[key] = deepcopy(chance.choice(ODD))  # a later change may go inside it
        elif way < 0.8:
            del container[key]
        elif isinstance(container, dict):
            container[str(key) + "x"] = container.pop(key)
        else:
            container.append(deepcopy(container[key]))
    judged(json.dumps(tree, indent=1).replace("NaN", ".nan"))
