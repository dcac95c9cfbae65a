"""Who is at the other end of the socket: the peer's uid as the kernel tells it, its name, and what it may do here.

The uid is verified (SO_PEERCRED). The name that a client gives of itself beside it is not, and is shown so: people who share a uid are
told apart by nothing else.
"""

from __future__ import annotations

import grp
import os
import pwd
import socket
import struct
from dataclasses import dataclass
from typing import Literal

from aiohttp import web

from backends.errors import CouldNot
from backends.escape import plain
from backends.plan.models import Plan

Role = Literal["acts", "observes", "none"]
NAMED = "X-Cutover-Actor"  # the header with the name that a client gives of itself


@dataclass(frozen=True, slots=True)
class Caller:
    """`uid` is verified, `user` its account's name, `said` an unverified name; `gid` the peer's primary group."""

    uid: int
    user: str
    said: str = ""
    gid: int = -1

    @property
    def text(self) -> str:
        """As it stands in the journal and on screens: `ops`, or `ops (alice, unverified)`."""
        return f"{self.user} ({self.said}, unverified)" if self.said else self.user

    @property
    def person(self) -> str:
        """What tells people of one uid apart."""
        return self.said or self.user

    def as_data(self) -> dict[str, object]:
        return {"uid": self.uid, "user": self.user, "said": self.said}


def caller_of(request: web.Request) -> Caller:
    """Who sent this request. A uid of -1 means that it cannot be told."""
    uid, gid = peer_of(request)
    user = user_of(uid)
    said = plain(request.headers.get(NAMED, "").strip(), 40)
    return Caller(uid, user, said if said != user else "", gid)


def peer_of(request: web.Request) -> tuple[int, int]:
    """uid and primary gid of who is at the other end of the socket; -1 where they cannot be told."""
    sock = request.transport.get_extra_info("socket") if request.transport is not None else None
    if sock is None:
        return -1, -1
    raw = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, gid = struct.unpack("3i", raw)
    return int(uid), int(gid)


def user_of(uid: int) -> str:
    """The account's name, `uid 4711` where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


class Roles:
    """Who may do what, by the plan: the owner and root act; of the `operators_group` who is listed in `operators.acts` acts, every other
    member observes. Without a group nobody else is let in. Accounts are looked up once, when it is made."""

    def __init__(self, plan: Plan, owner: int | None = None) -> None:
        self._owner = os.getuid() if owner is None else owner
        self.gid = group_id(plan.operators_group) if plan.operators_group else None
        self._members = set(grp.getgrgid(self.gid).gr_mem) if self.gid is not None else set()
        self._acts = {str(name) for name in plan.operators.acts}
        self._observes = {str(name) for name in plan.operators.observes}

    def of(self, caller: Caller) -> Role:
        """What this caller may do."""
        if caller.uid in (self._owner, 0):
            return "acts"
        if self.gid is None or caller.uid < 0:
            return "none"
        names = {caller.user, str(caller.uid)}
        if caller.gid != self.gid and caller.user not in self._members:
            return "none"
        if names & self._observes:
            return "observes"
        return "acts" if names & self._acts else "observes"


def group_id(name: str) -> int:
    """The gid of a group of this machine. Raises `CouldNot`."""
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise CouldNot(
            f"this machine has no group {plain(name, 60)}", where="operators_group", hint="groupadd, or another name"
        ) from None
