"""`python -m tests.bench NAME`: measurements against real servers. `python -m tests.bench` tells the names."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from tests.bench.resume import Size, resume
from tests.bench.rollback_latency import bench_rollback


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


BENCHES = {"resume": bench_resume, "rollback": bench_rollback}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHES]
    if not names or unknown:
        for name, bench in BENCHES.items():
            print(f"{name}: {bench.__doc__}")
        return 2 if unknown else 0
    for name in names:
        asyncio.run(BENCHES[name]())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
