"""Real servers, one of each a session; a bucket or folder of its own a test."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from backends.plan.models import Store as StoreSpec
from backends.ssh.pool import SshPool
from backends.stores.base import Store
from backends.stores.open import open_store
from backends.stores.s3 import S3Store
from backends.transfer.index import Index
from tests.peers.openssh import OpenSsh, openssh
from tests.peers.seaweedfs import SeaweedFs

_numbers = itertools.count()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sshd(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OpenSsh]:
    async with openssh(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest_asyncio.fixture
async def index(tmp_path: Path) -> AsyncIterator[Index]:
    async with Index(tmp_path / "index.db") as opened:
        yield opened


class Stores:
    """Opens real stores and closes them all."""

    def __init__(self, folder: Path, server: Callable[[str], object]) -> None:
        self._folder = folder
        self._server = server
        self._opened: list[Store] = []
        self._pool: SshPool | None = None

    async def make(self, kind: str, name: str) -> Store:
        """An empty store of this kind (`local`, `sftp`, `s3`), ready to be written to."""
        if kind == "s3":
            server = self._server("weed")
            assert isinstance(server, SeaweedFs)
            return await self.bucket(name, server, f"test-{next(_numbers)}-{name}")
        root = self._folder / name
        store = open_store(name, StoreSpec(url=self._tree_url(kind, root)), ssh=self._ssh(), base=self._folder)
        self._opened.append(store)
        await store.prepare()
        return store

    async def bucket(self, name: str, server: SeaweedFs, bucket: str, keys: tuple[str, str] | None = None) -> S3Store:
        """A bucket, made when it is not there; with other `keys` it is opened only."""
        access, secret = keys or (server.access_key, server.secret_key)
        # Each by another name of the host: a server copies within one endpoint by itself, and no byte would come through us.
        host = "localhost" if any(isinstance(opened, S3Store) for opened in self._opened) else "127.0.0.1"
        endpoint = server.endpoint.replace("127.0.0.1", host)
        spec = StoreSpec(url=f"s3://{bucket}/data/", endpoint=endpoint, access_key=access, secret_key=secret)
        store = open_store(name, spec, ssh=self._ssh(), base=self._folder)
        assert isinstance(store, S3Store)
        self._opened.append(store)
        if keys is None:
            await store.create_bucket()
        return store

    def _tree_url(self, kind: str, root: Path) -> str:
        return f"file://{root}/" if kind == "local" else f"ssh://box{root}/"

    def _ssh(self) -> SshPool:
        if self._pool is None:
            server = self._server("sshd")
            assert isinstance(server, OpenSsh)
            self._pool = SshPool(server.settings, [server.host("box")])
        return self._pool

    async def close(self) -> None:
        for store in self._opened:
            await store.close()
        if self._pool is not None:
            await self._pool.close()


@pytest.fixture
def servers(request: pytest.FixtureRequest) -> Callable[[str], object]:
    """A server by the name of its fixture. Outside of async fixtures: a session's server is started by its own loop."""
    weed, sshd = request.getfixturevalue("weed"), request.getfixturevalue("sshd")
    return {"weed": weed, "sshd": sshd}.__getitem__


@pytest_asyncio.fixture
async def stores(tmp_path: Path, servers: Callable[[str], object]) -> AsyncIterator[Stores]:
    made = Stores(tmp_path, servers)
    yield made
    await made.close()
