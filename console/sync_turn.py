"""Whose turn it is to sync: an engine that runs does the round, otherwise this process, under the migration's lock and tokens."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backends.errors import CutoverError, RefusedByRule, UsageError
from backends.escape import plain
from backends.plan.models import Plan
from backends.transfer.merge import first_error
from backends.transfer.models import Deletes, Failure, RoundResult, Waiting
from backends.transfer.rounds import SyncReport, SyncRequest, chosen_datasets
from backends.vocabulary import State
from console.output import tell

if TYPE_CHECKING:
    from backends.cutover.migration import Migration
    from backends.engine.lease import Lease
    from backends.plan.load import CheckedPlan
    from backends.ssh.pool import SshPool

SshChoice = tuple[str | None, str | None]  # another ssh_config, other host keys


def engine_runs(folder: Path) -> bool:
    """Does an engine answer in this folder?"""
    from backends.engine.paths import socket_of

    if not socket_of(folder).exists():
        return False
    from backends.engine.client import answers

    return asyncio.run(answers(folder))


@contextmanager
def our_turn(folder: Path, plan: Plan, request: SyncRequest) -> Iterator[Callable[[str], str]]:
    """Hold the migration's lock, and see that nothing is copied onto the side that writes. Raises `RefusedByRule` (exit 3).

    Gives a function that says of a dataset why nothing of it may be deleted (SR4), "" where it may. A dry run leaves the folder as
    it is.
    """
    from backends.cutover.tokens import check_token
    from backends.engine.lock import StateLock
    from backends.engine.paths import journal_of
    from backends.statedir import make_state_dir

    lock = StateLock(folder if request.dry_run else make_state_dir(folder))
    if request.dry_run:
        lock.take_unseen()
    else:
        lock.take("cutover sync")
    try:
        migration = _migration(folder) if journal_of(folder).exists() else None  # with no journal nothing has to be known of one
        for dataset in chosen_datasets(plan, request):
            writer = migration.token(dataset.name).writer if migration is not None else "legacy"
            check_token(writer, dataset.name, request.direction, has_engine=migration is not None and bool(migration.name))

        def barred(dataset: str) -> str:
            from backends.cutover.rules import delete_refusal  # with all steps of a cutover: only where a plan deletes

            refusal = delete_refusal(migration or _migration(folder), dataset)
            return refusal.reason if refusal is not None else ""

        yield barred
    finally:
        lock.release()


def _migration(folder: Path) -> Migration:
    """As the folder's journal tells it."""
    from backends.cutover.fold import fold
    from backends.engine.journal import read_events

    return fold(read_events(folder))


@asynccontextmanager
async def no_engine_elsewhere(
    folder: Path, checked: CheckedPlan, request: SyncRequest, ssh: SshChoice, pool: SshPool | None
) -> AsyncIterator[None]:
    """See that no engine of another bastion has the migration, which writes what this sync would write, and cut it off as soon as one has.

    `pool`: the connections of the sync, where it has any; else they are made by `ssh`. Raises `RefusedByRule` (LEASE). A place of the lease
    that cannot be asked refuses where a migration has begun here, else it is told.
    """
    from backends.engine.lease_place import place_of, where_of

    plan = checked.plan
    assert plan is not None
    store, host = where_of(plan)
    if request.dry_run or (store is None and host is None):
        yield
        return
    from backends.engine.lease import Holder, Lease, Standing
    from backends.engine.paths import journal_of
    from backends.plan.models import Lease as LeaseSpec
    from console.commands.transfer_bar import plan_pool

    assert isinstance(plan.lease, LeaseSpec)

    def begun() -> tuple[Standing, bool]:
        if not journal_of(folder).exists():
            return Standing(0, "", State.PLANNED.value, False), False
        m = _migration(folder)
        return Standing(m.seq, "", m.state.value, False), bool(m.name)

    standing, has_begun = await asyncio.to_thread(begun)

    async def hash_at(seq: int) -> str | None:
        from backends.engine.journal import hash_in

        return await asyncio.to_thread(hash_in, folder, seq)

    async with plan_pool(plan, checked.base, *ssh) if pool is None else nullcontext(pool) as reached:
        place = place_of(plan, ssh=reached, base=checked.base)
        assert place is not None
        holder = await asyncio.to_thread(Holder.of, folder)
        lease = Lease(place, plan.name, plan.lease.duration, holder, standing=lambda: standing, hash_at=hash_at)
        try:
            await _look(lease, place.text, has_begun=has_begun)
            async with _cut_off_by(lease.until_held()):
                yield
        finally:
            await place.close()


async def _look(lease: Lease, place: str, *, has_begun: bool) -> None:
    try:
        await lease.look()
    except RefusedByRule as error:
        error.hint = f"cutover sync there: that engine does the round; or {error.hint}" if error.hint else ""
        raise
    except (CutoverError, TimeoutError) as error:
        said = f"the lease at {place} cannot be asked: {plain(str(error), 300) or 'no answer in time'}"
        if has_begun:
            hint = "cutover up, which waits for it; `lease: none` in the plan where no other bastion has this migration"
            raise RefusedByRule("LEASE", f"{said}; nobody can say whether an engine elsewhere writes", hint=hint) from error
        tell(f"cutover: {said}; if an engine elsewhere has this migration, stop")


@asynccontextmanager
async def _cut_off_by(watch: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """What is done meanwhile ends with the error of `watch`, where that raises one."""
    try:
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(watch, name="the lease, looked at")
            yield
            watching.cancel()
    except BaseExceptionGroup as errors:
        raise first_error(errors) from errors


def hand_over(folder: Path, plan: Plan, request: SyncRequest, report: SyncReport, *, done: Callable[[RoundResult], None]) -> None:
    """The running engine does the rounds; it follows by itself, so only one round each is asked for."""
    from console.engine import command

    if request.follow:
        raise UsageError("an engine runs and follows by itself", hint="without --follow it does one round now")
    for dataset in chosen_datasets(plan, request):
        args: dict[str, Any] = {"dataset": dataset.name, "direction": request.direction}
        args |= {"dry_run": request.dry_run, "retry_failed": request.retry_failed, "accept_empty": request.accept_empty}
        try:
            answer = command(folder, "sync", args)
        except CutoverError as error:
            if error.exit_code == 3:
                raise
            report.errors[dataset.name] = error
            continue
        for told in answer["datasets"]:
            result = result_of(told)
            report.note(result)
            done(result)


def result_of(told: dict[str, Any]) -> RoundResult:
    """A round's result as the engine told it."""
    parts: dict[str, Any] = {name: tuple(Failure(**f) for f in told[name]) for name in ("failures", "repaired")}
    parts["waiting"] = tuple(Waiting(**w) for w in told["waiting"])
    parts["deletes"] = Deletes(**(told["deletes"] | {"listed": tuple(told["deletes"]["listed"])}))
    return RoundResult(**(told | parts))
