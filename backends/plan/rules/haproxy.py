"""Routes by HAProxy: names as its runtime API takes them, a socket that can be reached."""

from __future__ import annotations

import re

from backends.plan.document import Path
from backends.plan.models import HaproxyRoute, Plan
from backends.plan.problems import Findings
from backends.plan.rules.names import Names
from backends.plan.rules.stores import split_url

_NAME = re.compile(r"[A-Za-z0-9_.:-]{1,128}")  # configuration.txt, 2.2: what a proxy or server may be called


def check_haproxy(plan: Plan, _names: Names, findings: Findings) -> None:
    for i, route in enumerate(plan.routes):
        if route.haproxy is not None:
            _check(("routes", i, "haproxy"), route.haproxy, findings)


def _check(path: Path, spec: HaproxyRoute, findings: Findings) -> None:
    parts = split_url(spec.socket) if spec.socket.startswith("ssh:") else None
    remote = parts is not None and bool(parts.hostname) and len(parts.path) > 1
    if not remote and not spec.socket.startswith("/"):
        message = "found a socket that is no absolute path, expected /… or ssh://HOST/…"
        findings.error((*path, "socket"), "haproxy_socket", message, "such as /run/haproxy/admin.sock")
    for field, names in (("backend", (spec.backend,)), ("legacy", spec.legacy), ("target", spec.target)):
        for name in names:
            if not _NAME.fullmatch(name):
                message = f"found {name!r}, expected the name of a {'backend' if field == 'backend' else 'server'}"
                findings.error((*path, field), "haproxy_name", message, "letters, digits, . : _ and -")
    for field, names in (("legacy", spec.legacy), ("target", spec.target)):
        if not names:
            findings.error(
                (*path, field),
                "haproxy_servers",
                f"found no server of {field}, expected one at least",
                f"{field}: [SERVER] as its backend names it",
            )
    both = sorted({*spec.legacy} & {*spec.target})
    if both:
        message = f"found {', '.join(both)} on both sides, expected a server on one"
        findings.error((*path, "target"), "haproxy_both", message, "leave it out of one side")
    if spec.state_file is None:
        message = "no state_file: a reload of HAProxy falls back to the weights of its configuration"
        findings.note(
            (*path, "state_file"),
            "haproxy_reload",
            message,
            "give its `server-state-file`, and `load-server-state-from-file global`",
        )
    elif not spec.state_file.startswith("/"):
        findings.error(
            (*path, "state_file"),
            "haproxy_state_file",
            "found no absolute path, expected HAProxy's `server-state-file`",
            "such as /var/lib/haproxy/server-state",
        )
