"""Seekable frames: any range out of them, any decoder reads them, damage is found; and the choice of what is worth compressing."""

from __future__ import annotations

import asyncio
import io
import random
from collections.abc import Iterator

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.transfer.compress.choice import (
    ALWAYS_LEVEL,
    LEVELS,
    MOST_CLASSES,
    SAMPLES,
    Alike,
    Choice,
    LinkRate,
    Sample,
    class_of,
    measure,
    sample_of,
    suffix_of,
)
from backends.transfer.compress.errors import NotSeekable
from backends.transfer.compress.seekable import frame_sizes, parse_tail, tail, tail_size
from backends.transfer.compress.threads import Share, Threads, cores
from backends.transfer.sums import Sums

LOG = "".join(
    f"2026-11-{i % 28 + 1:02}T12:{i % 60:02}:07Z INFO worker-{i % 7} step={i} loss={1 / (i + 1):.6f} took {i * 37 % 1000} ms\n"
    for i in range(12_000)
).encode()
NOISE = random.Random(3).randbytes(1 << 20)


@pytest.fixture(scope="module")
def threads() -> Iterator[Threads]:
    made = Threads()
    yield made
    asyncio.run(made.close())


def encoded_file(threads: Threads, data: bytes, frame_size: int, level: int = 3) -> bytes:
    sizes = frame_sizes(len(data), frame_size)
    frames = [threads.encode_now(data[i * frame_size : i * frame_size + size], level) for i, size in enumerate(sizes)]
    return b"".join(frames) + tail([len(f) for f in frames], sizes, Sums.of(data))


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=5000), st.integers(1, 700), st.sampled_from(LEVELS))
def test_any_decoder_of_zstd_reads_the_whole(threads: Threads, data: bytes, frame_size: int, level: int) -> None:
    file = encoded_file(threads, data, frame_size, level)
    with zstandard.ZstdDecompressor().stream_reader(io.BytesIO(file), read_across_frames=True) as reader:
        assert reader.read() == data


@settings(max_examples=120, deadline=None)
@given(st.binary(max_size=5000), st.integers(1, 700), st.data())
def test_any_range_comes_out_of_the_frames_that_hold_it(
    threads: Threads, data: bytes, frame_size: int, more: st.DataObject
) -> None:
    file = encoded_file(threads, data, frame_size)
    table, sums = parse_tail(file, len(file))
    assert sums == Sums.of(data)
    assert (table.size, len(table.original)) == (len(data), len(frame_sizes(len(data), frame_size)))
    start = more.draw(st.integers(0, len(data)))
    length = more.draw(st.integers(0, len(data) - start))
    span = table.span(start, length)
    out, at = b"", span.offset
    for i in range(span.first, span.end):
        out += threads.decode_now(file[at : at + table.encoded[i]], table.original[i])
        at += table.encoded[i]
    assert at == span.offset + span.size
    assert out[span.skip : span.skip + length] == data[start : start + length]
    if length:
        assert span.skip < table.original[span.first]  # no frame more than is needed
        assert sum(table.original[span.first : span.end - 1]) < span.skip + length


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_what_is_no_tail_of_ours_is_refused(data: bytes) -> None:
    with pytest.raises(NotSeekable):
        parse_tail(data, len(data))


@settings(max_examples=200, deadline=None)
@given(st.binary(min_size=1, max_size=3000), st.integers(0, 2**31), st.integers(1, 255))
def test_one_changed_byte_is_found(threads: Threads, data: bytes, where: int, change: int) -> None:
    file = bytearray(encoded_file(threads, data, 500))
    file[where % len(file)] ^= change
    try:
        table, sums = parse_tail(bytes(file), len(file))
        out, at = b"", 0
        for encoded, original in zip(table.encoded, table.original, strict=True):
            out += threads.decode_now(bytes(file[at : at + encoded]), original)
            at += encoded
    except NotSeekable:
        return
    # What no frame's own checksum sees is a bit that nothing depends on, or it is seen by the sums.
    assert out == data or Sums.of(out) != sums


def test_a_cut_file_is_refused(threads: Threads) -> None:
    file = encoded_file(threads, LOG, 100_000)
    for cut in (1, 8, 100, len(file) // 2):
        with pytest.raises(NotSeekable):
            parse_tail(file[:-cut], len(file) - cut)
        with pytest.raises(NotSeekable):
            parse_tail(file, len(file) - cut)


def test_a_frame_that_says_it_is_larger_is_not_decompressed(threads: Threads) -> None:
    bomb = threads.encode_now(bytes(64 << 20), 3)
    assert len(bomb) < 10_000
    with pytest.raises(NotSeekable, match="says that it holds 67108864"):
        threads.decode_now(bomb, 8 << 20)


def test_a_range_beyond_the_end_is_refused(threads: Threads) -> None:
    file = encoded_file(threads, b"0123456789", 4)
    table, _ = parse_tail(file, len(file))
    with pytest.raises(NotSeekable):
        table.span(5, 6)


def test_the_tail_s_size_is_known_before_it_is_made() -> None:
    for frames in (0, 1, 7, 9999):
        assert len(tail([5] * frames, [9] * frames, Sums(9 * frames))) == tail_size(frames)


# the choice


@pytest.mark.parametrize(
    ("key", "suffix"),
    [("a/b.LOG", "log"), ("a.b/c", ""), (".bashrc", ""), ("x.tar.gz", "gz"), ("x." + "y" * 13, ""), ("", ""), ("x.", "")],
)
def test_suffixes(key: str, suffix: str) -> None:
    assert suffix_of(key) == suffix


def test_classes_are_of_suffix_and_size() -> None:
    assert class_of("a.log", 10) == class_of("b/c.LOG", 20)
    assert len({class_of("a.log", size) for size in (1, 100 << 10, 2 << 20, 1 << 30)}) == 4


@given(st.binary(max_size=2000), st.integers(3, 500))
def test_a_sample_is_bounded(data: bytes, most: int) -> None:
    assert len(sample_of(data, most)) <= max(most, 0)
    assert len(data) > most or sample_of(data, most) == data


def sample(seconds: dict[int, float], ratios: dict[int, float], size: int = 1_000_000) -> Sample:
    return Sample(size, {level: int(size * ratio) for level, ratio in ratios.items()}, seconds, 0.0005)


# 1 MB takes 2 ms at level 1 and 100 at 12, and becomes 25 to 15 % of itself.
COSTS = dict(zip(LEVELS, (0.002, 0.005, 0.02, 0.04, 0.1), strict=True))
RATIOS = dict(zip(LEVELS, (0.25, 0.22, 0.18, 0.17, 0.15), strict=True))


@pytest.mark.parametrize(
    ("rate", "level"),
    [(10e9, None), (500e6, 1), (60e6, 3), (1e6, 12)],
    ids=["faster than the cores", "fast", "middling", "slow"],
)
def test_the_level_follows_link_and_cores(rate: float, level: int | None) -> None:
    assert Alike([sample(COSTS, RATIOS)] * 3, 3).best(rate, cores=2) == level


def test_twice_the_work_for_a_few_per_cent_less_is_not_taken() -> None:
    close = dict(zip(LEVELS, (0.25, 0.24, 0.235, 0.23, 0.228), strict=True))
    assert Alike([sample(COSTS, close)] * 3, 3).best(1e6, cores=8) == LEVELS[0]


def test_more_cores_allow_a_higher_level() -> None:
    alike = Alike([sample(COSTS, RATIOS)] * 3, 3)
    levels = [alike.best(60e6, cores=n) or 0 for n in (1, 2, 8, 64)]
    assert levels == sorted(levels)
    assert levels[-1] > levels[0]


def test_busy_cores_allow_a_lower_level_and_in_the_end_none() -> None:
    alike = Alike([sample(COSTS, RATIOS)] * 3, 3)
    levels = [alike.best(60e6, cores=2 * share) or 0 for share in (1.0, 0.5, 0.2, 0.05)]
    assert levels == [3, 1, 1, 0]


def test_the_share_of_a_core_is_that_of_the_last_work_and_forgotten_without_any() -> None:
    now = 100.0
    share = Share(lambda: now)
    assert share.value == 1.0
    share.add(1.0, 1.0)
    share.add(0.001, 5.0)  # too little to tell the work from the wait for the lock
    assert share.value == 1.0
    for _ in range(40):
        now += 1.0
        share.add(0.1, 1.0)
    assert share.value == pytest.approx(0.1, rel=0.02), "what was before the load is forgotten"
    for _ in range(80):
        now += 0.2
        share.add(0.2, 0.2)
    assert share.value == pytest.approx(1.0, rel=0.02)
    share.add(0.01, 1.0)
    now += 11.0
    assert share.value == 1.0, "nothing was compressed for a while: tried anew"
    share.add(0.5, 1.0)
    assert share.value == 0.5


async def test_auto_takes_a_lower_level_while_others_want_the_cores() -> None:
    threads = Threads(2)
    choice = Choice("auto", threads, LinkRate(1e6))
    try:
        for i in range(SAMPLES):
            await choice.level(f"logs/{i}.log", len(LOG), LOG)
        (alike,) = choice._classes.values()
        alike.samples[:] = [sample(COSTS, RATIOS)] * SAMPLES
        threads.share = Share()
        assert await choice.level("logs/free.log", len(LOG), LOG) == 12
        threads.share.add(0.2, 2.0)
        assert await choice.level("logs/busy.log", len(LOG), LOG) == 6
    finally:
        await threads.close()


def test_work_of_the_threads_tells_their_share(threads: Threads) -> None:
    threads.share = Share()
    threads.encode_now(LOG * 8, 9)
    assert 0 < threads.share.value <= 1
    assert threads.free == pytest.approx(threads.count * threads.share.value)


def test_a_class_most_of_which_does_not_shrink_goes_plain() -> None:
    rigid = sample({1: 0.001}, {1: 1.0})
    assert Alike([rigid, rigid, sample(COSTS, RATIOS)], 3).best(1e6, cores=8) is None


def test_what_is_measured_of_text_and_of_noise(threads: Threads) -> None:
    text, noise = measure(threads, LOG[:300_000]), measure(threads, NOISE[:300_000])
    assert text.shrinks
    assert set(text.encoded) == set(LEVELS)
    assert not noise.shrinks
    assert set(noise.encoded) == {LEVELS[0]}  # nothing more is tried


async def test_auto_compresses_text_and_leaves_noise_and_what_is_packed(threads: Threads) -> None:
    choice = Choice("auto", threads, LinkRate(10e6))
    for i in range(SAMPLES + 3):
        assert await choice.level(f"logs/{i}.log", len(LOG), LOG) in LEVELS
        assert await choice.level(f"blobs/{i}.bin", len(NOISE), NOISE) is None
        assert await choice.level(f"images/{i}.png", len(LOG), LOG) is None  # by its suffix, untried
        assert await choice.level(f"tiny/{i}.log", 100, LOG[:100]) is None
    assert await choice.level("logs/odd.log", len(LOG), NOISE) is None  # noise among logs
    assert set(choice.learnt()) == {class_of("a.log", len(LOG)), class_of("a.bin", len(NOISE))}
    assert choice.learnt()[class_of("a.bin", len(NOISE))] is None


async def test_never_and_always_ask_nothing(threads: Threads) -> None:
    assert await Choice("never", threads, LinkRate()).level("a.log", len(LOG), LOG) is None
    assert await Choice("zstd", threads, LinkRate()).level("a.png", len(NOISE), NOISE) == ALWAYS_LEVEL


async def test_the_number_of_classes_is_bounded(threads: Threads) -> None:
    choice = Choice("auto", threads, LinkRate(10e6))
    for i in range(2 * MOST_CLASSES):
        await choice.level(f"x.s{i}", 2000, LOG[:2000])
    assert len(choice.learnt()) <= MOST_CLASSES + 1


def test_the_link_s_rate_is_bounded_by_the_plan_and_learnt_from_what_was_sent() -> None:
    link = LinkRate(limit=1e6)
    assert link.rate == 1e6
    free = LinkRate()
    before = free.rate
    with free.sending(64 << 20), free.sending(64 << 20):
        pass
    assert free.rate != before
    assert free.rate > 0


def test_a_send_that_failed_counts_no_bytes() -> None:
    link = LinkRate()
    before = link.rate
    with pytest.raises(OSError, match="cut"), link.sending(1 << 30):
        raise OSError("cut")
    assert link.rate == before


def test_there_are_as_many_threads_as_cores(threads: Threads) -> None:
    assert threads.count == cores() >= 1
