"""The tables of the docs are those of the code."""

from __future__ import annotations

from backends.cutover.rules import RULES
from backends.cutover.states import TABLE
from tests.conftest import ROOT

PAGE = (ROOT / "docs" / "architecture.md").read_text()


def test_every_state_stands_in_the_docs_as_in_the_code() -> None:
    for row in TABLE.values():
        forward, backward = ", ".join(row.forward) or "–", ", ".join(row.backward) or "–"
        assert f"| {row.state} | {row.means} | {forward} | {backward} |" in PAGE


def test_every_rule_stands_in_the_docs() -> None:
    for rule, text in RULES.items():
        assert f"| {rule} | {text} |" in PAGE
