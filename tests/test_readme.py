"""What the README shows is so: its plan is good, its links and its picture are there."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from backends.plan.load import check_plan
from tests.conftest import ROOT

README = (ROOT / "README.md").read_text()


def test_its_plan_is_good(tmp_path: Path) -> None:
    block = README[README.index("    version: 1") : README.index("    cutover check plan.yaml")]
    for script in ("set-weight", "get-weight"):
        (tmp_path / script).touch(0o755)
    path = tmp_path / "plan.yaml"
    path.write_text(textwrap.dedent(block))
    checked = check_plan(path)
    assert [p.message for p in checked.problems if p.severity == "error"] == []


def test_its_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).is_file()] == []
