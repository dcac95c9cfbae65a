"""docs/plan.md names every field of a plan, and says of each one that is refused that it is."""

from __future__ import annotations

import re
from typing import Any

import pytest

from backends.plan.defaults import gates_of, triggers_of
from backends.plan.schema import plan_schema
from backends.snapshot import Phase
from tests.backends.plan.plans import ROOT, documented_plan, judged

PAGE = (ROOT / "docs" / "plan.md").read_text()


def fields() -> set[str]:
    schema = plan_schema()
    parts: list[dict[str, Any]] = [schema, *schema["$defs"].values()]
    return {name for part in parts for name in part.get("properties", {})}


# Their fields are those of routes that are refused as a whole.
OF_REFUSED_ROUTES = {"socket", "backend", "zone", "record", "server", "ttl"}
OF_REFUSED_PARTS = {"query", "webhook", "path", "cuda", "from", "to"}


@pytest.mark.parametrize("name", sorted(fields() - OF_REFUSED_ROUTES - OF_REFUSED_PARTS))
def test_each_field_is_documented(name: str) -> None:
    assert re.search(rf"(?m)(?:^|[`.\[{{ ]){re.escape(name)}[`:,.\]]", PAGE), f"docs/plan.md does not name `{name}`"


def test_the_documented_defaults_are_the_defaults() -> None:
    checked = judged(documented_plan().split("gates:")[0])
    assert checked.plan is not None
    kinds = {m.name: m.kind for m in checked.plan.measures}
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.splitlines() if line.startswith("| `")]
    documented = {row[0].strip("`"): row for row in rows if len(row) == 4}
    for gate in gates_of(checked.plan, Phase.TESTING):
        assert documented[kinds[str(gate.measure)]][1] != ""
    for gate in gates_of(checked.plan, Phase.STAGING):
        assert gate.measure is None or documented[kinds[gate.measure]][2] != ""
    for trigger in triggers_of(checked.plan):
        limit = trigger.worse_by if trigger.worse_by is not None else trigger.above
        assert limit is not None
        assert f"{limit * 100:g} %" in documented[kinds[trigger.measure]][3]
