"""What every case is given: sizes, servers, a folder, and how to tell what happens."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.outcome import Outcome
from tests.bench.race import Tell, number
from tests.bench.servers import Endpoint, S3Place


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is moved; the issue's table at scale 1."""

    objects: int = 5000
    least: int = 16 << 10
    most: int = 64 << 10
    large_objects: int = 4
    large: int = 384 << 20
    far: int = 1 << 30
    sftp_objects: int = 2000
    sftp_object: int = 32 << 10
    sftp_large: int = 1 << 30
    streams: int = 320 << 20
    keys: int = 1_000_000
    changed: int = 100
    kills: int = 20
    logs: int = 512 << 20

    def scaled(self, by: float) -> Sizes:
        """Fewer and smaller, for a look at whether all works."""
        if by == 1:
            return self
        return Sizes(
            objects=max(4, int(self.objects * by)),
            large_objects=min(self.large_objects, max(1, int(self.large_objects * by * 10))),
            large=max(17 << 20, int(self.large * by)),
            far=max(17 << 20, int(self.far * by)),
            sftp_objects=max(4, int(self.sftp_objects * by)),
            sftp_large=max(17 << 20, int(self.sftp_large * by)),
            streams=max(16 << 20, int(self.streams * by)),
            keys=max(200, int(self.keys * by)),
            changed=max(2, int(self.changed * by)),
            kills=max(2, int(self.kills * by)),
            logs=max(20 << 20, int(self.logs * by)),
        )


@dataclass(slots=True)
class Setting:
    """`folder` is on disk, `memory` on tmpfs where there is one. `strict`: the servers are in memory, so the bars are those."""

    a: Endpoint
    b: Endpoint
    folder: Path
    memory: Path
    sizes: Sizes
    runs: int
    transfer: str
    families: frozenset[str]
    tell: Tell
    strict: bool = False
    failed: list[str] = field(default_factory=list)  # names of cases

    @property
    def server(self) -> str:
        return self.a.server if self.a.server == self.b.server else f"{self.a.server} to {self.b.server}"

    def wants(self, family: str) -> bool:
        return not self.families or family in self.families

    @contextlib.asynccontextmanager
    async def bucket(self, endpoint: Endpoint, name: str = "old") -> AsyncIterator[S3Place]:
        """A new bucket there, dropped after."""
        place = self.new_bucket(endpoint, name)
        await place.make()
        try:
            yield place
        finally:
            await place.drop()

    def new_bucket(self, endpoint: Endpoint, name: str = "new") -> S3Place:
        return S3Place(endpoint, f"bench-{name}-{number()}")


Case = Callable[[Setting], Awaitable[list[Outcome]]]
