"""The bytes of one piece, from source to target: a whole small object, or one part of a large one.

Done alike on this machine and on a worker. What surrounds it (when, how often again, what is noted where) is told by the `Way`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol, TypeVar

from backends.stores.base import Body, ObjectInfo, PartInfo, Store
from backends.transfer.errors import Damaged
from backends.transfer.models import Proof
from backends.transfer.sums import Sums, sums_of

T = TypeVar("T")


class Way(Protocol):
    """From one store to another, and how a call to either is made."""

    @property
    def source(self) -> Store: ...
    @property
    def target(self) -> Store: ...

    async def call(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """A store's call."""
        ...

    async def fetch(self, store: Store, listed: ObjectInfo) -> tuple[ObjectInfo, Body]: ...

    async def read(self, store: Store, info: ObjectInfo, start: int, length: int) -> Body: ...

    async def head(self, store: Store, listed: ObjectInfo) -> ObjectInfo | None: ...


class Hauled(NamedTuple):
    """A whole object that has arrived: what each side tells of it, and by what its bytes are proven."""

    source: ObjectInfo
    target: ObjectInfo
    sums: Sums
    proof: Proof


async def haul_whole(way: Way, listed: ObjectInfo, begun: Callable[[Sums], None]) -> Hauled:
    """Exactly the object that was listed. `begun` is told before anything is sent. Raises the object's own failure."""
    source, body = await way.fetch(way.source, listed)
    sums = await sums_of(body)
    check_source(sums, source, body)
    if sums.size != source.size:
        raise Damaged(f"{sums.size} bytes were read of {source.size}")
    begun(sums)
    target = await way.call(lambda: way.target.write(source.key, body, crc64nvme=sums.crc64nvme, like=source))
    if not target.checksums and way.target.capabilities.stored_checksum:
        target = await way.head(way.target, target) or target
    return Hauled(source, target, sums, prove(sums, source, target, in_parts=False, body=body))


async def haul_part(
    way: Way, source: ObjectInfo, upload: str, number: int, offset: int, size: int, begun: Callable[[Sums], None]
) -> tuple[Sums, PartInfo]:
    """`size` bytes of exactly this object as a part of an upload. `begun` is told before anything is sent."""
    body = await way.read(way.source, source, offset, size)
    sums = await sums_of(body)
    begun(sums)
    part = await way.call(lambda: way.target.write_part(source.key, upload, number, offset, body, crc64nvme=sums.crc64nvme))
    return sums, part


def prove(sums: Sums, source: ObjectInfo, target: ObjectInfo, *, in_parts: bool, body: Body | None = None) -> Proof:
    """The strongest proof that needs no second read. Raises `Damaged` where a checksum speaks against it."""
    if target.size != sums.size:
        raise Damaged(f"the target holds {target.size} bytes of {sums.size}")
    check_source(sums, source, body)
    held = sums.agrees(target.checksums, body)
    if held is False:
        raise Damaged("the target holds other bytes than were sent")
    promised = sums.agrees(source.checksums, body)
    if held and promised:
        return "stored_checksums"
    return "combined_parts" if in_parts and promised else "manifest"


def check_source(sums: Sums, source: ObjectInfo, body: Body | None = None) -> None:
    """Raises `Damaged` when the bytes read are not those of the source's own checksum."""
    if sums.agrees(source.checksums, body) is False:
        raise Damaged("the bytes read are not those of the source's own checksum")
