"""Reconfiguration: rules that say one thing each, trees that do not lie in each other."""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from backends.escape import plain
from backends.plan.models import Plan
from backends.plan.problems import Findings
from backends.plan.rules.names import Names


def check_reconfigure(plan: Plan, _names: Names, findings: Findings) -> None:
    spec = plan.reconfigure
    if spec is None:
        return
    for i, rule in enumerate(spec.rules):
        path = ("reconfigure", "rules", i)
        if rule.replace is not None and rule.match is not None:
            findings.error(path, "rule_form", "found both replace and match, expected one", "write two rules")
        if rule.replace is None and rule.match is None and rule.key is None:
            findings.error(path, "rule_form", "found none of replace, match and key, expected one", "replace: TEXT, or key: NAME")
        if rule.match is not None:
            try:
                re.sub(rule.match, rule.with_, "")
            except (re.error, IndexError) as error:
                message = f"found a regular expression or a text for it that cannot be used: {plain(str(error), 120)}"
                findings.error(
                    (*path, "match"),
                    "rule_match",
                    message,
                    "replace: takes its text as it is; in match: a \\ goes before . ( [ + *",
                )
    for i, tree in enumerate(spec.files):
        a, b = PurePosixPath(tree.from_), PurePosixPath(tree.to)
        if a == b or a in b.parents or b in a.parents:
            message = "found a folder that holds the original or lies in it, expected one of its own"
            findings.error(
                ("reconfigure", "files", i, "to"),
                "over_original",
                message,
                f"to: {plain(str(a.parent / (a.name + '-target')), 120)}",
            )
