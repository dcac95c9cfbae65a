"""Ten streams against one, each connection to the source limited to the same rate by the proxy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tests.bench.contenders import Contender, cutover
from tests.bench.contents import Blob
from tests.bench.outcome import Outcome, Verdict
from tests.bench.race import race
from tests.bench.servers import Place, S3Place
from tests.bench.setting import Setting
from tests.peers.delay_proxy import DelayProxy, delay_proxy

RATE = 2_000_000  # bytes a second of one connection
OBJECT = 1 << 20
TEN = 10


async def streams(setting: Setting) -> list[Outcome]:
    """10 streams against 1, each limited to 2 MB/s."""
    count = setting.sizes.streams // OBJECT
    title = f"{count} objects of 1 MiB, {RATE / 1e6:g} MB/s for each connection to the source"
    outcome = Outcome("streams", title, setting.server)
    setting.tell(title)
    # Two families: both are measured every turn, none is chosen.
    contenders = [replace(cutover(f"{{parallel: {n}}}"), family=f"cutover parallel {n}") for n in (1, TEN)]
    async with (
        setting.bucket(setting.a) as source,
        delay_proxy(setting.a.address, setting.folder, bytes_per_second=RATE) as proxy,
    ):
        await race_behind(proxy, outcome, contenders, source, setting)
    one, ten = (outcome.median(name, "wall") for name in (c.name for c in contenders))
    outcome.verdicts.append(Verdict("wall of 1 stream over that of 10", one / ten, 9.5, at_least=True))
    return [outcome]


async def race_behind(
    proxy: DelayProxy, outcome: Outcome, contenders: Sequence[Contender], source: S3Place, setting: Setting
) -> None:
    """As many objects of 1 MiB as the setting has, copied from a source that everybody sees behind the proxy."""
    count = setting.sizes.streams // OBJECT
    expected = await source.fill([Blob(f"obj-{i:05}", OBJECT, i) for i in range(count)])

    def seen(place: Place) -> Place:
        if isinstance(place, S3Place) and place == source:
            return replace(place, endpoint=place.endpoint.behind(proxy.port))
        return place

    await race(
        outcome,
        contenders,
        source,
        lambda: setting.new_bucket(setting.b),
        expected,
        setting.memory,
        runs=setting.runs,
        tell=setting.tell,
        seen=seen,
    )
