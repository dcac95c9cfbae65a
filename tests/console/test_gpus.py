"""`cutover gpus`: the contract's JSON, and what people read."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner, Result

from console.main import cli


def run(*argv: str) -> Result:
    return CliRunner().invoke(cli, ["gpus", *argv])


def asked(*argv: str) -> Any:
    result = run(*argv, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)["gpus"]


def test_the_catalogue_has_the_contracts_fields() -> None:
    found = asked()
    assert len(found) >= 60
    assert {"name", "memory_gb", "bandwidth_gb_s", "bf16_tflops", "source"} <= set(found[0])


def test_equivalents_are_nearest_first_and_too_small_ones_last() -> None:
    found = asked("--like", "A100-SXM4-40GB", "--memory-gb", "38")
    assert found[0]["name"] == "A100-SXM4-40GB"
    assert {"ratio", "ratios", "warnings"} <= set(found[0])
    assert {"memory", "bandwidth", "bf16"} <= set(found[0]["ratios"])
    fits = [one["fits"] for one in found]
    assert fits == sorted(fits, reverse=True)
    assert "T4" in {one["name"] for one in found[fits.index(False) :]}


def test_a_provider_is_asked_for_by_its_name_whatever_its_case() -> None:
    assert {o["provider"] for one in asked("--provider", "runpod") for o in one["offers"]} == {"RunPod"}
    refused = run("--provider", "nobody")
    assert (refused.exit_code, "known: AWS" in refused.output) == (2, True)


def test_a_familys_name_is_a_usage_error_that_names_its_cards() -> None:
    refused = run("--like", "A100")
    assert refused.exit_code == 2
    assert "A100-PCIe-40GB" in refused.output
    assert run("--kind", "training").exit_code == 2


def test_what_people_read_says_what_binds_and_what_is_lost() -> None:
    text = run("--like", "L4", "--provider", "Lambda", "--kind", "inference").output
    assert text.startswith("in the place of L4, by bandwidth:")
    assert "no FP8" in text
    assert "\x1b" not in text
