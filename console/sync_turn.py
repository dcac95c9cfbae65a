"""Whose turn it is to sync: an engine that runs does the round, otherwise this process, under the migration's lock and tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backends.errors import CutoverError, UsageError
from backends.plan.models import Plan
from backends.transfer.models import Deletes, Failure, RoundResult, Waiting
from backends.transfer.rounds import SyncReport, SyncRequest, chosen_datasets


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
    from backends.cutover.fold import fold
    from backends.cutover.tokens import check_token
    from backends.engine.journal import read_events
    from backends.engine.lock import StateLock
    from backends.statedir import make_state_dir

    lock = StateLock(folder if request.dry_run else make_state_dir(folder))
    if request.dry_run:
        lock.take_unseen()
    else:
        lock.take("cutover sync")
    try:
        migration = fold(read_events(folder))
        for dataset in chosen_datasets(plan, request):
            check_token(migration.token(dataset.name).writer, dataset.name, request.direction, has_engine=bool(migration.name))

        def barred(dataset: str) -> str:
            from backends.cutover.rules import delete_refusal  # with all steps of a cutover: only where a plan deletes

            refusal = delete_refusal(migration, dataset)
            return refusal.reason if refusal is not None else ""

        yield barred
    finally:
        lock.release()


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
