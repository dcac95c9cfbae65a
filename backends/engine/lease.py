"""The lease: one engine a migration, over all machines (cutover.md, section 5). The lock in the state folder does it for one machine.

No clock is compared with another. The holder writes the lease anew each third of its length; it counts as ours until that long after the
*beginning* of the last write that succeeded, less a margin, by the boot clock, which goes on through sleep and SIGSTOP. Who finds another's
lease may take it when it has given it up, when it has not changed for its whole length *as seen from here*, or, typed by an operator, at
once: then nothing is done before the holder's time would be over. Before every effect we ask whether the lease is still ours; who finds
it taken acts no more: it waits for its engine to end. Before the first effect the lease tells of it: who comes next without the journal is
refused from then on, and not only from the next renewal.

A place that cannot be asked stops what moves forward and never a rollback: it may have died with what we roll back from.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import hashlib
import os
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from backends.engine.clock import boot_clock, utc_now
from backends.engine.errors import JournalBroken, LeaseChanged, LeaseElsewhere, LeaseHeld, LeaseUnusable
from backends.engine.lease_place import Lying, Place
from backends.errors import CutoverError, RefusedByRule
from backends.escape import plain

if TYPE_CHECKING:
    from backends.snapshot import LeaseView

ASK_LIMIT = 10.0  # seconds to ask or write at leisure
HURRY = 2.0  # the same while a rollback waits for it
MARGIN = 0.1  # of its length: by so much less the holder believes in it, for clocks that do not run alike
_ASKED_AGAIN = 2  # times
_AGAIN = 0.1  # seconds
LOOKS = 10  # at another's lease while its length passes


class Record(BaseModel):
    """What lies there. Written by an engine of any version, so read with care."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    migration: str = Field(max_length=100)
    holder: str = Field(max_length=100)  # one state folder of one machine
    who: str = Field(max_length=500)  # for people
    pid: int = 0
    epoch: int = 0  # rises when it changes hands
    renewals: int = 0  # so that no two writes are alike
    seconds: float = Field(gt=0, le=3600)
    seq: int = Field(default=0, ge=0)  # the journal's head when it was written
    hash: str = Field(default="", max_length=64)
    state: str = Field(default="", max_length=40)
    has_effects: bool = False  # there is something that a rollback would undo
    released: bool = False
    at: datetime | None = None  # the holder's wall clock: for people


@dataclass(frozen=True, slots=True)
class Holder:
    """One state folder of one machine: an engine that is started again on it has its own lease at once."""

    id: str
    who: str

    @classmethod
    def of(cls, state: Path) -> Holder:
        """By the machine, the folder's path and its inode: a folder that was copied elsewhere is another holder."""
        real, host = state.resolve(), socket.gethostname()
        try:
            machine = Path("/etc/machine-id").read_text().strip()
        except OSError:
            machine = ""
        digest = hashlib.sha256("\0".join((machine, host, str(real), str(real.stat().st_ino))).encode()).hexdigest()
        try:
            user = getpass.getuser()
        except (KeyError, OSError):
            user = str(os.getuid())
        return cls(digest[:24], f"{user}@{host}:{real}"[:500])


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the migration stands, as the lease tells it to who comes next."""

    seq: int
    hash: str
    state: str
    has_effects: bool


class Lease:
    """`take` before anything is done, `run` beside everything, `require` before each effect, `release` at the end."""

    def __init__(
        self,
        place: Place,
        name: str,
        seconds: float,
        holder: Holder,
        *,
        standing: Callable[[], Standing],
        hash_at: Callable[[int], Awaitable[str | None]],
    ) -> None:
        self._place = place
        self._name = name
        self._seconds = seconds
        self._holder = holder
        self._standing = standing
        self._hash_at = hash_at  # of an event of our journal; None where it has none of this number
        self._version: str | None = None
        self._epoch = 0
        self._renewals = 0
        self._until = 0.0  # boot clock: ours up to here
        self._not_before = 0.0  # boot clock: the holder before us may act up to here
        self._failed_at = float("-inf")
        self._asked_at = float("inf")  # boot clock: when the last asking ended
        self._woke_at = float("-inf")  # boot clock: when we found that we had stood still for longer than it lasts
        self._told_effects = False  # what lies there says that there is something to undo
        self._by_name = False
        self._turn = asyncio.Lock()
        self.error = ""
        self.taken_from = ""  # who held it before us, where it was another
        self.gone = asyncio.Event()  # somebody else has it
        self.gone_to = ""

    @property
    def is_held(self) -> bool:
        """Is it ours for certain, now?"""
        return not self.gone.is_set() and boot_clock() < self._until

    @property
    def note(self) -> str:
        """What is wrong with it, in words; empty where it is ours."""
        if self.gone.is_set():
            return f"the lease at {self._place.text} is no longer ours: {self.gone_to}"
        if self.is_held:
            return ""
        return f"the lease at {self._place.text} is not ours for certain ({self.error or 'not renewed in time'}): nothing moves forward"

    def view(self) -> LeaseView:
        from backends.snapshot import LeaseView  # with all that a console shows: nothing for a sync that only looks

        left = max(0.0, self._until - boot_clock()) if self.is_held else None
        return LeaseView(place=self._place.text, held=self.is_held, seconds_left=left, epoch=self._epoch, note=self.note)

    # Taking

    async def take(self, *, by_name: bool = False) -> None:
        """Make it ours. A place that cannot be asked is no reason not to start: `error` says so, and `run` goes on asking.

        `by_name`: an operator has typed the migration's name to take it over. Raises `LeaseHeld`, `LeaseElsewhere`, `JournalBroken`.
        """
        self._by_name = by_name
        async with self._turn:
            try:
                await self._take()
            except (RefusedByRule, JournalBroken):
                raise
            except (CutoverError, TimeoutError) as error:
                self._fail(error)

    async def _take(self) -> None:
        async with asyncio.timeout(ASK_LIMIT):
            await self._place.prepare()
        lying, found = await self._free()
        taken_over = found is not None and not self._is_mine(found)
        began = boot_clock()
        self._epoch = (found.epoch if found is not None else 0) + (1 if taken_over else 0)
        self._renewals = 0 if found is None else found.renewals
        try:
            await self._write(lying.version if lying is not None else None, began)
        except LeaseChanged:
            now = self._parsed(await self._read())
            raise self._held_by(now) from None
        if found is not None and taken_over:
            self.taken_from = found.who
            if not found.released and self._by_name:
                self._not_before = began + found.seconds

    async def _free(self) -> tuple[Lying | None, Record | None]:
        """What lies there, no living engine elsewhere having it, and our journal being the one that it tells of."""
        lying = await self._read()
        found = self._parsed(lying)
        living = False
        if found is not None and not self._is_mine(found) and not found.released and not self._by_name:
            lying, living = await self._watch(found, lying)
            found = self._parsed(lying)
            if living and found is not None:
                raise self._held_by(found)
        if found is not None:
            await self._see_journal(found)
        return lying, found

    async def _watch(self, found: Record, lying: Lying | None) -> tuple[Lying | None, bool]:
        """Look at another's lease for its whole length: what lies there at the end, and whether its holder lives."""
        first, until = lying, boot_clock() + found.seconds
        while boot_clock() < until:
            await asyncio.sleep(min(found.seconds / LOOKS, 1.0))
            lying = await self._read()
            now = self._parsed(lying)
            if now is None or now.released:
                return lying, False
            if first is None or lying is None or lying.version != first.version:
                return lying, True
        return lying, False

    async def _see_journal(self, found: Record) -> None:
        """The lease tells how far the migration's journal had come: ours must hold that, or it is not the one, or its tail is lost."""
        if found.seq == 0 or await self._hash_at(found.seq) == found.hash:
            return
        last = self._standing().seq
        if self._is_mine(found) and last:
            text = f"the journal here ends at event {last}" if found.seq > last else f"event {found.seq} here is another"
            raise JournalBroken(
                f"{text}, but the lease at {self._place.text} knows event {found.seq} of it: its tail is lost",
                where=self._holder.who,
                hint="keep the folder as it is and go by docs/rollback.md, 'The journal is broken'",
            )
        if found.has_effects and not self._by_name:
            raise LeaseElsewhere(self._name, found.who, found.state, found.seq)

    def _held_by(self, found: Record | None) -> LeaseHeld:
        if found is None:
            return LeaseHeld(self._name, "another bastion", self._place.text)
        until = found.at + timedelta(seconds=found.seconds) if found.at is not None else None
        return LeaseHeld(self._name, plain(found.who, 300), self._place.text, until)

    # Looking, without taking

    async def look(self) -> None:
        """See that no engine elsewhere has it. Raises as `take`, and `CutoverError` or `TimeoutError` where the place cannot be asked."""
        await self._free()

    async def until_held(self) -> None:
        """Look again and again, until an engine elsewhere has it: raises `LeaseHeld`. A place that cannot be asked says nothing."""
        before: str | None = None
        while True:
            await asyncio.sleep(self._seconds / 3)
            try:
                lying = await self._read()
                found = self._parsed(lying)
            except (CutoverError, TimeoutError):
                continue
            if found is None or lying is None or self._is_mine(found) or found.released:
                before = None
                continue
            if before is not None and lying.version != before:
                raise self._held_by(found)
            before = lying.version

    # Keeping

    async def run(self) -> None:
        """Renew it each third of its length, until cancelled or taken from us."""
        while not self.gone.is_set():
            await self._keep(min(ASK_LIMIT, self._seconds / 3))
            await asyncio.sleep(self._seconds / 3 if self.is_held else min(self._seconds / 3, 1.0))

    async def _keep(self, limit: float) -> None:
        asked = boot_clock()
        async with self._turn:
            if self.gone.is_set() or self._failed_at > asked:
                return  # who asked before us has the answer
            if boot_clock() - self._asked_at > self._seconds:
                self._woke_at = boot_clock()
            for left in reversed(range(_ASKED_AGAIN + 1)):
                began, is_ours = boot_clock(), self._version is not None
                try:
                    async with asyncio.timeout(limit if is_ours else None):
                        await (self._renew() if is_ours else self._take())
                except (RefusedByRule, JournalBroken) as error:
                    self._lose(error.message)
                except (CutoverError, TimeoutError) as error:
                    # Long past its own limit: we stood still (SIGSTOP, a machine that slept) while it was under way. That says nothing of
                    # the place, and the lease may be another's by now, which takes two thirds of its length from the beginning of a
                    # renewal: a failure would let the way back go on without asking.
                    if is_ours and left and boot_clock() - began > limit + self._seconds / 3:
                        self._woke_at = boot_clock()
                        continue
                    self._fail(error)
                self._asked_at = boot_clock()
                return

    async def _renew(self) -> None:
        began = boot_clock()
        try:
            await self._write(self._version, began)
        except LeaseChanged:
            lying = await self._read()
            found = self._parsed(lying)
            if found is not None and (found.holder, found.epoch) != (self._holder.id, self._epoch):
                self._lose(f"{plain(found.who, 300)} has it since")
                return
            # Nothing is there any more, or a write of ours of which we never heard.
            await self._write(lying.version if lying is not None else None, boot_clock())

    async def _write(self, version: str | None, began: float) -> None:
        self._renewals += 1
        record = self._record(released=False)
        self._version = await self._place.write(record.model_dump_json(), version)
        self._told_effects = record.has_effects
        self._until = began + self._seconds * (1 - MARGIN)
        self.error = ""

    def _record(self, *, released: bool) -> Record:
        at = self._standing()
        return Record(
            migration=self._name, holder=self._holder.id, who=self._holder.who, pid=os.getpid(), epoch=self._epoch,
            renewals=self._renewals, seconds=self._seconds, seq=at.seq, hash=at.hash, state=at.state, has_effects=at.has_effects,
            released=released, at=utc_now(),
        )  # fmt: skip

    async def _read(self) -> Lying | None:
        async with asyncio.timeout(ASK_LIMIT):
            return await self._place.read()

    def _parsed(self, lying: Lying | None) -> Record | None:
        if lying is None:
            return None
        try:
            return Record.model_validate_json(lying.text)
        except ValidationError as error:
            text = f"what lies at {self._place.text} is no lease of ours: {plain(error.errors()[0]['msg'], 200)}"
            raise LeaseUnusable(text, hint="look who writes there; remove it where nobody does") from error

    def _is_mine(self, found: Record) -> bool:
        return found.holder == self._holder.id

    def _fail(self, error: CutoverError | TimeoutError) -> None:
        self.error = plain(str(error), 300) or "no answer in time"
        self._failed_at = boot_clock()

    def _lose(self, reason: str) -> None:
        self.gone_to = reason
        self._until = 0.0
        self.gone.set()

    # Asking

    def refusal(self) -> str:
        """Why nothing may move forward now; empty where it may."""
        return "" if self.is_held else self.note

    async def settled(self) -> None:
        """Wait until the holder before us can act no more."""
        left = self._not_before - boot_clock()
        if left > 0:
            await asyncio.sleep(left)

    async def require(self, way: Literal["forward", "back"]) -> None:
        """Return where an effect may be sent. Where the lease has been taken it never returns: this engine is about to end.

        What leads back goes on where the place cannot be asked; of who stood still for longer than the lease only after it has been asked in
        vain for as long, since another may have brought all home meanwhile. Raises `RefusedByRule` for a forward effect while nobody can
        say whose the lease is.
        """
        await self.settled()
        if (way == "forward" and self._lacks_effects) or (
            not self.is_held and (way == "forward" or boot_clock() - self._failed_at > self._seconds)
        ):
            await self._keep(HURRY)
        while way == "back" and not self.is_held and not self.gone.is_set() and boot_clock() - self._woke_at <= self._seconds:
            await asyncio.sleep(_AGAIN)
            await self._keep(HURRY)
        if self.gone.is_set():
            await asyncio.Event().wait()
        if way == "forward" and (not self.is_held or self._lacks_effects):
            lacking = f"the lease at {self._place.text} cannot be told that there is something to undo ({self.error})"
            raise RefusedByRule("LEASE", self.note or lacking, hint="it is asked for again and again")

    @property
    def _lacks_effects(self) -> bool:
        """Is there something to undo, of which what lies there does not tell yet?"""
        return self._standing().has_effects and not self._told_effects

    async def release(self) -> None:
        """Give it up, so that who comes next need not wait; best effort."""
        if self._version is None or self.gone.is_set():
            return
        with contextlib.suppress(CutoverError, TimeoutError):
            async with asyncio.timeout(HURRY):
                self._renewals += 1
                await self._place.write(self._record(released=True).model_dump_json(), self._version)
        self._until = 0.0
