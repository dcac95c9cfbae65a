"""`cutover sync` between two SeaweedFS servers, killed with -9 in the middle and run again: what was copied twice?

Both runs are real processes. What had arrived at the kill is asked of the target itself, so that the figure that the second
run prints can be held against it. Used by the bench and by a test in `tests/faults`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backends.stores.s3 import S3Store
from backends.stores.s3_client import bucket_address
from backends.stores.s3_credentials import FixedCredentials
from backends.stores.sigv4 import Credentials
from backends.transfer.sums import Sums
from tests.peers.seaweedfs import SeaweedFs, seaweedfs

PART = 8 << 20
_FIRST_RUN_SECONDS = 4
CUTOVER = [sys.executable, "-c", "from console.main import main; main()"]


@dataclass(frozen=True, slots=True)
class Size:
    objects: int = 2000
    least: int = 16 << 10
    most: int = 64 << 10
    big: int = 1 << 30

    @property
    def big_key(self) -> str:
        """In the middle of the small ones, so that both are under way at the kill."""
        return f"data/{self.objects // 2:04}-big"


@dataclass(frozen=True, slots=True)
class Resumed:
    """Bytes. `arrived` is what the target held at the kill: whole objects and finished parts."""

    total: int
    arrived_objects: int
    arrived: int
    killed_after: float
    second: dict[str, Any]  # the second run's own dataset object
    second_seconds: float
    verified: dict[str, Any]

    @property
    def sent_again(self) -> int:
        """What was sent by the second run beyond what had not arrived."""
        return max(0, int(self.second["bytes"]) - (self.total - self.arrived))


@contextlib.asynccontextmanager
async def bucket(server: SeaweedFs, name: str) -> AsyncIterator[S3Store]:
    """A bucket of that server, made."""
    address = bucket_address(name, endpoint=server.endpoint, region=server.region, path_style=None)
    credentials = FixedCredentials(Credentials(server.access_key, server.secret_key))
    store = S3Store(name, name, "v1/", address, credentials, server.region)
    try:
        await store.create_bucket()
        yield store
    finally:
        await store.close()


async def fill(store: S3Store, size: Size) -> int:
    """Seeded contents; the sum of their sizes."""
    chance, total = random.Random(1), 0
    slots = asyncio.Semaphore(16)

    async def put(key: str, body: bytes) -> None:
        async with slots:
            await store.write(key, body, crc64nvme=Sums.of(body).crc64nvme)

    async with asyncio.TaskGroup() as group:
        for i in range(size.objects):
            body = chance.randbytes(chance.randint(size.least, size.most))
            total += len(body)
            group.create_task(put(f"data/{i:04}", body))
    upload, sums, parts = await store.create_upload(size.big_key), Sums(), []
    for number, offset in enumerate(range(0, size.big, PART), start=1):
        body = chance.randbytes(min(PART, size.big - offset))
        part = Sums.of(body)
        sums += part
        parts.append(await store.write_part(size.big_key, upload, number, offset, body, crc64nvme=part.crc64nvme))
    await store.complete_upload(size.big_key, upload, parts, size=size.big, crc64nvme=sums.crc64nvme, like=None)
    return total + size.big


def write_plan(folder: Path, legacy: SeaweedFs, target: SeaweedFs, parallel: int = 10, mbps: int | None = None) -> Path:
    """A plan that copies bucket `old` of one server to bucket `new` of the other."""
    plan = folder / ("plan.yaml" if mbps is None else "slow.yaml")
    plan.write_text(
        f"""version: 1
name: resume
legacy: {{provider: weed-a}}
target: {{provider: weed-b}}
stores:
  old: {{url: "s3://old/v1/", endpoint: "{legacy.endpoint}", access_key: "${{env:KEY}}", secret_key: "${{env:SECRET}}"}}
  new: {{url: "s3://new/v1/", endpoint: "{target.endpoint}", access_key: "${{env:KEY}}", secret_key: "${{env:SECRET}}"}}
datasets:
  - {{name: corpus, from: old, to: new}}
transfer: {{parallel: {parallel}{"" if mbps is None else f", bandwidth: {mbps} Mbps"}}}
"""
    )
    return plan


def environment(server: SeaweedFs) -> dict[str, str]:
    return {**os.environ, "KEY": server.access_key, "SECRET": server.secret_key}


async def cutover(args: list[str], env: dict[str, str]) -> dict[str, Any]:
    """Run a command with `--json` to its end."""
    process = await asyncio.create_subprocess_exec(
        *CUTOVER, *args, "--json", env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    if process.returncode != 0:
        raise AssertionError(f"cutover {args[0]} ended with {process.returncode}: {out.decode()}{err.decode()}")
    found: dict[str, Any] = json.loads(out)["datasets"][0]
    return found


async def kill_in_the_middle(args: list[str], env: dict[str, str], is_middle: Callable[[], bool]) -> float:
    """Start, kill -9 when it is in the middle; the seconds until then."""
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(*CUTOVER, *args, env=env, stdout=asyncio.subprocess.DEVNULL)
    try:
        while not await asyncio.to_thread(is_middle):
            if process.returncode is not None:
                raise AssertionError(f"it ended with {process.returncode} before it could be killed")
            await asyncio.sleep(0.005)  # between two looks
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGKILL)
        await process.wait()
    return time.monotonic() - started


def middle_of(index: Path, parts: int) -> Callable[[], bool]:
    """Does the index say that so many parts of an object that is not whole yet have arrived?"""

    def look() -> bool:
        if not index.exists():
            return False
        try:
            with contextlib.closing(sqlite3.connect(f"file:{index}?mode=ro", uri=True, timeout=5)) as db:
                arrived = db.execute("SELECT count(*) FROM parts WHERE etag != ''").fetchone()[0]
        except sqlite3.OperationalError:
            return False  # its tables are not there yet
        return bool(arrived >= parts)

    return look


async def arrived_at(store: S3Store) -> tuple[int, int]:
    """(objects, bytes) that this target holds, finished parts of open uploads counted."""
    objects = size = 0
    async for page in store.list_pages():
        objects += len(page)
        size += sum(info.size for info in page)
    for key, upload in await store.list_uploads():
        size += sum(part.size for part in await store.list_parts(key, upload) or [])
    return objects, size


async def resume(folder: Path, size: Size, tell: Callable[[str], None] = lambda text: None) -> Resumed:
    """The whole of it, in `folder`."""
    async with (
        seaweedfs(folder / "a") as legacy,
        seaweedfs(folder / "b") as target,
        bucket(legacy, "old") as old,
        bucket(target, "new") as new,
    ):
        total = await fill(old, size)
        tell(f"{size.objects} objects and one of {size.big >> 20} MiB are on legacy: {total:,} bytes")
        plan, state, env = write_plan(folder, legacy, target), folder / "state", environment(legacy)
        sync = ["sync", str(plan), "--state", str(state)]
        slow = write_plan(
            folder, legacy, target, mbps=max(1, int(total * 8 / _FIRST_RUN_SECONDS / 1e6))
        )  # there is a middle to hit
        look = middle_of(state / "index.db", size.big // PART // 3)
        killed_after = await kill_in_the_middle(["sync", str(slow), "--state", str(state)], env, look)
        arrived_objects, arrived = await arrived_at(new)
        tell(f"killed with -9 after {killed_after:.1f} s: {arrived_objects} objects and {arrived:,} bytes had arrived")
        started = time.monotonic()
        second = await cutover(sync, env)
        seconds = time.monotonic() - started
        verified = await cutover(["verify", str(plan), "--state", str(state), "--re-read"], env)
        left = await new.list_uploads()
        if left:
            raise AssertionError(f"uploads are left open: {left}")
    return Resumed(total, arrived_objects, arrived, killed_after, second, seconds, verified)


async def bench_resume() -> None:
    """2,000 objects and one of 1 GiB between two SeaweedFS servers, killed with -9 in the middle and run again."""
    with tempfile.TemporaryDirectory(prefix="cutover-bench-") as folder:
        found = await resume(Path(folder), Size(), tell=print)
    second = found.second
    print(f"second run: {second['copied']} copied, {second['unchanged']} unchanged, {second['failed']} failed", end="; ")
    print(f"{second['bytes']:,} bytes sent in {found.second_seconds:.1f} s; proofs {second['proofs']}")
    print(f"copied twice, as the second run says:   {second['resent_bytes']:,} bytes")
    print(f"copied twice, as the target's state says: {found.sent_again:,} bytes of what had arrived")
    print(f"verify --re-read: {found.verified['equal']} of {found.verified['checked']} equal")
