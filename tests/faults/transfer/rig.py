"""Two S3 stores of a real server, each behind a proxy that goes wrong on demand, and the same two by the straight way."""

from __future__ import annotations

import contextlib
import itertools
import random
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

from backends.stores.base import Store
from backends.stores.s3 import S3Store
from backends.stores.s3_client import S3Client, bucket_address
from backends.stores.s3_credentials import CredentialSource, FixedCredentials
from backends.stores.sigv4 import Credentials
from backends.transfer.index import Index
from backends.transfer.models import Progress, RoundOptions, RoundResult
from backends.transfer.round import sync_round
from backends.transfer.sums import Sums
from backends.transfer.verify import VerifyResult, verify_dataset
from tests.peers.fault_proxy import FaultProxy, Request, fault_proxy
from tests.peers.ministack import MiniStack
from tests.peers.seaweedfs import SeaweedFs

PART = 5 << 20  # the least that S3 takes; `small_parts` in conftest.py makes it so, since larger ones only take longer
WHOLE_UP_TO = 6 << 20
SMALL = {f"set/{i:02}.bin": random.Random(i).randbytes(3000 + i) for i in range(24)} | {"empty": b""}
BIG = {"big": random.Random(99).randbytes(2 * PART + 4567)}

_numbers = itertools.count()


def s3_store(
    name: str,
    server: SeaweedFs | MiniStack,
    prefix: str,
    *,
    endpoint: str | None = None,
    bucket: str = "faults",
    keys: tuple[str, str] | None = None,
    credentials: CredentialSource | None = None,
) -> S3Store:
    """A store on that server, by way of `endpoint` where one is given."""
    address = bucket_address(bucket, endpoint=endpoint or server.endpoint, region=server.region, path_style=None)
    fixed = FixedCredentials(Credentials(*(keys or (server.access_key, server.secret_key))))
    return S3Store(name, bucket, prefix, address, credentials or fixed, server.region)


@dataclass
class Rig:
    """`source` and `target` go through the proxies `legacy` and `other`; `old` and `new` are the same without."""

    server: SeaweedFs | MiniStack
    prefix: str
    source: S3Store
    target: S3Store
    old: S3Store
    new: S3Store
    legacy: FaultProxy
    other: FaultProxy
    index: Index

    async def round(self, **options: object) -> RoundResult:
        """One round through the proxies."""
        return await go(self.source, self.target, self.index, **options)

    async def verify(self, **options: bool) -> VerifyResult:
        return await verified(self.source, self.target, self.index, **options)

    async def put_bare(self, key: str, body: bytes) -> None:
        """An object without any checksum, as old uploaders wrote them."""
        address = bucket_address("faults", endpoint=self.server.endpoint, region=self.server.region, path_style=None)
        keys = FixedCredentials(Credentials(self.server.access_key, self.server.secret_key))
        client = S3Client("bare", address, keys, self.server.region)
        try:
            await client.call("PUT", f"{self.prefix}old/{key}", what="PUT", body=body)
        finally:
            await client.close()

    def path_of(self, key: str, side: str = "old") -> str:
        """The path of a plain key's requests."""
        return f"/faults/{self.prefix}{side}/{key}"


async def go(source: Store, target: Store, index: Index, **options: object) -> RoundResult:
    chosen = RoundOptions(**{"parallel": 6, **options})  # type: ignore[arg-type]
    return await sync_round("d", source, target, index, chosen, Progress())


async def verified(source: Store, target: Store, index: Index, *, re_read: bool = False) -> VerifyResult:
    return await verify_dataset("d", source, target, index, re_read=re_read, report=None)


@contextlib.asynccontextmanager
async def rigged(server: SeaweedFs | MiniStack, index: Index) -> AsyncIterator[Rig]:
    """A prefix of its own on that server; SeaweedFS grows volumes for each bucket, so all share one."""
    prefix = f"t{next(_numbers)}/"
    async with contextlib.AsyncExitStack() as stack:
        legacy = await stack.enter_async_context(fault_proxy(server.endpoint))
        other = await stack.enter_async_context(fault_proxy(server.endpoint))
        ways = {"source": legacy.endpoint, "target": other.endpoint, "old": None, "new": None}
        made = {}
        for name, endpoint in ways.items():
            side = "old" if name in ("source", "old") else "new"
            made[name] = await stack.enter_async_context(s3_store(name, server, f"{prefix}{side}/", endpoint=endpoint))
        await made["old"].create_bucket()
        rig = Rig(server, prefix, legacy=legacy, other=other, index=index, **made)
        yield rig


async def put(store: Store, objects: Mapping[str, bytes]) -> None:
    """Write them as another client would; large ones in parts."""
    for key, body in objects.items():
        if len(body) <= WHOLE_UP_TO:
            await store.write(key, body, crc64nvme=Sums.of(body).crc64nvme)
            continue
        upload, parts = await store.create_upload(key), []
        for number, offset in enumerate(range(0, len(body), PART), start=1):
            part = body[offset : offset + PART]
            crc = Sums.of(part).crc64nvme
            parts.append(await store.write_part(key, upload, number, offset, part, crc64nvme=crc))
        whole = Sums.of(body).crc64nvme
        await store.complete_upload(key, upload, parts, size=len(body), crc64nvme=whole, like=None)


async def contents(store: Store) -> dict[str, bytes]:
    """Every object with its bytes, by the store's own reads."""
    return {info.key: bytes(await store.read(info.key)) async for page in store.list_pages() for info in page}


async def assert_same(store: Store, objects: Mapping[str, bytes]) -> None:
    """The store holds these objects and no others, byte for byte. Says which differ, not how."""
    found = await contents(store)
    missing, extra = sorted(objects.keys() - found.keys()), sorted(found.keys() - objects.keys())
    other = sorted(key for key in objects.keys() & found.keys() if objects[key] != found[key])
    assert (missing, extra, other) == ([], [], [])


def is_part(request: Request) -> bool:
    return request.method == "PUT" and "partNumber" in request.query


def is_begin(request: Request) -> bool:
    return request.method == "POST" and "uploads" in request.query


def is_complete(request: Request) -> bool:
    return request.method == "POST" and "uploadId" in request.query


def is_get(request: Request) -> bool:
    """Of an object, not of a listing."""
    return request.method == "GET" and not request.query


def is_put(request: Request) -> bool:
    """Of a whole object."""
    return request.method == "PUT" and not request.query
