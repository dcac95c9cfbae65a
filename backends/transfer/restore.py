"""Objects of legacy restored from a backup: into a side place, compared there, what legacy holds kept aside, written over exactly that, read back.

Each of these is a round of its own over the keys in question, so that all of it may be begun again wherever it was cut off: what was
restored by then is equal and is not looked for again. An object that changes under it is left, and told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal

from backends.errors import CouldNot
from backends.escape import plain
from backends.stores.base import ObjectInfo, Store
from backends.transfer.backup import Places, stage
from backends.transfer.copier import reason_of
from backends.transfer.index import Row
from backends.transfer.models import Failure, Progress
from backends.transfer.passage import Passage
from backends.transfer.round import sync_round
from backends.transfer.verify import Problem
from backends.transfer.views import OnlyOver, TheseKeys

# unwritten: what nobody shows to have written on legacy since it was proven to be what the backup has, as a disk damages it. damaged: all
# that differs on legacy where backup and target agree. whole: all that legacy lacks or has otherwise than the backup.
Extent = Literal["unwritten", "damaged", "whole"]
_PAGE = 1000


@dataclass(slots=True)
class Choice:
    """What is to be restored. `seen`: what stands on legacy now, by key; None where nothing does. `left`: what differs and stays, and why."""

    rows: dict[str, Row] = field(default_factory=dict)
    seen: dict[str, str | None] = field(default_factory=dict)
    left: list[Failure] = field(default_factory=list)

    @property
    def bytes(self) -> int:
        return sum(row.size for row in self.rows.values())

    def take(self, row: Row, legacy: ObjectInfo | None) -> None:
        self.rows[row.key] = row
        self.seen[row.key] = None if legacy is None else legacy.identity

    def leave(self, key: str, reason: str) -> None:
        """It stays as it is."""
        self.rows.pop(key, None)
        self.seen.pop(key, None)
        self.left.append(Failure(key, reason))


@dataclass(frozen=True, slots=True)
class Restored:
    """Keys that are on legacy again, what was left and why, and where what stood there before is kept ("" where nothing did)."""

    keys: tuple[str, ...]
    bytes: int
    left: tuple[Failure, ...]
    aside: str = ""


async def choose(places: Places, extent: Extent, problems: Iterable[Problem] = ()) -> Choice:
    """What to restore, changing nothing. `problems` are those of a comparison of both sides; a whole restore needs none."""
    chooser = _Chooser(places)
    if extent == "whole":
        await chooser.whole()
    else:
        for problem in problems:
            if problem.problem != "missing":
                await chooser.one(problem, unwritten_only=extent == "unwritten")
    return chooser.choice


class _Chooser:
    def __init__(self, places: Places) -> None:
        self.choice = Choice()
        self._places = places
        self._legacy = places.passage(places.legacy, f"{places.dataset}#restore")
        self._target = places.passage(places.target, f"{places.dataset}#restore")

    async def one(self, problem: Problem, *, unwritten_only: bool) -> None:
        places, key = self._places, problem.key
        row = await places.index.row(places.manifest, key)
        if row is None:
            self.choice.leave(key, "it is not in the backup")
            return
        if not await _holds(self._target, row):
            self.choice.leave(key, "target has not what the backup has: written since, or damaged there")
            return
        legacy = await self._legacy.call(lambda: places.legacy.head(key))
        if unwritten_only and not await self._is_unwritten(row, legacy):
            self.choice.leave(
                key, f"written on legacy, or gone from there, since: cutover restore {places.dataset}, if that is meant"
            )
            return
        self.choice.take(row, legacy)

    async def _is_unwritten(self, row: Row, legacy: ObjectInfo | None) -> bool:
        """Does legacy's object look as it did when it was proven to be what the backup has?"""
        if legacy is None:
            return False
        known = await self._places.index.row(self._places.dataset, row.key)
        if known is not None and known.legacy_id == legacy.identity and known.crc64nvme == row.crc64nvme:
            return True
        return row.legacy_id == legacy.identity

    async def whole(self) -> None:
        places, after = self._places, ""
        while rows := await places.index.rows_after(places.manifest, after, _PAGE):
            for row in rows:
                legacy = await self._legacy.call(lambda key=row.key: places.legacy.head(key))  # type: ignore[misc]
                if legacy is None or not await _holds(self._legacy, row, legacy):
                    self.choice.take(row, legacy)
            after = rows[-1].key


async def _holds(p: Passage, row: Row, info: ObjectInfo | None = None) -> bool:
    """Does this store hold what the manifest says? Read, unless it keeps the sum itself. One that cannot be read does not."""
    try:
        info = info or await p.call(lambda: p.source.head(row.key))
        if info is None or info.size != row.size:
            return False
        kept = info.checksums.get("crc64nvme")
        return (kept or (await p.read_sums(p.source, info)).crc64nvme) == row.crc64nvme
    except CouldNot:
        return False


async def restore(places: Places, choice: Choice, stamp: str, passing: Callable[[str], None] = lambda point: None) -> Restored:
    """Carry a choice out. `stamp` names the place of what is kept aside; `passing` hears each boundary. Raises `CouldNot` where nothing
    could be done at all; objects that could not be restored are in the result."""
    wanted = len(choice.rows)
    if not wanted:
        return Restored((), 0, tuple(choice.left))
    async with AsyncExitStack() as stack:
        side = places.side(f"restore-{places.number}")
        stack.push_async_callback(side.close)
        for key, reason in (await stage(places, side, choice.rows, f"restore-{places.number}")).items():
            choice.leave(key, reason)
        passing("restore.after-staged")
        aside = await _keep_aside(places, choice, stamp, stack)
        passing("restore.after-aside")
        await _swap(places, choice, side)
        passing("restore.after-swapped")
        done = await _read_back(places, choice)
        for row in done:
            await side.delete(row.key)
    return Restored(tuple(row.key for row in done), sum(row.size for row in done), tuple(choice.left), aside)


async def _keep_aside(places: Places, choice: Choice, stamp: str, stack: AsyncExitStack) -> str:
    """Copy what legacy holds now of these keys beside, before anything is written over it."""
    keys = [key for key, there in choice.seen.items() if there is not None]
    if not keys:
        return ""
    name = f"{places.dataset}#damaged-{stamp}"
    aside = places.side(f"damaged-{stamp}")
    stack.push_async_callback(aside.close)
    await aside.prepare()
    for failure in await _round(places, name, places.legacy, aside, keys):
        choice.leave(failure.key, f"what legacy holds could not be kept aside: {failure.reason}")
    for key in set(keys) & set(choice.rows):
        if await places.index.row(name, key) is None:
            choice.leave(key, "it has gone from legacy meanwhile")
    return aside.url


async def _swap(places: Places, choice: Choice, side: Store) -> None:
    """Write over exactly what was seen. Out of a bucket with versions from there, with all that a version carries; else from the side place."""
    await places.legacy.prepare()
    source = side if places.place is not None else places.kept
    over: Store = OnlyOver(places.legacy, choice.seen)
    for failure in await _round(places, f"{places.dataset}#swap-{places.number}", source, over, list(choice.rows)):
        choice.leave(failure.key, failure.reason)


async def _read_back(places: Places, choice: Choice) -> list[Row]:
    p, done = places.passage(places.legacy, f"{places.dataset}#restore"), list[Row]()
    for key, row in list(choice.rows.items()):
        try:
            info = await p.call(lambda key=key: places.legacy.head(key))  # type: ignore[misc]
            good = (
                info is not None and info.size == row.size and (await p.read_sums(places.legacy, info)).crc64nvme == row.crc64nvme
            )
        except CouldNot as error:
            choice.leave(key, f"it was written, and could not be read back: {reason_of(error)}")
            continue
        if good:
            done.append(row)
        else:
            choice.leave(key, "what is read back is not what was restored")
    return done


async def _round(places: Places, name: str, source: Store, onto: Store, keys: list[str]) -> tuple[Failure, ...]:
    """A round over these keys only, nothing taken as known; what failed."""
    await places.index.forget_objects(name)
    options = replace(places.options, delete=False, folders=False, newest_first=False, accept_empty=True)
    result = await sync_round(name, TheseKeys(source, keys), TheseKeys(onto, keys), places.index, options, Progress())
    return result.failures


def stamp_of(now: datetime) -> str:
    """For the name of a place: `20260314T101500Z`."""
    return now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")


def restored_words(done: Restored) -> str:
    """What was restored and what was left, for people."""
    text = f"{len(done.keys)} restored"
    if done.aside:
        text += f", what stood there is kept under {plain(done.aside, 200)}"
    if done.left:
        some = "; ".join(f"{plain(left.key, 80)}: {plain(left.reason, 200)}" for left in done.left[:3])
        text += f"; {len(done.left)} left as they are: {some}" + ("; …" if len(done.left) > 3 else "")
    return text


def restore_steps(places: Places, choice: Choice) -> list[str]:
    """What `restore` would do with this choice, in words."""
    if not choice.rows:
        return []
    count, some = len(choice.rows), ", ".join(plain(key, 80) for key in list(choice.rows)[:5])
    more = f" and {count - 5} more" if count > 5 else ""
    return [
        f"restore {count} objects of {places.dataset} from backup {places.number} into a side place: {some}{more}",
        "compare them there with the manifest",
        f"keep what legacy holds of {sum(there is not None for there in choice.seen.values())} of them aside",
        f"write each over exactly what was seen on {plain(places.legacy.url, 200)}",
        "read each back",
    ]
