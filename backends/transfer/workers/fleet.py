"""The hosts of `transfer.workers`, which carry bytes beside this machine: who carries the next piece, and what becomes of it where a
host dies.

This machine leads: it lists, orders, notes and proves, and a worker is told one piece at a time, so that a worker that dies costs what it
had under way and nothing else. Its pieces are carried by another host, in the end by this machine. A worker is never waited for: copying
begins at once, and a host takes part from the moment on at which it is ready. Until then this machine begins no more at once than it would
alone: what it has begun it has to end, and that would leave the others idle for as long.

A worker that stood still and goes on late could write a piece that another has carried since. It ends when its channel does, gives up
orders older than a minute before it writes, and a part that is not the one noted is refused when its upload is completed; a whole
object that it still overwrote has another identity than the index knows, and the next listing finds it.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from backends.errors import CouldNot
from backends.escape import plain
from backends.ssh.errors import AuthFailed, HostKeyRefused
from backends.stores.base import ObjectInfo, PartInfo
from backends.stores.errors import StoreDenied
from backends.transfer.haul import Hauled
from backends.transfer.sums import Sums
from backends.transfer.workers.wire import (
    BEAT,
    LINE_LIMIT,
    PROTOCOL,
    SILENCE,
    decode,
    encode,
    error_in,
    hauled_in,
    info_out,
    part_in,
)

if TYPE_CHECKING:
    from backends.ssh.pool import SshPool
    from backends.ssh.session import RemoteLines

T = TypeVar("T")

BYTES_EACH = 256 << 20  # under way at one host: each piece is held in its memory
_PIECE = 256 << 10  # what a piece costs beside its bytes, in bytes
_AGAIN = 30.0  # seconds until a host that was lost is tried again
_FEWEST_BYTES = 64 << 20  # below both of these a round is over before a host has begun
_FEWEST_OBJECTS = 256
_NOISE = 50  # lines that a login may say before the worker begins
_RENEW_EVERY = 30.0
_SECONDS_BASE, _SECONDS_PER_MIB = 120.0, 8.0  # an order that takes longer than that is lost with its host

Stores = Callable[[bool], Awaitable[Mapping[str, Any]]]


class WorkerLost(CouldNot):
    """A host cannot carry what it was given: another one does."""

    code = "worker_lost"


class Worker:
    """One host: its session while there is one, and what it has under way."""

    def __init__(self, host: str, pool: SshPool, program: str, version: str, stores: Stores) -> None:
        self.host = host
        self.is_ready = False
        self.known = asyncio.Event()  # whether it carries, at first
        self.said = "connecting"  # for people: what it does, or why it carries nothing; escaped
        self.under_way = 0
        self.carried = 0  # bytes that arrived through it
        self.changed: Callable[[], None] = lambda: None  # told when it can carry, or no longer
        self._pool = pool
        self._argv = ["sh", "-c", 'PATH="$PATH:$HOME/.local/bin:/usr/local/bin" exec "$0" worker', program]
        self._program = program
        self._version = version
        self._stores = stores
        self._lines: RemoteLines | None = None
        self._asked: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._next = 0
        self._renewing = asyncio.Lock()
        self._renewed_at = float("-inf")

    async def run(self) -> None:
        """Keep a session, for as long as that may help. Ends where the operator has something to do first."""
        while True:
            try:
                await self._session()
            except (AuthFailed, HostKeyRefused) as error:
                self._says(error.message)
                return
            except (CouldNot, TimeoutError) as error:
                self._says(error.message if isinstance(error, CouldNot) else f"{self.host} says nothing")
            await asyncio.sleep(_AGAIN)

    def _says(self, why: str) -> None:
        self.said = plain(why, 200)
        self.known.set()
        self.changed()

    async def whole(self, listed: ObjectInfo) -> Hauled:
        """As `haul.haul_whole`, there. Raises `WorkerLost`, and what it raises there."""
        answer = await self._ask({"do": "whole", "source": info_out(listed)}, listed.size)
        return self._read(lambda: hauled_in(answer, listed.key))

    async def part(self, source: ObjectInfo, upload: str, number: int, offset: int, size: int) -> tuple[Sums, PartInfo]:
        """As `haul.haul_part`, there. Raises as `whole`."""
        order = {"do": "part", "source": info_out(source), "upload": upload, "number": number, "offset": offset, "size": size}
        answer = await self._ask(order, size)
        return self._read(lambda: part_in(answer, number, size))

    async def _ask(self, order: Mapping[str, Any], size: int) -> dict[str, Any]:
        try:
            return await self._once(order, size)
        except StoreDenied:
            if not await self._renew():
                raise
        return await self._once(order, size)

    async def _once(self, order: Mapping[str, Any], size: int) -> dict[str, Any]:
        number, self._next = self._next, self._next + 1
        answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._asked[number] = answered
        try:
            self._say({"n": number, **order})
            async with asyncio.timeout(_SECONDS_BASE + _SECONDS_PER_MIB * size / (1 << 20)):
                answer = await answered
        except TimeoutError:
            self._end("does not answer any more")
            raise WorkerLost(f"{plain(self.host)} does not answer any more") from None
        finally:
            self._asked.pop(number, None)
        if "error" in answer:
            raise self._read(lambda: error_in(answer["error"], self.host))
        return answer

    def _read(self, read: Callable[[], T]) -> T:
        try:
            return read()
        except ValueError as error:
            self._end("says what it cannot have said")
            raise WorkerLost(f"{plain(self.host)} says what it cannot have said") from error

    def _say(self, message: Mapping[str, Any]) -> None:
        if self._lines is None:
            raise WorkerLost(f"{plain(self.host)} is gone")
        self._lines.write(encode(message))

    async def _renew(self) -> bool:
        """Credentials that the plan names may be others by now: whether it was given them."""
        clock = asyncio.get_running_loop().time
        asked_at = clock()
        async with self._renewing:
            if self._renewed_at > asked_at:
                return True  # meanwhile, for another piece
            if clock() - self._renewed_at < _RENEW_EVERY:
                return False
            self._renewed_at = clock()
            self._say({"stores": await self._stores(True), "anew": True})
        return True

    # the session

    async def _session(self) -> None:
        try:
            async with self._pool.stream(self.host, self._argv, limit=LINE_LIMIT) as lines:
                beating = asyncio.create_task(self._beat(lines), name=f"worker {self.host}")
                try:
                    await self._listen(lines)
                finally:
                    beating.cancel()
                    await asyncio.gather(beating, return_exceptions=True)
            raise WorkerLost(self._last_words(lines))
        finally:
            self._end("was lost")

    async def _listen(self, lines: RemoteLines) -> None:
        noise, began = 0, False
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(SILENCE) as limit:
            async for line in lines:
                limit.reschedule(loop.time() + SILENCE)
                try:
                    message = decode(line)
                except ValueError:
                    noise += 1
                    if began or noise > _NOISE:
                        raise WorkerLost(f"{plain(self.host)} says what it cannot have said") from None
                    continue
                if not began:
                    began = self._check(message)
                    lines.write(encode({"stores": await self._stores(False), "anew": False}))
                else:
                    self._take(message, lines)

    def _check(self, message: Mapping[str, Any]) -> bool:
        version, protocol = message.get("cutover"), message.get("protocol")
        if protocol != PROTOCOL or version != self._version:
            raise WorkerLost(
                f"{plain(self.host)} has Cutover {plain(str(version), 40)}, and this is {self._version}: install the same there"
            )
        return True

    def _take(self, message: Mapping[str, Any], lines: RemoteLines) -> None:
        if "ready" in message:
            self._lines, self.is_ready = lines, True
            self._says(f"{self.host} carries")
        elif "n" in message:
            number = message["n"]
            waiter = self._asked.get(number) if type(number) is int else None
            if waiter is not None and not waiter.done():
                waiter.set_result(dict(message))
        elif "error" in message:
            error = self._read(lambda: error_in(message["error"], self.host))
            raise WorkerLost(
                error.message if isinstance(error, CouldNot) else f"{plain(self.host)}: the stores do not answer it in time"
            )

    async def _beat(self, lines: RemoteLines) -> None:
        while True:
            await asyncio.sleep(BEAT)
            lines.write(encode({"beat": 1}))

    def _last_words(self, lines: RemoteLines) -> str:
        said = plain(" ".join(lines.stderr.decode("utf-8", "backslashreplace").split()), 160)
        if lines.exit_status in (126, 127):
            return f"{plain(self.host)} has no `{plain(self._program, 80)}`: install Cutover {self._version} there"
        return f"{plain(self.host)}: the worker ended" + (f": {said}" if said else "")

    def _end(self, why: str) -> None:
        """Whoever waits for it learns that it is gone."""
        lines, self._lines, self.is_ready = self._lines, None, False
        if lines is not None:
            self._says(f"{self.host} {why}")
            lines.stop()
        waiters, self._asked = list(self._asked.values()), {}
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(WorkerLost(f"{plain(self.host)} is gone"))


class Fleet:
    """`async with fleet`: the workers of one round, and this machine. Leaving it ends them."""

    def __init__(self, workers: list[Worker]) -> None:
        self.workers = workers
        for worker in workers:
            worker.changed = self._wake
        self.carried_here = 0
        self._here = 0
        self._pieces_here: Counter[str] = Counter()  # by kind
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._group = asyncio.TaskGroup()
        self._tasks: list[asyncio.Task[None]] = []
        self._told: list[str] | None = None

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._tasks = [self._group.create_task(worker.run(), name=f"worker {worker.host}") for worker in self.workers]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._told = self.told
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(kind, error, trace)

    def is_worth_it(self, objects: int, size: int) -> bool:
        """Is there so much to copy that other hosts should help?"""
        return objects >= _FEWEST_OBJECTS or size >= _FEWEST_BYTES

    @property
    def told(self) -> list[str]:
        """Who carries nothing, and why: for people. After the end, as it was before."""
        if self._told is not None:
            return self._told
        return [f"worker {worker.said}" for worker in self.workers if worker.known.is_set() and not worker.is_ready]

    @property
    def carried(self) -> dict[str, int]:
        """Bytes by host; this machine is ""."""
        return {"": self.carried_here, **{worker.host: worker.carried for worker in self.workers}}

    async def carry(
        self,
        size: int,
        here: Callable[[], Awaitable[T]],
        there: Callable[[Worker], Awaitable[T]],
        *,
        kind: str = "",
        at_once: int | None = None,
    ) -> T:
        """A piece of `size` bytes by whoever has least to do. Raises what the piece itself meets, never `WorkerLost`. `at_once`: so many of
        its kind all machines together should have under way; more than its share of them this machine does not begin."""
        cost = size + _PIECE
        while True:
            is_full = at_once is not None and self._pieces_here[kind] >= self._share(at_once)
            worker = self._next(cost, or_any=is_full)
            if worker is None and not is_full:
                return await self._carry_here(size, cost, kind, here)
            if worker is None:
                await self._change()
                continue
            worker.under_way += cost
            try:
                done = await there(worker)
            except WorkerLost:
                continue
            finally:
                worker.under_way -= cost
                self._wake(1)
            worker.carried += size
            return done

    async def _carry_here(self, size: int, cost: int, kind: str, here: Callable[[], Awaitable[T]]) -> T:
        self._here += cost
        self._pieces_here[kind] += 1
        try:
            done = await here()
        finally:
            self._here -= cost
            self._pieces_here[kind] -= 1
            self._wake(1)
        self.carried_here += size
        return done

    def _share(self, at_once: int) -> int:
        """This machine's, as long as the others may still come."""
        others = sum(worker.is_ready or not worker.known.is_set() for worker in self.workers)
        return max(1, -(-at_once // (1 + others)))

    def _next(self, cost: int, *, or_any: bool) -> Worker | None:
        """None: this machine. `or_any`: also one that has more to do than this machine."""
        free = [w for w in self.workers if w.is_ready and w.under_way + cost <= BYTES_EACH]
        worker = min(free, key=lambda w: w.under_way, default=None)
        return worker if worker is not None and (or_any or worker.under_way < self._here) else None

    async def _change(self) -> None:
        """Until there may be room for one more piece."""
        told: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(told)
        try:
            await told
        except asyncio.CancelledError:
            if told.done() and not told.cancelled():
                self._wake(1)  # it was meant for one that can use it
            raise

    def _wake(self, most: int | None = None) -> None:
        """Who waits looks again: so many, or all."""
        woken = 0
        while self._waiting and (most is None or woken < most):
            told = self._waiting.popleft()
            if not told.done():
                told.set_result(None)
                woken += 1
