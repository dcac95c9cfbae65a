"""Scripts beside the plan: what Cutover runs must be there, and only its owner may have written it.

Only paths are looked at (a program found by PATH is the machine's own affair), and nothing is run.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from pathlib import Path as FilePath

from backends.escape import plain
from backends.plan.document import Path
from backends.plan.models import Plan
from backends.plan.problems import Findings
from backends.plan.ways import Way

ARGVS = ("command", "resume", "status", "drain", "idle", "step")


def check_scripts(plan: Plan, base: FilePath, findings: Findings) -> None:
    """`base` is the plan's folder, which relative paths start from."""
    for path, program, here in _programs(plan):
        # An absolute path of a command on the hosts is theirs, not ours.
        if "/" in program and (here or not program.startswith("/")):
            _check_script(path, base / program, program, findings)


def _programs(plan: Plan) -> Iterator[tuple[Path, str, bool]]:
    """Path in the plan, program, and whether it runs on the engine's own machine."""
    for i, route in enumerate(plan.routes):
        if route.command is not None:
            yield ("routes", i, "command", "set", 0), route.command.set[0], True
            yield ("routes", i, "command", "get", 0), route.command.get[0], True
    for i, step in enumerate(plan.retire.steps):
        for field in ("command", "check"):
            argv = getattr(step, field)
            if argv:
                yield ("retire", "steps", i, field, 0), argv[0], plan.retire.on == "engine"
    if plan.capacity is not None:
        yield ("capacity", "command", 0), plan.capacity.command[0], plan.capacity.on == "engine"
    for i, backup in enumerate(plan.backups):
        if backup.command is not None:
            yield ("backups", i, "command", 0), backup.command[0], True
    for i, workload in enumerate(plan.workloads):
        path: Path = ("workloads", i, "quiesce")
        quiesce = workload.quiesce
        if quiesce is not None:
            yield from _of_quiesce(path, quiesce)
            for side in ("legacy", "target"):
                own = getattr(quiesce, side)
                if own is not None:
                    yield from _of_quiesce((*path, side), own)


def _of_quiesce(path: Path, way: Way) -> Iterator[tuple[Path, str, bool]]:
    for field in ARGVS:
        argv = getattr(way, field)
        if argv:
            yield (*path, field, 0), argv[0], way.on == "engine"


def _check_script(path: Path, file: FilePath, written: str, findings: Findings) -> None:
    shown = plain(written, 80)
    try:
        found = file.stat()
        folder = file.parent.stat()
    except (OSError, ValueError):
        findings.warning(
            path, "script_missing", f"there is no `{shown}` beside the plan", f"put it at {plain(str(file))}, or correct the name"
        )
        return
    if not stat.S_ISREG(found.st_mode):
        findings.error(
            path,
            "script",
            f"found `{shown}`, which is no file, expected a script",
            "the script itself, with what it is given behind it",
        )
        return
    if _may_others_write(found) or (_may_others_write(folder) and not folder.st_mode & stat.S_ISVTX):
        message = f"found `{shown}`, which others may write, expected a script that only its owner can change"
        findings.error(path, "script_writable", message, f"chmod go-w {plain(str(file))} and its folder")
    elif not found.st_mode & stat.S_IXUSR:
        findings.warning(path, "script_mode", f"found `{shown}`, which is not executable", f"chmod +x {plain(str(file))}")
    elif found.st_uid not in (0, os.getuid()):
        message = f"found `{shown}`, which belongs to another user, expected a script of your own"
        findings.error(path, "script_writable", message, f"chown it to who runs Cutover: {plain(str(file))}")


def _may_others_write(found: os.stat_result) -> bool:
    if found.st_mode & stat.S_IWOTH:
        return True
    return bool(found.st_mode & stat.S_IWGRP) and not _is_private_group(found.st_gid, found.st_uid)


def _is_private_group(gid: int, uid: int) -> bool:
    """Is it the owner's own group with nobody else in it, as many systems give each user?"""
    try:
        owner, group = pwd.getpwuid(uid), grp.getgrgid(gid)
    except KeyError:
        return False
    return owner.pw_gid == gid and set(group.gr_mem) <= {owner.pw_name}
