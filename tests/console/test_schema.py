from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from backends.plan.schema import plan_schema
from console.main import cli


@pytest.mark.parametrize("argv", [["schema"], ["schema", "--json"]])
def test_the_schema_is_printed_as_one_json_object(argv: list[str]) -> None:
    result = CliRunner().invoke(cli, argv)
    assert result.exit_code == 0
    assert json.loads(result.stdout) == plan_schema()


def test_the_schema_knows_each_top_level_field() -> None:
    properties = json.loads(CliRunner().invoke(cli, ["schema"]).stdout)["properties"]
    assert {"version", "name", "legacy", "target", "stores", "datasets", "routes", "gates", "triggers"} <= set(properties)


def test_help_has_an_example() -> None:
    assert "Example: cutover schema" in CliRunner().invoke(cli, ["schema", "--help"]).stdout
