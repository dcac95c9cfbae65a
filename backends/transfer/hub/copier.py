"""Objects by way of a hub: two legs side by side, the second of an object as soon as its first is proven."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from backends.errors import CouldNot, NotYetSupported
from backends.escape import plain
from backends.stores.base import ObjectInfo, Store
from backends.stores.errors import ObjectMissing
from backends.transfer.compress.choice import Choice, LinkRate, Mode
from backends.transfer.compress.threads import Threads
from backends.transfer.copier import Copier, Outcome
from backends.transfer.errors import Damaged
from backends.transfer.hub.errors import HubObjectGone
from backends.transfer.hub.first import FirstLeg, is_whole
from backends.transfer.hub.large import LargeCopy, as_upload
from backends.transfer.hub.legs import Leg
from backends.transfer.hub.names import root_of
from backends.transfer.hub.second import HubSource, SecondLeg, proof_of
from backends.transfer.hub.state import Arrived, HubState
from backends.transfer.index import Index
from backends.transfer.models import Proof
from backends.transfer.pace import Bandwidth
from backends.transfer.parts import end_upload
from backends.transfer.passage import Passage
from backends.transfer.worklist import Work

WAITING = 256  # at most: objects that may have arrived and wait for a slow target, before the first leg waits too
MOST_LARGE = 3  # large objects at once on the first leg: a bound on memory
_PARALLEL = 32  # requests under way that are reckoned with where the plan gives no number
_TRIES = 3


@runtime_checkable
class Expires(Protocol):
    """A store that can let objects end by themselves."""

    async def set_expiry(self, prefix: str, days: int) -> None: ...


@dataclass(frozen=True, slots=True)
class HubOptions:
    """Whose objects, and how. `bandwidth` in bits a second."""

    plan: str
    dataset: str
    parallel: int | None
    compress: Mode = "never"
    days: int = 7
    bandwidth: float | None = None


class Hub:
    """One round's way through a hub: `async with Hub(…) as hub`, then `sync_round(…, copier=hub.copier, at_once=hub.at_once)`, then
    `tidy`."""

    def __init__(self, store: Store, options: HubOptions, index: Index) -> None:
        self._store = store
        self._options = options
        self._index = index
        self._threads = Threads()
        self._state = HubState(index.database, options.dataset)
        self._expires = False
        self._passage: Passage | None = None  # source to hub
        self._choice: Choice | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._threads.close()

    @property
    def root(self) -> str:
        return root_of(self._options.plan, self._options.dataset)

    @property
    def at_once(self) -> int:
        """Objects under way: on both legs, and between them."""
        parallel = self._options.parallel or _PARALLEL
        return 2 * parallel + min(6 * parallel, WAITING)

    async def open(self, source: Store) -> str:
        """Make ready to bring objects from this source; why objects do not expire by rule, "" where they do."""
        if not self._store.capabilities.parts:
            raise NotYetSupported(f"{self._store.name}: a hub that takes no parts is not yet supported", where="hub")
        await self._state.open(self._store.url + self.root, source.url)
        if not isinstance(self._store, Expires):
            return (
                "objects are removed from the hub when they are proven on the target: this store has no rule by which they expire"
            )
        where, days = self._store.url + self.root, self._options.days
        try:
            if not await self._state.has_rule(where, days):
                await self._store.set_expiry(self.root, days)
                await self._state.note_rule(where, days)
        except (CouldNot, TimeoutError) as error:
            return f"objects are removed from the hub when they are proven on the target: {plain(str(error), 300)}"
        self._expires = True
        return ""

    def copier(self, passage: Passage) -> HubCopier:
        """What carries the objects of this passage."""
        options, p = self._options, passage
        lane = Leg(p.streams.streams.lane(f"{p.dataset} to the hub"))
        first = Passage(p.dataset, p.direction, p.source, self._store, p.index, lane, Bandwidth(None), p.progress, tally=p.tally)
        self._passage = first
        link = LinkRate(options.bandwidth / 8 if options.bandwidth else None)
        choice = self._choice = Choice(options.compress, self._threads, link)
        leg = FirstLeg(first, self.root, self._state, choice, self._threads, p.bandwidth, link)
        source = HubSource(self._store, self._threads, p.bandwidth)
        second = SecondLeg(
            p.dataset,
            p.direction,
            source,
            p.target,
            p.index,
            Leg(p.streams),
            Bandwidth(None),  # what is fetched from the hub counts, not what it decompresses to
            p.progress,
            p.tally,
            p.pace,
            arrived=source.arrived,
        )
        return HubCopier(passage, leg, source, second, self._state, self._release)

    def learnt(self) -> str:
        """What `auto` found to be worth compressing, for people; "" where it found nothing."""
        found = self._choice.learnt() if self._choice is not None else {}
        told = sorted({(name.partition("/")[0], level) for name, level in found.items() if level is not None})
        return ", ".join(f"{'.' + plain(suffix, 12) if suffix else 'no suffix'} (level {level})" for suffix, level in told)

    async def tidy(self, keep: frozenset[str]) -> int:
        """After a round that came to its end: end uploads, and let go objects, that no failed object of `keep` will need again.
        Returns how many uploads were ended."""
        ended = 0
        if (p := self._passage) is None:
            return 0
        for upload in await self._state.open_uploads():
            if upload.key not in keep:
                await end_upload(p, as_upload(upload))
                await self._state.drop_upload(upload.key)
                ended += 1
        for arrived in await self._state.all_arrived():
            if arrived.source.key not in keep:
                await self._release(arrived)
        await self._index.database.flush()
        return ended

    async def _release(self, arrived: Arrived) -> None:
        """It is proven on the target, or nobody needs it any more."""
        p = self._passage
        if not self._expires and p is not None:
            await p.call(lambda: p.target.delete(arrived.name))
        self._state.forget(arrived.source.key)


class HubCopier(Copier):
    """Carries objects over the hub; compares and repairs as any copier does."""

    def __init__(
        self,
        passage: Passage,
        first: FirstLeg,
        source: HubSource,
        second: SecondLeg,
        state: HubState,
        release: Callable[[Arrived], Awaitable[None]],
    ) -> None:
        super().__init__(passage)
        self._first = first
        self._hub_source = source
        self._second = Copier(second)
        self._state = state
        self._release = release
        self._large = asyncio.Semaphore(MOST_LARGE)
        self._mended: dict[str, list[str]] = {}

    async def _send(self, source: ObjectInfo, *, begun: bool) -> Proof:
        for tries in range(1, _TRIES + 1):
            arrived = await self._bring(source)
            try:
                return await self._go_on(arrived, begun=begun)
            except HubObjectGone:
                self._state.forget(source.key)
                if tries == _TRIES:
                    raise
            except Damaged:
                self._state.forget(source.key)  # what is on the hub may be the damaged one
                raise
        raise AssertionError("a loop that ends by returning or raising")

    async def _bring(self, listed: ObjectInfo) -> Arrived:
        leg = self._first
        arrived = await leg.known(listed)
        if arrived is not None:
            return arrived
        if is_whole(listed.size):
            arrived = await leg.whole(listed)
        else:
            async with self._large:
                source = await leg.passage.head(leg.passage.source, listed)
                if source is None:
                    raise ObjectMissing(f"{plain(listed.key)} has gone since it was listed")
                arrived = await LargeCopy(leg, source).run()
        await self._state.note_arrived(arrived)
        return arrived

    async def _go_on(self, arrived: Arrived, *, begun: bool) -> Proof:
        """The second leg. What was mended on it is told with the object."""
        key = arrived.source.key
        try:
            outcome = await self._second.carry_out(Work(0, "copy", self._hub_source.offer(arrived)), begun=begun)
        finally:
            self._hub_source.withdraw(key)
        self._mended.setdefault(key, []).extend(outcome.repaired)
        if outcome.proof is None:
            raise HubObjectGone(f"{plain(key)} is not what is on the hub")
        with contextlib.suppress(CouldNot, TimeoutError):  # its row stays: `tidy` tries again
            await self._release(arrived)
        return proof_of(outcome.proof, arrived)

    async def _copy(self, listed: ObjectInfo, *, begun: bool, strict: bool) -> Outcome:
        try:
            outcome = await super()._copy(listed, begun=begun, strict=strict)
            mended = self._mended.get(listed.key)
            return outcome._replace(repaired=(*outcome.repaired, *mended)) if mended else outcome
        finally:
            self._mended.pop(listed.key, None)
