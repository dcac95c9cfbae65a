"""The cases between two S3 servers: small objects, large ones, the same far away, and one large object very far away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tests.bench.contenders import Contender, aioboto3_loop, cutover, rclone, s5cmd
from tests.bench.contents import Blob, large_blobs, small_blobs
from tests.bench.outcome import Outcome
from tests.bench.race import Bars, judge, race
from tests.bench.servers import Place, S3Place
from tests.bench.setting import Setting
from tests.peers.delay_proxy import delay_proxy

AHEAD = 1.0


def small_contenders(setting: Setting, *, far: bool = False) -> list[Contender]:
    at_once = (16, 32, 128) if far else (16, 32)
    every = [cutover(setting.transfer)]
    every += [rclone(f"t{n}", "--transfers", str(n), "--checkers", str(max(n, 16))) for n in at_once]
    every += [s5cmd(f"w{n}", workers=n) for n in ((32, 256) if far else (32,))]
    every.append(aioboto3_loop(128 if far else 32))
    return [c for c in every if setting.wants(c.family)]


def large_contenders(setting: Setting, *, far: bool = False, transfers: int = 4) -> list[Contender]:
    def tuned(streams: int, chunk: int) -> Contender:
        flags = ["--transfers", str(transfers), "--s3-upload-concurrency", str(streams), "--s3-chunk-size", f"{chunk}Mi"]
        flags += [
            "--multi-thread-streams",
            str(streams),
            "--multi-thread-cutoff",
            "16Mi",
            "--multi-thread-chunk-size",
            f"{chunk}Mi",
        ]
        return rclone(f"t{transfers} {streams}x{chunk}Mi", *flags)

    every = [cutover(setting.transfer), rclone(f"t{transfers}", "--transfers", str(transfers))]
    every += [tuned(n, chunk) for n, chunk in (((8, 8), (16, 8), (16, 16)) if far else ((4, 8), (8, 8), (8, 16)))]
    every += [s5cmd(f"c{n} p{size}", f"-c {n} -p {size}") for n, size in (((8, 8), (16, 16)) if far else ((5, 50), (8, 8)))]
    every.append(aioboto3_loop())
    return [c for c in every if setting.wants(c.family)]


async def small(setting: Setting) -> list[Outcome]:
    """5,000 objects of 16 to 64 KiB, store to store."""
    return [await _small(setting, Bars(1 / 1.6, 0.6) if setting.strict else Bars(AHEAD))]


async def large(setting: Setting) -> list[Outcome]:
    """4 objects of 384 MiB, store to store, with full checksums."""
    return [await _large(setting, Bars(0.5, 0.5) if setting.strict else Bars(AHEAD))]


async def latency(setting: Setting) -> list[Outcome]:
    """The same two with 30 ms of round trip to both servers."""
    return [await _small(setting, Bars(AHEAD), rtt=0.030), await _large(setting, Bars(AHEAD), rtt=0.030)]


async def one_large_far(setting: Setting) -> list[Outcome]:
    """One large object with 100 ms of round trip to both servers."""
    size = setting.sizes.far
    outcome = Outcome("one-large-far", f"1 object of {size >> 20} MiB, 100 ms", setting.server)
    bars = Bars(1.3, wall_text="wall against the best of all")
    return [await _race(setting, outcome, large_blobs(1, size), large_contenders(setting, far=True, transfers=1), bars, rtt=0.1)]


async def _small(setting: Setting, bars: Bars, rtt: float = 0.0) -> Outcome:
    s = setting.sizes
    case, what = ("small-far", f", {rtt * 1000:g} ms") if rtt else ("small", "")
    outcome = Outcome(
        case, f"{s.objects:,} objects of {s.least >> 10} to {s.most >> 10} KiB, store to store{what}", setting.server
    )
    blobs = small_blobs(s.objects, s.least, s.most)
    return await _race(setting, outcome, blobs, small_contenders(setting, far=rtt > 0), bars, rtt)


async def _large(setting: Setting, bars: Bars, rtt: float = 0.0) -> Outcome:
    s = setting.sizes
    case, what = ("large-far", f", {rtt * 1000:g} ms") if rtt else ("large", "")
    outcome = Outcome(case, f"{s.large_objects} objects of {s.large >> 20} MiB, store to store{what}", setting.server)
    blobs = large_blobs(s.large_objects, s.large)
    return await _race(setting, outcome, blobs, large_contenders(setting, far=rtt > 0), bars, rtt)


async def _race(
    setting: Setting, outcome: Outcome, blobs: Sequence[Blob], contenders: list[Contender], bars: Bars, rtt: float = 0.0
) -> Outcome:
    setting.tell(outcome.title)
    async with (
        setting.bucket(setting.a) as source,
        delay_proxy(setting.a.address, setting.folder, rtt=rtt) as near,
        delay_proxy(setting.b.address, setting.folder, rtt=rtt) as far,
    ):
        expected = await source.fill(list(blobs))

        def seen(place: Place) -> Place:
            if not rtt or not isinstance(place, S3Place):
                return place
            return replace(place, endpoint=place.endpoint.behind((near if place == source else far).port))

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
    judge(outcome, bars)
    return outcome
