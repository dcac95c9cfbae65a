"""`cutover estimate --measure` against the copy that then runs: does the stated range hold it?

The trial copy and the copy run over the same proxy one after the other; the copy's own seconds are compared, from its first listing to its end.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

from tests.bench.contenders import sync_command, told
from tests.bench.contents import Blob, large_blobs, small_blobs
from tests.bench.outcome import Outcome, Run, Verdict
from tests.bench.processes import Command, cost_of
from tests.bench.race import emptied, empty_folder
from tests.bench.setting import Setting
from tests.peers.delay_proxy import delay_proxy

LATENCY = 0.02  # seconds there and back


def mixes() -> list[tuple[str, list[Blob]]]:
    """Ten datasets unlike each other: many small ones, few large ones, both."""
    chance = random.Random(7)
    mixed = [Blob(f"m/{i:05}.bin", int(chance.lognormvariate(11, 2)) % (32 << 20), i) for i in range(900)]
    return [
        ("3,000 of 4 KiB", small_blobs(3000, 4096, 4096)),
        ("3,000 of 16 to 64 KiB", small_blobs(3000)),
        ("1,500 of 16 to 64 KiB", small_blobs(1500)),
        ("600 of 256 to 512 KiB", small_blobs(600, 256 << 10, 512 << 10)),
        ("300 of 1 to 2 MiB", small_blobs(300, 1 << 20, 2 << 20)),
        ("60 of 8 MiB", large_blobs(60, 8 << 20)),
        ("12 of 64 MiB", large_blobs(12, 64 << 20)),
        ("3 of 300 MiB", large_blobs(3, 300 << 20)),
        ("900 log-normal", mixed),
        ("2,000 small and 6 of 64 MiB", [*small_blobs(2000), *large_blobs(6, 64 << 20)]),
    ]


async def estimates(setting: Setting) -> list[Outcome]:
    """Ten datasets: the range of `cutover estimate --measure` and what the copy then took."""
    outcome = Outcome("estimates", "10 datasets: the range that was estimated, and the copy that followed, 20 ms", setting.server)
    setting.tell(outcome.title)
    held = 0
    async with (
        delay_proxy(setting.a.address, setting.folder, rtt=LATENCY) as near,
        delay_proxy(setting.b.address, setting.folder, rtt=LATENCY) as far,
    ):
        for name, blobs in mixes():
            async with setting.bucket(setting.a) as source:
                await source.fill(blobs)
                target = setting.new_bucket(setting.b)
                async with emptied(target), empty_folder(setting.memory) as folder:
                    seen = {
                        "old": replace(source, endpoint=source.endpoint.behind(near.port)),
                        "new": replace(target, endpoint=target.endpoint.behind(far.port)),
                    }
                    sync = sync_command(folder, seen, transfer=setting.transfer)
                    asked = Command([sync.argv[0], "estimate", sync.argv[2], "--measure", "--json"], sync.env, sync.cwd)
                    low, high = _range(dict(told((await cost_of(asked)).out)))
                    cost = await cost_of(sync)
                    seconds = float(str(told(cost.out)["seconds"]))
            is_held = low <= seconds <= high
            held += is_held
            outcome.runs.append(Run(f"cutover {name}", cost.wall, cost.cpu, cost.rss))
            outcome.notes.append(
                f"{name}: {low:.1f} to {high:.1f} s estimated, {seconds:.1f} s taken{'' if is_held else ': OUTSIDE'}"
            )
            setting.tell(f"  {outcome.notes[-1]}")
    outcome.verdicts.append(Verdict("copies within their estimate's range, of 10", held, 9, at_least=True, unit=""))
    return [outcome]


def _range(dataset: dict[str, Any]) -> tuple[float, float]:
    span = dataset["seconds_expected"]
    return float(span["low"]), float(span["high"])
