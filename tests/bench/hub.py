"""Through a hub: text logs compressed against plain, and images, which must never be slower for it."""

from __future__ import annotations

from dataclasses import replace
from statistics import median

from tests.bench.contenders import cutover, sync_command, told
from tests.bench.contents import Blob, compare
from tests.bench.outcome import Outcome, Run, Verdict
from tests.bench.processes import ProgramFailed, cost_of
from tests.bench.race import emptied, empty_folder
from tests.bench.servers import Missing, S3Place
from tests.bench.setting import Setting
from tests.peers.delay_proxy import DelayProxy, delay_proxy

RATE = 8_000_000  # bytes a second of one connection to the hub
OBJECT = 4 << 20


async def hub(setting: Setting) -> list[Outcome]:
    """Text logs through a hub, compressed against plain; images the same."""
    outcomes = []
    for kind in ("logs", "images"):
        count = setting.sizes.logs // OBJECT
        what = "text logs" if kind == "logs" else "images (random bytes)"
        title = f"{count} {what} of {OBJECT >> 20} MiB through a hub, {RATE / 1e6:g} MB/s for each connection to it"
        outcome = Outcome(f"hub-{kind}", title, setting.server)
        suffix = "log" if kind == "logs" else "jpg"
        blobs = [Blob(f"day-{i % 7}/{i:05}.{suffix}", OBJECT, i, text=kind == "logs") for i in range(count)]
        modes = ("never", "auto", "zstd") if kind == "logs" else ("never", "auto")
        sent = await _compare(setting, outcome, blobs, modes)
        if kind == "logs":
            for mode in modes[1:]:
                less = 100 * (1 - sent[mode] / sent["never"])
                outcome.verdicts.append(Verdict(f"less volume to the hub, compress: {mode}", less, 30, at_least=True, unit="%"))
        else:
            outcome.verdicts.append(_not_slower(outcome))
        told = ", ".join(f"{count:,} {mode}" for mode, count in sent.items())
        outcome.notes.append(f"bytes to the hub, counted by the proxy, headers and all, in the last run of each: {told}")
        outcomes.append(outcome)
    return outcomes


def _not_slower(outcome: Outcome) -> Verdict:
    """Images are never tried, so both do the same: what `never` itself varies by is no slowness."""
    plain = [run.wall for run in outcome.runs if run.contender == "cutover compress never"]
    ratio = outcome.median("cutover compress auto", "wall") / median(plain)
    return Verdict(
        "wall of images, compress: auto over never, whose own runs go up to the bar", ratio, max(plain) / median(plain)
    )


async def _compare(setting: Setting, outcome: Outcome, blobs: list[Blob], modes: tuple[str, ...]) -> dict[str, int]:
    """Fill the outcome's runs, another mode first in each turn; the bytes that went to the hub in one run of each."""
    setting.tell(outcome.title)
    sent = dict.fromkeys(modes, 0)
    async with (
        setting.bucket(setting.a) as source,
        delay_proxy(setting.b.address, setting.folder, bytes_per_second=RATE) as proxy,
    ):
        expected = await source.fill(blobs)
        for turn in range(setting.runs):
            first = turn % len(modes)
            for compress in modes[first:] + modes[:first]:
                hub_bucket, target = setting.new_bucket(setting.b, "hub"), setting.new_bucket(setting.b)
                async with emptied(hub_bucket), emptied(target), empty_folder(setting.memory) as folder:
                    stores = {"old": source, "new": target, "between": _behind(hub_bucket, proxy)}
                    command = sync_command(
                        folder, stores, transfer=setting.transfer, dataset=f"hub: between, compress: {compress}"
                    )
                    before = await proxy.settled()
                    try:
                        cost = await cost_of(command)
                    except ProgramFailed as error:
                        if "not yet supported" in str(error) or "not_yet_supported" in str(error):
                            raise Missing("cutover does not support a hub yet") from error
                        raise
                    sent[compress] = (await proxy.settled())[0] - before[0]
                    compare(expected, await target.contents(), f"compress: {compress}")
                name = f"{cutover().family} compress {compress}"
                outcome.runs.append(Run(name, cost.wall, cost.cpu, cost.rss))
                proofs = told(cost.out)["proofs"]
                setting.tell(
                    f"  {name:<34} {cost.wall:8.2f} s  {cost.cpu:8.2f} CPU s; {sent[compress]:,} bytes to the hub; {proofs}"
                )
    return sent


def _behind(place: S3Place, proxy: DelayProxy) -> S3Place:
    return replace(place, endpoint=place.endpoint.behind(proxy.port))
