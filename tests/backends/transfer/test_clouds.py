"""Rounds and verifications to Azure Blob (Azurite) and Google Cloud Storage (the shim), from S3 (SeaweedFS) and back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from importlib.util import find_spec

import pytest
import pytest_asyncio

from backends.stores.azure import AzureStore
from backends.stores.base import Body, PartInfo, Store
from backends.stores.checksum import crc64nvme
from backends.stores.errors import StoreUnreachable
from backends.stores.gcs import GcsStore
from backends.stores.s3 import S3Store
from backends.transfer.index import Index
from backends.transfer.models import Progress, RoundOptions, RoundResult
from backends.transfer.round import sync_round
from backends.transfer.verify import VerifyResult, verify_dataset
from tests.backends.stores.conftest import azure_store, gcs_store, new_bucket, s3_store
from tests.peers.azurite import Azurite, azurite, azurite_path
from tests.peers.gcs_shim import GcsShim, gcs_shim
from tests.peers.seaweedfs import SeaweedFs

SMALL = {f"set/{i:02}.bin": random.Random(i).randbytes(2000 + i) for i in range(12)} | {"empty": b"", "sp ace/é+%2F": b"odd"}
BIG = random.Random(7).randbytes((20 << 20) + 123)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def blobs(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Azurite]:
    if azurite_path() is None:
        pytest.skip("server missing: azurite")
    async with azurite(tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def google(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GcsShim]:
    if find_spec("ministack") is None:
        pytest.skip("server missing: ministack")
    async with gcs_shim(tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest.fixture
def peers(request: pytest.FixtureRequest) -> Callable[[str], object]:
    """A server by its kind. Outside of async fixtures: a session's server is started by its own loop."""
    kinds = request.node.callspec.params["kinds"]
    names = {"s3": "weed", "az": "blobs", "gs": "google"}
    return {kind: request.getfixturevalue(names[kind]) for kind in kinds}.__getitem__


@pytest_asyncio.fixture
async def pair(kinds: tuple[str, str], peers: Callable[[str], object]) -> AsyncIterator[tuple[Store, Store]]:
    """Two empty stores of these kinds."""
    opened: list[Store] = []
    async with AsyncExitStack() as stack:
        for kind in kinds:
            store = await stack.enter_async_context(bucket_of(peers(kind)))
            await store.create_bucket()
            opened.append(store)
        yield opened[0], opened[1]


def bucket_of(server: object) -> AbstractAsyncContextManager[S3Store | AzureStore | GcsStore]:
    if isinstance(server, SeaweedFs):
        return s3_store(server, new_bucket())
    if isinstance(server, Azurite):
        return azure_store(server, new_bucket())
    assert isinstance(server, GcsShim)
    return gcs_store(server, new_bucket())


async def fill(store: Store, objects: dict[str, bytes]) -> None:
    for key, body in objects.items():
        await store.write(key, body, crc64nvme=crc64nvme(body))


async def contents(store: Store) -> dict[str, bytes]:
    return {info.key: bytes(await store.read(info.key)) async for page in store.list_pages() for info in page}


async def go(source: Store, target: Store, index: Index, **options: object) -> RoundResult:
    return await sync_round("d", source, target, index, RoundOptions(**{"parallel": 6, **options}), Progress())  # type: ignore[arg-type]


async def check(source: Store, target: Store, index: Index) -> VerifyResult:
    return await verify_dataset("d", source, target, index, re_read=False, report=None)


@pytest.mark.parametrize(
    ("kinds", "proofs"),
    [
        # S3 keeps CRC64NVME, Cloud Storage CRC32C, Azure MD5 of what was put whole: each is held against the one read.
        (("s3", "az"), {"stored_checksums": 14, "combined_parts": 1}),
        (("az", "s3"), {"stored_checksums": 14, "manifest": 1}),
        (("s3", "gs"), {"stored_checksums": 15}),
        (("gs", "s3"), {"stored_checksums": 15}),
        (("gs", "az"), {"stored_checksums": 14, "combined_parts": 1}),
    ],
    ids=["s3-az", "az-s3", "s3-gs", "gs-s3", "gs-az"],
)
async def test_a_round_copies_all_with_proof_and_the_next_copies_nothing(
    pair: tuple[Store, Store], index: Index, proofs: dict[str, int]
) -> None:
    source, target = pair
    await fill(source, SMALL)
    upload = await source.create_upload("big")
    part = await source.write_part("big", upload, 1, 0, BIG, crc64nvme=crc64nvme(BIG))
    await source.complete_upload("big", upload, [part], size=len(BIG), crc64nvme=part.checksum, like=None)
    first = await go(source, target, index)
    assert first.failures == ()
    assert await contents(target) == SMALL | {"big": BIG}
    assert first.proofs == proofs
    second = await go(source, target, index)
    assert (second.copied, second.unchanged, second.bytes) == (0, 15, 0)
    verified = await check(source, target, index)
    assert (verified.checked, verified.equal, verified.problems) == (15, 15, ())
    # A same-size change that somebody makes on the target is found.
    await target.write("set/03.bin", bytes(2003), crc64nvme=crc64nvme(bytes(2003)))
    assert [p.key for p in (await check(source, target, index)).problems] == ["set/03.bin"]


class CutAtLast:
    """A store's `write_part` over a link that is cut when parts 1 and 2 have arrived."""

    def __init__(self, store: Store) -> None:
        self._write_part = store.write_part
        self._missing = {1, 2}
        self._arrived = asyncio.Event()

    async def __call__(self, key: str, upload: str, number: int, offset: int, body: Body, *, crc64nvme: str) -> PartInfo:
        if number not in (1, 2):
            await self._arrived.wait()
            raise StoreUnreachable("the link is cut")
        part = await self._write_part(key, upload, number, offset, body, crc64nvme=crc64nvme)
        self._missing.discard(number)
        if not self._missing:
            self._arrived.set()
        return part


@pytest.mark.parametrize("kinds", [("s3", "az"), ("s3", "gs")], ids="-".join)
async def test_parts_that_arrived_are_not_sent_again(
    pair: tuple[Store, Store], index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = pair
    await fill(source, {"big": BIG})
    monkeypatch.setattr("backends.transfer.pace._TRIES", 1)
    with monkeypatch.context() as patched:
        patched.setattr(target, "write_part", CutAtLast(target))
        cut = await go(source, target, index)
    assert (cut.copied, cut.failed) == (0, 1)
    assert await contents(target) == {}
    again = await go(source, target, index)
    assert (again.copied, again.failed) == (1, 0)
    assert again.bytes == len(BIG) - (16 << 20)
    assert await contents(target) == {"big": BIG}
    assert await target.list_uploads() == []


@pytest.mark.parametrize("kinds", [("s3", "az"), ("s3", "gs")], ids="-".join)
async def test_a_name_that_the_target_forbids_fails_alone(pair: tuple[Store, Store], index: Index) -> None:
    source, target = pair
    await fill(source, {"fine": b"x", "line\nend": b"y"})
    result = await go(source, target, index)
    assert [failure.key for failure in result.failures] == ["line\nend"]
    assert "names" in result.failures[0].reason
    assert await contents(target) == {"fine": b"x"}
