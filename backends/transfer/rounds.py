"""Rounds of several datasets: one each, or again and again until stopped. What `cutover sync` runs without an engine.

The caller has seen to the migration's lock and the writer tokens before: nothing here asks for them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from backends.errors import CouldNot, CutoverError, RefusedByRule, UsageError
from backends.plan.models import Dataset, Plan
from backends.transfer.merge import first_error
from backends.transfer.models import Direction, Progress, RoundResult
from backends.transfer.session import FOLLOW_SECONDS, TransferSession

if TYPE_CHECKING:
    from backends.ssh.pool import SshPool

AT_ONCE = 8  # datasets side by side


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """What to sync. No `dataset`: all of the plan; in reverse, those that the plan lets go back."""

    dataset: str | None = None
    direction: Direction = "forward"
    follow: bool = False
    dry_run: bool = False
    retry_failed: bool = False
    accept_empty: bool = False


@dataclass(slots=True)
class SyncReport:
    """What has been done so far, by dataset; `errors` has those whose last round could not be done."""

    results: dict[str, RoundResult] = field(default_factory=dict)
    errors: dict[str, CutoverError] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0 good, 1 an object failed, else the code of the first round that could not be done."""
        for error in self.errors.values():
            return error.exit_code
        return 1 if any(result.failed for result in self.results.values()) else 0

    def note(self, result: RoundResult) -> None:
        """A round has ended. Deletes that `max_delete` forbids are a refusal, whatever else came of it."""
        self.errors.pop(result.dataset, None)
        self.results[result.dataset] = added_up(self.results.get(result.dataset), result)
        if (refused := delete_refused(result)) is not None:
            self.errors[result.dataset] = refused

    def put_in_order(self, names: Iterable[str]) -> None:
        """Rounds that ran side by side are told in the order of the plan."""
        order = list(names)
        self.results = {name: self.results[name] for name in order if name in self.results}
        self.errors = {name: self.errors[name] for name in order if name in self.errors}


def delete_refused(result: RoundResult) -> RefusedByRule | None:
    """The refusal of a round that would have deleted more than the plan allows."""
    if result.deletes.rule != "MAX_DELETE":
        return None
    hint = "nothing was deleted; see what would go with --dry-run --json, then raise transfer.max_delete if that is meant"
    return RefusedByRule("MAX_DELETE", f"dataset {result.dataset}: {result.deletes.reason}", hint=hint)


def chosen_datasets(plan: Plan, request: SyncRequest) -> tuple[Dataset, ...]:
    """The datasets of this request, in plan order. Raises `UsageError` where there is none."""
    if request.dataset is not None:
        found = tuple(d for d in plan.datasets if d.name == request.dataset)
        known = ", ".join(d.name for d in plan.datasets) or "none"
        if not found:
            raise UsageError(f"the plan has no dataset {request.dataset}", where="--dataset", hint=f"its datasets: {known}")
        return found
    found = tuple(d for d in plan.datasets if request.direction == "forward" or d.reverse)
    if not found:
        what = "no dataset" if request.direction == "forward" else "no dataset with reverse: true"
        raise UsageError(f"the plan has {what}", where="datasets")
    return found


async def run_rounds(
    plan: Plan,
    base: Path,
    state: Path,
    ssh: SshPool | None,
    request: SyncRequest,
    report: SyncReport,
    *,
    progress: Mapping[str, Progress] | None = None,
    done: Callable[[RoundResult], None] = lambda result: None,
    failed: Callable[[str, CutoverError], None] = lambda dataset, error: None,
    delete_barred: Callable[[str], str] = lambda dataset: "the migration is not committed",
) -> None:
    """Run the rounds of `request`, datasets side by side, writing into `report` as they end; one that fails does not keep the others.

    `delete_barred` says by dataset why nothing may be deleted, "" where it may. With `follow` it runs until it is cancelled, a
    dataset every `follow` of the plan; a round that could not be done is told to `failed` and tried again at the next.
    """
    shown = progress or {}
    session = TransferSession(plan, base, state, ssh, look_only=request.dry_run, delete_barred=delete_barred)
    turns = asyncio.Semaphore(AT_ONCE)
    async with session:

        async def one(dataset: Dataset) -> RoundResult | None:
            try:
                async with turns:
                    result = await session.round(
                        dataset.name,
                        request.direction,
                        progress=shown.get(dataset.name),
                        dry_run=request.dry_run,
                        retry_failed=request.retry_failed,
                        accept_empty=request.accept_empty,
                        following=request.follow,
                    )
            except (CouldNot, TimeoutError) as error:
                ours = error if isinstance(error, CutoverError) else CouldNot(f"dataset {dataset.name}: timed out")
                report.errors[dataset.name] = ours
                failed(dataset.name, ours)
                return None
            report.note(result)
            done(result)
            return result

        async def follow(dataset: Dataset) -> None:
            while True:
                result = await one(dataset)
                if result is None or not result.was_cut:
                    await asyncio.sleep(dataset.follow or FOLLOW_SECONDS)

        datasets = chosen_datasets(plan, request)
        try:
            async with asyncio.TaskGroup() as group:
                for dataset in datasets:
                    group.create_task(follow(dataset) if request.follow else one(dataset))
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors
        finally:
            report.put_in_order(dataset.name for dataset in datasets)


def added_up(before: RoundResult | None, last: RoundResult) -> RoundResult:
    """Figures of a run of several rounds: what was done is summed, what is true now is the last round's."""
    if before is None:
        return last
    return replace(
        last,
        copied=before.copied + last.copied,
        deleted=before.deleted + last.deleted,
        bytes=before.bytes + last.bytes,
        seconds=before.seconds + last.seconds,
        proofs=dict(Counter(before.proofs) + Counter(last.proofs)),
        repaired=before.repaired + last.repaired,
        resent_bytes=before.resent_bytes + last.resent_bytes,
        compared=before.compared + last.compared,
        vanished=before.vanished + last.vanished,
        aborted_uploads=before.aborted_uploads + last.aborted_uploads,
    )
