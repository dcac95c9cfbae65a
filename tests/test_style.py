"""What holds for every file, and that every command is documented."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from console.main import COMMANDS, cli
from tests.conftest import ROOT

OURS = ("backends", "console", "themes", "widgets", "tests")
MOST_LINES = 600
NO_SUBJECT = {"utils", "util", "helpers", "helper", "common", "manager", "misc"}


def sources() -> list[Path]:
    return sorted(p for folder in OURS for p in (ROOT / folder).rglob("*.py"))


def pages() -> str:
    return "\n".join(p.read_text() for p in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])


def test_no_file_is_longer_than_600_lines() -> None:
    long = {str(p.relative_to(ROOT)): n for p in sources() if (n := len(p.read_text().splitlines())) > MOST_LINES}
    assert long == {}


def test_each_file_is_named_after_its_subject() -> None:
    assert [str(p) for p in sources() if p.stem in NO_SUBJECT or p.parent.name in NO_SUBJECT] == []


def test_each_module_says_what_it_is() -> None:
    silent = [
        str(p.relative_to(ROOT))
        for p in sources()
        if "tests" not in p.relative_to(ROOT).parts
        and p.read_text().strip()
        and not p.read_text().lstrip().startswith(('"""', 'r"""'))
    ]
    assert silent == []


@pytest.mark.parametrize("name", list(COMMANDS))
def test_each_command_is_documented(name: str) -> None:
    assert re.search(rf"\bcutover {re.escape(name)}\b", pages()), f"`cutover {name}` is in no page"


def options_of(name: str) -> set[str]:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return {o for p in command.params for o in (*p.opts, *p.secondary_opts) if o.startswith("-")} | {"--help", "--json"}


@pytest.mark.parametrize("name", list(COMMANDS))
def test_each_command_takes_the_options_that_its_section_names(name: str) -> None:
    page = (ROOT / "docs" / "commands.md").read_text()
    section = page.split(f"### cutover {name}\n")[1].split("\n##")[0]
    named = set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*|(?<![\w-])-[oF]\b", section))
    assert named <= options_of(name), named - options_of(name)


def test_nothing_is_left_to_be_done_later() -> None:
    mark = re.compile(r"\b(TO" r"DO|FIX" r"ME)\b")
    assert [str(p.relative_to(ROOT)) for p in sources() if mark.search(p.read_text())] == []
