"""Both sides of a dataset, proven equal object by object.

An object of which both stores keep a checksum, and that is what the copy left (identities as in the index), is proven by
these checksums, or by those that the checksums of its parts combine to. Any other is read again on both sides and compared: trees always are, since they keep none. Size alone
proves nothing. Nothing is written but the report.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from backends.errors import CouldNot
from backends.stores.base import ObjectInfo, Store
from backends.stores.errors import ObjectMissing, SourceChanged
from backends.transfer.copier import reason_of
from backends.transfer.evidence import Evidence, Finding
from backends.transfer.exclude import excluder
from backends.transfer.in_a_row import InARow
from backends.transfer.index import Index, Row
from backends.transfer.merge import Pair, first_error, merge_listings
from backends.transfer.models import Progress, RoundOptions
from backends.transfer.passage import Passage
from backends.transfer.sums import common_checksum

ProblemKind = Literal["differs", "missing", "extra", "unreadable"]
_TRIES = 3
_Job = tuple[ObjectInfo | None, ObjectInfo | None, Row | None]


@dataclass(frozen=True, slots=True)
class Problem:
    key: str
    problem: ProblemKind
    reason: str = ""


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """`checked` objects of either side were looked at, `equal` of them are the same on both."""

    dataset: str
    checked: int
    equal: int
    problems: tuple[Problem, ...]


async def verify_dataset(
    dataset: str,
    source: Store,
    target: Store,
    index: Index,
    *,
    re_read: bool,
    report: Path | None,
    append: bool = False,
    options: RoundOptions | None = None,
    progress: Progress | None = None,
) -> VerifyResult:
    """Compare all of `source` (legacy) with all of `target`. Raises `ListingFailed` when a side cannot be listed to its end.

    `report` gets a line an object, `append` keeps what it has.
    """
    options, progress = options or RoundOptions(), progress or Progress()
    passage = Passage.of(dataset, source, target, index, options, progress)
    async with Evidence(report, dataset, append=append) as evidence:
        return await Verification(passage, options, evidence, re_read=re_read).run()


class Verification:
    """One verification's state."""

    def __init__(self, passage: Passage, options: RoundOptions, evidence: Evidence, *, re_read: bool) -> None:
        self._passage = passage
        self._options = options
        self._evidence = evidence
        self._re_read = re_read
        self._queue: asyncio.Queue[_Job | None] = asyncio.Queue(4 * options.parallel)
        self._problems: list[Problem] = []
        self._checked = 0
        self._in_a_row = InARow(options.parallel)

    async def run(self) -> VerifyResult:
        p, progress = self._passage, self._passage.progress
        progress.status, progress.is_listed = "verifying", False
        left_out = excluder(self._options.exclude)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._options.parallel):
                    group.create_task(self._worker())
                await merge_listings(p.source, p.target, self._hand_out, left_out=left_out)
                progress.is_listed = True
                for _ in range(self._options.parallel):
                    await self._queue.put(None)
        except BaseExceptionGroup as errors:
            raise first_error(errors) from errors
        for skipped in (*p.source.skipped, *p.target.skipped):
            if not left_out(skipped.key):
                await self._tell(Finding(skipped.key, "unreadable", "listing", reason=skipped.reason))
        problems = tuple(sorted(self._problems, key=lambda problem: problem.key))
        progress.status = "failed" if problems else "in sync"
        return VerifyResult(p.dataset, self._checked, self._checked - len(problems), problems)

    async def _hand_out(self, pairs: list[Pair]) -> None:
        keys = [_key_of(pair) for pair in pairs]
        rows = await self._passage.index.rows_between(self._passage.dataset, keys[0], keys[-1])
        self._passage.progress.objects_total += len(pairs)
        for key, (source, target) in zip(keys, pairs, strict=True):
            await self._queue.put((source, target, rows.get(key)))

    async def _worker(self) -> None:
        while (job := await self._queue.get()) is not None:
            source, target, row = job
            key = _key_of((source, target))
            try:
                finding = await self._look(key, source, target, row)
            except (CouldNot, TimeoutError) as error:
                reason = reason_of(error) if isinstance(error, CouldNot) else "timed out"
                finding = Finding(key, "unreadable", "re_read", reason=reason)
                if self._in_a_row.failed(error):
                    raise
            else:
                self._in_a_row.worked()
            if finding is not None:
                await self._tell(finding)

    async def _tell(self, finding: Finding) -> None:
        self._checked += 1
        self._passage.progress.objects_done += 1
        self._passage.progress.bytes_done += finding.size or 0
        if finding.verdict != "equal":
            kind: ProblemKind = finding.verdict  # type: ignore[assignment]
            self._problems.append(Problem(finding.key, kind, finding.reason))
            self._passage.progress.failed += 1
        await self._evidence.add(finding)

    async def _look(self, key: str, source: ObjectInfo | None, target: ObjectInfo | None, row: Row | None) -> Finding | None:
        """One object; None when it has gone from both sides since it was listed."""
        p, error = self._passage, None
        for _ in range(_TRIES):
            if source is None or target is None:
                return _one_sided(key, source, target)
            try:
                return await self._compare(source, target, row)
            except (SourceChanged, ObjectMissing) as changed:
                error = changed
            source = await p.call(lambda: p.source.head(key))
            target = await p.call(lambda: p.target.head(key))
        reason = reason_of(error) if error else ""
        return Finding(key, "unreadable", "re_read", reason=reason)

    async def _compare(self, source: ObjectInfo, target: ObjectInfo, row: Row | None) -> Finding:
        key, p = source.key, self._passage
        if source.size != target.size:
            return Finding(key, "differs", "size", source.size, "size", str(source.size), str(target.size))
        if not self._re_read and p.source.capabilities.stored_checksum and p.target.capabilities.stored_checksum:
            finding = await self._by_stored(source, target, row)
            if finding is not None:
                return finding
        left = await p.read_sums(p.source, source)
        right = await p.read_sums(p.target, target)
        verdict = "equal" if left == right else "differs"
        return Finding(key, verdict, "re_read", source.size, "crc64nvme", left.crc64nvme, right.crc64nvme)

    async def _by_stored(self, source: ObjectInfo, target: ObjectInfo, row: Row | None) -> Finding | None:
        """By what both stores keep; None where that does not prove it."""
        p = self._passage
        if row is None or (row.legacy_id, row.target_id) != (source.identity, target.identity):
            return None
        left = await p.call(lambda: p.source.head(source.key))
        right = await p.call(lambda: p.target.head(source.key))
        if left is None or right is None:
            raise ObjectMissing(f"{source.key} has gone since it was listed")
        if (left.identity, right.identity) != (source.identity, target.identity):
            raise SourceChanged(f"{source.key} has changed since it was listed")
        common, method = common_checksum(left.checksums, right.checksums), "stored_checksums"
        if common is None:
            left, right = await p.joined(p.source, left), await p.joined(p.target, right)
            common, method = common_checksum(left.checksums, right.checksums), "combined_parts"
        if common is None:
            return None
        algorithm, mine, theirs = common
        verdict = "equal" if mine == theirs else "differs"
        return Finding(source.key, verdict, method, source.size, algorithm, mine, theirs)


def _key_of(pair: Pair) -> str:
    info = pair[0] or pair[1]
    assert info is not None
    return info.key


def _one_sided(key: str, source: ObjectInfo | None, target: ObjectInfo | None) -> Finding | None:
    if source is None and target is None:
        return None
    if source is None:
        return Finding(key, "extra", "listing", target.size if target else None)
    return Finding(key, "missing", "listing", source.size)
