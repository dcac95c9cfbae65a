"""What runs on target and still points at legacy: environments and command lines of its processes, read on the hosts. Values never leave them: only the
name of the variable and which text of legacy was found."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backends.errors import CouldNot
from backends.escape import plain
from backends.plan.models import Plan
from backends.reconfigure.mapping import Mapping

if TYPE_CHECKING:
    from backends.ssh.pool import SshPool

AT_ONCE = 32
LIMIT = 30.0
_MOST = 200  # told of a host

# Standard library only; runs by the host's own python3, nothing is written there.
_PROGRAM = r"""
import json, os, re, sys
needles = [(kind, text, re.compile(pattern)) for kind, text, pattern in json.load(sys.stdin)]
found, unseen = [], 0
for pid in os.listdir("/proc"):
    if not pid.isdigit() or int(pid) == os.getpid():
        continue
    try:
        comm = open("/proc/%s/comm" % pid, errors="replace").read().strip()
        args = open("/proc/%s/cmdline" % pid, "rb").read().decode("utf-8", "replace")
        env = open("/proc/%s/environ" % pid, "rb").read().decode("utf-8", "replace")
    except PermissionError:
        unseen += 1
        continue
    except OSError:
        continue
    for pair in env.split("\0"):
        name, _, value = pair.partition("=")
        for kind, text, pattern in needles:
            if pattern.search(value):
                found.append([int(pid), comm, name, kind, text])
    for kind, text, pattern in needles:
        if pattern.search(args.replace("\0", " ")):
            found.append([int(pid), comm, "", kind, text])
print(json.dumps({"found": found[:2000], "unseen": unseen}))
"""


@dataclass(frozen=True, slots=True)
class Running:
    """A process; `variable` is empty where it is the command line."""

    host: str
    pid: int
    command: str
    variable: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class HostSeen:
    host: str
    found: tuple[Running, ...] = ()
    unseen: int = 0  # processes of others, whose environment we may not read
    error: str = ""


async def look_at_hosts(plan: Plan, mapping: Mapping, pool: SshPool) -> list[HostSeen]:
    """Each host of target. Raises nothing: a host that cannot be asked says why."""
    # By stdin: on a command line the search would find itself.
    asked = json.dumps([[n.kind, n.text, n.pattern.pattern] for n in mapping.needles]).encode()
    turns = asyncio.Semaphore(AT_ONCE)

    async def one(host: str) -> HostSeen:
        async with turns:
            try:
                result = await pool.run(host, ["python3", "-c", _PROGRAM], input=asked, timeout=LIMIT)
            except CouldNot as error:
                return HostSeen(host, error=error.message)
        if result.exit_status != 0:
            return HostSeen(
                host,
                error=plain(result.stderr[-200:].decode("utf-8", "replace") or f"python3 ended with {result.exit_status}", 200),
            )
        return _seen(host, result.stdout)

    return list(await asyncio.gather(*(one(h.name) for h in plan.target.hosts if h.address != "local")))


def _seen(host: str, raw: bytes) -> HostSeen:
    try:
        told = json.loads(raw.strip().splitlines()[-1])
        found = [
            Running(host, int(pid), plain(str(comm), 60), plain(str(name), 120), plain(str(kind), 20), plain(str(what), 200))
            for pid, comm, name, kind, what in told["found"]
        ]
        return HostSeen(host, tuple(found[:_MOST]), int(told["unseen"]))
    except (ValueError, KeyError, TypeError, IndexError) as error:
        return HostSeen(host, error=f"its answer cannot be read: {type(error).__name__}")
