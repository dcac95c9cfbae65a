"""Backups taken when staging begins, restored from on trial, looked at again while the migration lasts, and removed when there are newer ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from backends.cutover.backups import is_late, late_words, surplus, usable, wants_taking, wants_trying
from backends.cutover.events import Kind
from backends.cutover.migration import BackupFold
from backends.cutover.preflight import BACKUP, Proof
from backends.engine.desk import Desk
from backends.engine.failpoints import failpoint
from backends.errors import CouldNot, CutoverError, RefusedByRule, UsageError
from backends.escape import plain
from backends.plan.backups import Backup
from backends.transfer.backup import Places, Taken, look, manifest_sum, take, try_restoring
from backends.transfer.errors import BackupBroken
from backends.transfer.models import Failure
from backends.transfer.restore import Extent, choose, restore, restore_steps, restored_words, stamp_of
from backends.transfer.retention import remove, require_ours
from backends.vocabulary import State

IDLE = 0.5
AGAIN = 30.0  # seconds after something failed
SELDOM = 600.0
SHOWN = 100  # keys that an answer names
LOOK_LIMIT = 3600.0
OVER = (State.ROLLED_BACK, State.DECOMMISSIONED)


class Backups:
    """All backups of the plan."""

    def __init__(self, engine: Desk) -> None:
        self._engine = engine
        self._specs = {b.dataset: b for b in engine.plan.backups}
        self._turns = {name: asyncio.Lock() for name in self._specs}
        self._due: dict[str, float] = dict.fromkeys(self._specs, 0.0)  # monotonic: not before
        self._kept: dict[tuple[str, int], float] = {}  # could not be removed: monotonic, not before
        self._restoring: set[asyncio.Future[Any]] = set()  # what an operator has asked for
        self._seen: dict[str, tuple[bool | None, str, float]] = {}  # what the last look found, and when (observed)

    async def run(self) -> None:
        """Take, try and watch, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name in self._specs:
                group.create_task(self._watch(name), name=f"backup {name}")

    async def _watch(self, name: str) -> None:
        while True:
            engine, now = self._engine, time.monotonic()
            if engine.is_going_back:
                for task in self._restoring:
                    task.cancel()
            if not engine.recovering and not engine.is_going_back and now >= self._due[name]:
                await self._next(name)
            self._show(name)
            await asyncio.sleep(IDLE)

    async def _next(self, name: str) -> None:
        """What is due of one backup now, if anything."""
        spec, m, now = self._specs[name], self._engine.migration, self._engine.world.wall_now()
        if wants_taking(spec, m, now):
            await self._guarded(name, "taken")
        elif wants_trying(spec, m, now) or (name in m.backups and m.state not in OVER and self._is_look_due(name)):
            await self._guarded(name, "tried")
        elif not self._restoring:
            for old in surplus(spec, m):
                if time.monotonic() >= self._kept.get((name, old.number), 0.0):
                    return await self._remove(name, old)

    def _is_look_due(self, name: str) -> bool:
        seen = self._seen.get(name)
        return seen is None or seen[0] is None or self._engine.observed_now() - seen[2] >= SELDOM

    async def _guarded(self, name: str, what: str) -> None:
        """A failure is shown at the gate, and tried again in a while."""
        errors = self._engine.world.backup_errors
        try:
            async with self._turns[name]:
                await (self._take(name) if what == "taken" else self._look(name))
            errors.pop(name, None)
        except (CutoverError, TimeoutError, OSError) as error:
            said = error.message if isinstance(error, CutoverError) else str(error) or "no answer in time"
            hint = f" ({error.hint})" if isinstance(error, CutoverError) and error.hint else ""
            errors[name] = f"it could not be {what}: {plain(said, 500)}{plain(hint, 300)}"
            self._seen[name] = (None, f"could not be {what}: {plain(said, 300)}", self._engine.observed_now())
            self._due[name] = time.monotonic() + AGAIN
        self._engine.touch()

    async def take_now(self, name: str) -> BackupFold:
        """Because an operator asks: take it anew, and try it. Raises `CutoverError`."""
        self._spec(name)
        writer = self._engine.migration.token(name).writer
        if writer != "legacy":
            text = f"{writer} writes {name}: what legacy holds of it is a copy, and would be backed up in the making"
            raise RefusedByRule("SR2", text, hint="a backup is of legacy while legacy writes")
        async with self._turns[name]:
            await self._take(name)
            await self._look(name)
        self._engine.world.backup_errors.pop(name, None)
        self._show(name)
        return self._engine.migration.backups[name]

    async def _take(self, name: str) -> None:
        spec, last = self._specs[name], self._engine.migration.backups.get(name)
        number = last.number + 1 if last is not None else 1
        failpoint("backup.before-taken")
        async with self._engine.world.session.backup_places(spec, number) as places:
            if spec.command is not None and places.place is not None:
                await places.place.prepare()
                await self._run_command(spec, places.place.url, number)
            taken = await take(places)
        failpoint("backup.after-copied")
        await self._engine.record(Kind.BACKUP_TAKEN, _told(spec, number, taken))
        failpoint("backup.after-taken")
        self._seen.pop(name, None)

    async def _run_command(self, spec: Backup, place: str, number: int) -> None:
        argv = [word.replace("{place}", place).replace("{number}", str(number)) for word in spec.command or ()]
        child = await self._engine.world.children.run(argv, cwd=self._engine.base, timeout=spec.timeout)
        if child.exit_status != 0:
            said = plain((child.stderr.strip() or child.stdout.strip())[:200])
            raise CouldNot(f"`{plain(argv[0], 80)}` ended with {child.exit_status}: {said}", where=f"backups: {spec.dataset}")

    async def _look(self, name: str) -> None:
        """Read a sample back; before it counts as tried, restore one on trial. Journaled where the outcome has changed."""
        held = self._engine.migration.backups[name]
        async with (
            asyncio.timeout(LOOK_LIMIT),
            self._engine.world.session.backup_places(self._specs[name], held.number) as places,
        ):
            good, text = await _seen(places, held)
        if held.good is not good:
            data = {"dataset": name, "number": held.number, "good": good, "text": text}
            await self._engine.record(Kind.BACKUP_TRIED, data)
            failpoint("backup.after-tried")
        self._seen[name] = (good, text, self._engine.observed_now())

    async def _remove(self, name: str, old: BackupFold) -> None:
        """It counts no longer before the first of its objects goes. What keeps it from being removed is told once, and tried again seldom."""
        engine, told = self._engine, {"dataset": name, "number": old.number}
        try:
            await engine.world.leased("forward")
            async with engine.world.session.backup_places(self._specs[name], old.number) as places:
                await require_ours(places, old.sum, old.where)
                if not old.ends:
                    await engine.record(Kind.BACKUP_ENDING, told | {"where": old.where})
                failpoint("backup.after-ending")
                done = await remove(places)
                failpoint("backup.after-deleted")
                await engine.record(Kind.BACKUP_REMOVED, told | {"objects": done.objects, "bytes": done.bytes, "left": done.left})
                failpoint("backup.after-removed")
                await places.index.forget_objects(places.manifest)
        except (CutoverError, TimeoutError) as error:
            if (name, old.number) not in self._kept:
                said = error.message if isinstance(error, CutoverError) else "no answer in time"
                await engine.record(
                    Kind.NOTE, {"text": f"backup {old.number} of {plain(name)} could not be removed: {plain(said, 300)}"}
                )
            self._kept[name, old.number] = time.monotonic() + SELDOM

    async def restore(self, name: str, number: int | None, extent: Extent, *, actor: str, dry_run: bool) -> dict[str, Any]:
        """Because an operator asks: restore from the last backup, or this one, what is damaged on legacy, or all of it. A rollback takes
        precedence: it cuts this off, and what is not done by then is not. Raises `CutoverError`."""
        spec, engine = self._spec(name), self._engine
        held = usable(engine.migration, name, number)
        if held is None:
            what = f"backup {number} of {plain(name)}" if number is not None else f"backup of {plain(name)}"
            raise RefusedByRule("STATE", f"there is no {what} whose trial was good", hint="cutover status, cutover backup")
        if engine.is_going_back or engine.is_moving:
            raise RefusedByRule("BUSY", "another operation is in flight", hint="wait for its end")
        task = asyncio.ensure_future(self._restore(spec, held, extent, actor, dry_run))
        self._restoring.add(task)
        try:
            return await task
        except asyncio.CancelledError:
            if task.cancel() or not engine.is_going_back:
                raise
            raise RefusedByRule("SR6", "a rollback has taken precedence", hint="run it again after the rollback") from None
        finally:
            self._restoring.discard(task)

    async def _restore(self, spec: Backup, held: BackupFold, extent: Extent, actor: str, dry_run: bool) -> dict[str, Any]:
        name, session = spec.dataset, self._engine.world.session
        async with self._engine.world.alone(name), session.backup_places(spec, held.number) as places:
            if (await manifest_sum(places))[2] != held.sum:
                raise BackupBroken(f"the manifest of backup {held.number} of {name} is not the one that was taken")
            problems = () if extent == "whole" else (await session.verify(name)).problems
            choice = await choose(places, extent, problems)
            told: dict[str, Any] = {"dataset": name, "number": held.number, "extent": extent}
            if dry_run:
                shown = {"steps": restore_steps(places, choice), "objects": len(choice.rows), "bytes": choice.bytes}
                return told | shown | {"keys": list(choice.rows)[:SHOWN], "left": _left(choice.left)}
            failpoint("restore.before-staged")
            done = await restore(places, choice, stamp_of(self._engine.world.wall_now()), failpoint)
        told |= {"objects": len(done.keys), "bytes": done.bytes, "keys": list(done.keys[:SHOWN]), "left": _left(done.left)}
        told |= {"aside": done.aside, "text": restored_words(done)}
        await self._engine.record(Kind.BACKUP_RESTORED, told, actor=actor)
        failpoint("restore.after-told")
        return told

    def _spec(self, name: str) -> Backup:
        if name not in self._specs:
            known = ", ".join(self._specs) or "none"
            raise UsageError(f"the plan has no backup of {plain(name)}", hint=f"it has of: {known}")
        return self._specs[name]

    def _show(self, name: str) -> None:
        """The look as an item of preflight: later it lowers the readiness of a rollback."""
        held, seen, world = self._engine.migration.backups.get(name), self._seen.get(name), self._engine.world
        if seen is None:
            return
        good, text, at = seen
        now = world.wall_now()
        by_legacy = self._engine.migration.token(name).writer == "legacy"
        if good and by_legacy and held is not None and is_late(self._specs[name], held, now):
            good, text = False, late_words(self._specs[name], held, now)
        cure = f"cutover backup {name} takes it anew"
        world.proofs[f"{BACKUP}{name}"] = Proof(good, plain(text, 300), cure, at, needed=False)


async def _seen(places: Places, held: BackupFold) -> tuple[bool, str]:
    try:
        text = await look(places, held.sum)
        if held.good is not True:
            text = f"{text}; {await try_restoring(places)}"
    except BackupBroken as error:
        return False, error.message
    return True, text


def _left(left: Iterable[Failure]) -> list[dict[str, str]]:
    return [{"key": plain(f.key, 300), "reason": plain(f.reason, 300)} for f in left][:SHOWN]


def _told(spec: Backup, number: int, taken: Taken) -> dict[str, object]:
    told: dict[str, object] = {"dataset": spec.dataset, "number": number, "kind": spec.kind, "objects": taken.objects}
    return told | {"bytes": taken.bytes, "where": taken.where, "sum": taken.sum}
