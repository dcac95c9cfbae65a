"""A route behind two commands of the operator: one sets the weight on target, one prints it.

`set` holds `{weight}` somewhere in its words; `get` prints an integer 0..100 and nothing else. Both run on the engine's
machine in the plan's folder, without a shell. There is no look at the data plane.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import re
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path

from backends.children import ChildFailed, Children, ChildResult
from backends.escape import plain
from backends.plan.models import CommandRoute as CommandSpec
from backends.traffic.base import Confirmation, ForeignChange, Observed, PlainRoute, RouteError

SHOWN = 200
_INTERPRETER = re.compile(r"(python|perl|ruby|node|bash|dash|sh|zsh|ksh)[\d.]*")


class CommandRoute(PlainRoute):
    """Weight by command."""

    kind = "command"

    def __init__(self, name: str, spec: CommandSpec, *, base: Path, children: Children) -> None:
        self.name = name
        self._spec = spec
        self._base = base
        self._children = children

    async def read(self) -> Observed:
        result = await self._run(self._spec.get)
        text = result.stdout.decode("utf-8", "backslashreplace")
        if not re.fullmatch(r"[0-9]{1,3}", text.strip()) or int(text) > 100:
            raise RouteError(
                f"route {self.name}: `{self._shown(self._spec.get)}` printed {plain(repr(text), SHOWN)}, "
                "not a weight from 0 to 100",
                hint="it must print the weight on target, an integer, and nothing else",
            )
        return Observed(int(text), f"`{self._shown(self._spec.get)}` says {int(text)}")

    async def set(self, weight: int, expected: int | None) -> None:
        if expected is not None:
            found = (await self.read()).weight
            if found not in (expected, weight):
                raise ForeignChange(self.name, expected, found)
        await self._run([word.replace("{weight}", str(weight)) for word in self._spec.set])

    async def confirm(self, weight: int) -> Confirmation:
        observed = await self.read()
        return Confirmation(observed.weight == weight, None, None, f"{observed.detail}; clients are not asked")

    async def close(self) -> None:
        """Nothing is kept open."""

    def _shown(self, argv: Sequence[str]) -> str:
        return plain(" ".join(argv), 120)

    async def _run(self, argv: Sequence[str]) -> ChildResult:
        try:
            program = await asyncio.to_thread(trusted_program, argv, self._base)
            result = await self._children.run([program, *argv[1:]], cwd=self._base, timeout=self._spec.timeout)
        except ChildFailed as error:
            raise RouteError(f"route {self.name}: {error.message}", where=error.where, hint=error.hint) from error
        except UntrustedProgram as error:
            raise RouteError(f"route {self.name}: {error}", where=error.where, hint=error.hint) from error
        if result.exit_status != 0:
            said = plain(result.stderr.strip() or result.stdout.strip(), SHOWN)
            raise RouteError(
                f"route {self.name}: `{self._shown(argv)}` ended with {result.exit_status}" + (f": {said}" if said else "")
            )
        return result


class UntrustedProgram(Exception):
    """The command is absent, or somebody else could change it."""

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.where = where
        self.hint = hint


def trusted_program(argv: Sequence[str], base: Path) -> str:
    """The path of `argv[0]`, relative ones below `base`; and of an interpreter's script. Blocking.

    Raises `UntrustedProgram` where a file, or the folder it is in, can be written by others than us and root.
    """
    word = argv[0]
    found = str(base / word) if "/" in word else shutil.which(word)
    if found is None:
        raise UntrustedProgram(f"there is no command {plain(word)} in PATH")
    _check_owner(Path(found))
    if _INTERPRETER.fullmatch(Path(found).name):
        script = next((base / other for other in argv[1:] if not other.startswith("-") and (base / other).is_file()), None)
        if script is not None:
            _check_owner(script)
    return found


def _check_owner(path: Path) -> None:
    try:
        entries = [(path, path.stat()), (path.parent, path.parent.stat())]
    except OSError as error:
        raise UntrustedProgram(f"cannot run {plain(str(path))}: {error.strerror}", where=str(path)) from error
    for entry, info in entries:
        is_sticky = stat.S_ISDIR(info.st_mode) and bool(info.st_mode & stat.S_ISVTX)
        writable = info.st_mode & (stat.S_IWOTH if _is_own_group(info.st_gid) else stat.S_IWGRP | stat.S_IWOTH)
        if writable and not is_sticky:
            raise UntrustedProgram(
                f"{plain(str(entry))} can be written by others: it is not run",
                where=str(entry),
                hint=f"chmod go-w {plain(str(entry))}",
            )
        if info.st_uid not in (0, os.geteuid()):
            raise UntrustedProgram(
                f"{plain(str(entry))} belongs to another user: it is not run", where=str(entry), hint="own it yourself"
            )


def _is_own_group(gid: int) -> bool:
    """Whether a group holds nobody but us, as Debian makes one for each user: files are group-writable by default there."""
    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return group.gr_name == user.pw_name and set(group.gr_mem) <= {user.pw_name}
