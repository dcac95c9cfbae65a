"""The feed on real files, and over a real SFTP server; the clock is the test's."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest

from backends.plan.models import Axis, Source
from backends.validation.feed import Feed
from backends.validation.files import FileReader


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def feed_of(path: Path, clock: Clock, by: Axis = "epoch", value: str = "loss") -> Feed:
    return Feed(Source(file=str(path), value=value, by=by), FileReader(), clock=clock)


def line(epoch: int, loss: float = 1.0, **more: float) -> str:
    return json.dumps({"epoch": epoch, "loss": loss, **more}) + "\n"


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


async def test_only_what_is_new_is_read(log: Path, clock: Clock) -> None:
    feed = feed_of(log, clock)
    log.write_text(line(1) + line(2))
    await feed.poll()
    append(log, line(3, 3.0))
    await feed.poll()
    await feed.poll()
    assert feed.series.points() == [(1, 1), (2, 1), (3, 3)]
    assert feed.series.duplicates == 0
    assert feed.error is None


async def test_a_partial_line_waits_for_its_end_and_a_whole_object_does_not(log: Path, clock: Clock) -> None:
    feed = feed_of(log, clock)
    log.write_text(line(1) + '{"epoch": 2, "lo')
    await feed.poll()
    assert feed.series.points() == [(1, 1)]
    append(log, 'ss": 5}')
    await feed.poll()
    assert feed.series.at(2) == 5
    append(log, "\n" + line(3))
    await feed.poll()
    assert feed.series.points() == [(1, 1), (2, 5), (3, 1)]
    assert feed.broken == 0


async def test_a_missing_file_is_an_error_until_it_is_there(log: Path, clock: Clock) -> None:
    feed = feed_of(log, clock)
    await feed.poll()
    assert feed.error is not None
    assert "no such file" in feed.error
    log.write_text(line(1))
    await feed.poll()
    assert feed.error is None
    assert len(feed.series) == 1


async def test_an_absent_metric_is_said_and_found_when_it_comes(log: Path, clock: Clock) -> None:
    log.write_text('{"epoch": 1, "los": 1}\n')
    feed = feed_of(log, clock)
    await feed.poll()
    assert feed.error is not None
    assert "there are los" in feed.error
    append(log, line(2))
    await feed.poll()
    assert feed.error is None


async def test_rotation_goes_on_with_the_new_file_and_keeps_the_old_samples(log: Path, clock: Clock) -> None:
    feed = feed_of(log, clock)
    log.write_text("".join(line(e) for e in range(1, 50)))
    await feed.poll()
    log.rename(log.with_suffix(".1"))
    log.write_text(line(50, 5.0))
    await feed.poll()
    assert feed.series.at(1) == 1
    assert feed.series.at(50) == 5
    assert feed.note is not None
    assert "rotated" in feed.note


async def test_a_rotated_file_that_has_already_grown_longer_is_noticed(log: Path, clock: Clock) -> None:
    feed = feed_of(log, clock)
    log.write_text(line(1) + line(2))
    await feed.poll()
    log.rename(log.with_suffix(".1"))
    log.write_text("".join(line(e, 2.0) for e in range(3, 90)))
    await feed.poll()
    assert [x for x, _ in feed.series.points()] == list(range(1, 90))


async def test_a_run_cut_back_to_a_checkpoint_forgets_what_came_after(log: Path, clock: Clock) -> None:
    feed = feed_of(log, clock)
    lines = [line(e, float("nan") if e == 30 else 1.0) for e in range(1, 41)]
    log.write_text("".join(lines))
    await feed.poll()
    assert feed.series.bad_places() == [30]
    log.write_text("".join(lines[:20]))
    await feed.poll()
    assert feed.series.top == 20
    assert feed.series.bad_places() == []


async def test_steps_that_are_written_again_count_as_the_last_says(log: Path, clock: Clock) -> None:
    feed = feed_of(log, clock)
    log.write_text(line(1) + line(2, 9.0))
    await feed.poll()
    append(log, line(2, 2.0) + line(3))
    await feed.poll()
    assert feed.series.at(2) == 2
    assert feed.series.duplicates == 1


async def test_a_file_put_anew_with_the_same_content_is_not_read_twice(log: Path, clock: Clock) -> None:
    feed = feed_of(log, clock, by="time")
    text = "".join(line(e, time=999_000 + e) for e in range(60))
    log.write_text(text)
    await feed.poll()
    fresh = log.with_suffix(".new")
    fresh.write_text(text + line(60, time=999_060))
    os.replace(fresh, log)
    await feed.poll()
    assert len(feed.series) == 61


async def test_age_counts_from_the_arrival_and_at_first_from_the_lines_own_time(log: Path, clock: Clock) -> None:
    feed = feed_of(log, clock)
    log.write_text(line(1, time=clock.now - 500) + line(2, time=clock.now - 400))
    await feed.poll()
    assert feed.age(clock.now) == pytest.approx(400)
    append(log, line(3, time=clock.now - 300))
    await feed.poll()
    assert feed.age(clock.now) == 0
    clock.now += 41
    await feed.poll()
    assert feed.age(clock.now) == 41
    assert feed.period == pytest.approx(100)


async def test_requests_of_one_instant_are_all_counted(log: Path, clock: Clock) -> None:
    log.write_text('{"time": 999999, "error": 0}\n' * 3 + '{"time": 999999, "error": true}\n')
    feed = feed_of(log, clock, by="time", value="error")
    await feed.poll()
    assert feed.series.window(0, clock.now) == [0, 0, 0, 1]


async def test_a_large_file_is_read_whole_in_pieces(log: Path, clock: Clock) -> None:
    count = 60_000
    log.write_text("".join(line(e, e / 7, pad=e) for e in range(count)))
    assert log.stat().st_size > 2 << 20
    feed = feed_of(log, clock)
    await feed.poll()
    assert len(feed.series.points()) == count
    assert feed.broken == 0


async def test_binary_files_stay_an_error_without_growing(log: Path, clock: Clock) -> None:
    log.write_bytes(b"\x1f\x8b" + bytes(1000))
    feed = feed_of(log, clock)
    for _ in range(3):
        await feed.poll()
    assert feed.error is not None
    assert "gzip" in feed.error


async def test_what_was_written_just_before_a_rotation_is_read_from_the_old_file(log: Path, clock: Clock) -> None:
    feed = feed_of(log, clock)
    log.write_text(line(1) + line(2))
    await feed.poll()
    append(log, line(3) + line(4)[:-1])
    os.replace(log, log.with_name(log.name + ".1"))
    log.write_text(line(5))
    await feed.poll()
    assert [x for x, _ in feed.series.points()] == [1, 2, 3, 4, 5]
    assert feed.note == "the file was cut or rotated: read anew"


async def test_an_older_rotated_file_is_left_alone(log: Path, clock: Clock) -> None:
    log.with_name(log.name + ".1").write_text(line(98) + line(99) * 20)
    feed = feed_of(log, clock)
    log.write_text(line(1) + line(2))
    await feed.poll()
    log.write_text(line(5))
    await feed.poll()
    assert [x for x, _ in feed.series.points()] == [1, 2, 5]


async def test_memory_that_runs_out_while_we_follow_is_seen_and_what_is_long_past_is_not(log: Path, clock: Clock) -> None:
    feed = feed_of(log, clock)
    log.write_text(line(1) + "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate\n" + line(2))
    await feed.poll()
    assert feed.series.out_of_memory == ""
    append(log, "RuntimeError: CUDA out of memory.\n")
    await feed.poll()
    assert feed.series.out_of_memory == "RuntimeError: CUDA out of memory."
    assert feed.series.out_of_memory_at == clock.now


async def test_a_trainers_state_that_is_written_anew_is_followed(tmp_path: Path, clock: Clock) -> None:
    path = tmp_path / "trainer_state.json"
    feed = feed_of(path, clock)

    def state(epochs: int) -> str:
        return json.dumps({"epoch": epochs, "log_history": [{"epoch": e, "loss": 2 / e} for e in range(1, epochs + 1)]}, indent=2)

    path.write_text(state(2)[:-9])
    await feed.poll()
    assert feed.error is None
    path.write_text(state(2))
    await feed.poll()
    assert feed.series.points() == [(1, 2), (2, 1)]
    path.write_text(state(4))
    await feed.poll()
    assert feed.series.points() == [(1, 2), (2, 1), (3, 2 / 3), (4, 0.5)]
    assert feed.error is None


class OneHost:
    """The part of an SSH pool that the reader needs, over one connection."""

    def __init__(self, client: asyncssh.SFTPClient) -> None:
        self.client = client

    async def sftp(self, host: str) -> asyncssh.SFTPClient:
        assert host == "leg-a1"
        return self.client


@asynccontextmanager
async def sftp_host(root: Path) -> AsyncIterator[OneHost]:
    """A real SFTP server on loopback that shows `root` as `/`."""
    key = asyncssh.generate_private_key("ssh-ed25519")

    def chrooted(channel: asyncssh.SSHServerChannel) -> asyncssh.SFTPServer:
        return asyncssh.SFTPServer(channel, chroot=str(root))

    class Server(asyncssh.SSHServer):
        def begin_auth(self, username: str) -> bool:
            return False

    server = await asyncssh.listen("127.0.0.1", 0, server_factory=Server, server_host_keys=[key], sftp_factory=chrooted)
    try:
        known = asyncssh.import_known_hosts(f"[127.0.0.1]:{server.get_port()} {key.export_public_key().decode()}")
        async with (
            asyncssh.connect(
                "127.0.0.1", server.get_port(), known_hosts=known, username="ops", config=[], client_keys=[]
            ) as connection,
            connection.start_sftp_client() as client,
        ):
            yield OneHost(client)
    finally:
        server.close()
        await server.wait_closed()


async def test_a_file_on_a_host_is_followed_over_sftp(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "train").mkdir()
    log = tmp_path / "train" / "metrics.jsonl"
    async with sftp_host(tmp_path) as pool:
        feed = Feed(Source(file="ssh://leg-a1/train/metrics.jsonl", value="loss", by="epoch"), FileReader(pool), clock=clock)
        await feed.poll()
        assert feed.error is not None
        assert "no such file" in feed.error
        log.write_text(line(1) + line(2)[:8])
        await feed.poll()
        append(log, line(2)[8:])
        await feed.poll()
        assert feed.series.points() == [(1, 1), (2, 1)]
        log.unlink()
        log.write_text(line(3))
        await feed.poll()
        assert feed.series.points() == [(1, 1), (2, 1), (3, 1)]
        assert feed.error is None


async def test_a_file_that_is_read_anew_keeps_its_times_though_they_go_back(log: Path, clock: Clock) -> None:
    """Only what was written since the last look is taken for as young as it came in."""
    feed = feed_of(log, clock, by="time")
    lines = [line(n, time=clock.now - 600 + n) for n in range(1, 200)]
    log.write_text("".join(lines))
    await feed.poll()
    clock.now += 10
    log.write_text("".join(lines[:50]))
    await feed.poll()
    assert feed.series.newest().time < clock.now - 500  # type: ignore[union-attr]


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 90.0])
async def test_a_source_whose_clock_jumps_goes_on_at_our_time(log: Path, clock: Clock, jump: float) -> None:
    """cutover.md, section 7."""
    feed = feed_of(log, clock, by="time")
    log.write_text(line(1, time=clock.now))
    await feed.poll()
    for n in range(2, 6):
        clock.now += 10
        append(log, line(n, time=clock.now + jump))
        await feed.poll()
        assert feed.series.newest().time == clock.now  # type: ignore[union-attr]


async def test_a_slow_request_that_tells_when_it_began_moves_no_clock(log: Path, clock: Clock) -> None:
    feed = feed_of(log, clock, by="time")
    log.write_text(line(1, time=clock.now))
    await feed.poll()
    for seconds in (0.0, 300.0, 0.0):
        clock.now += 10
        append(log, line(2, time=clock.now - seconds))
        await feed.poll()
    assert feed.series.newest().time == clock.now  # type: ignore[union-attr]
    assert len(feed.series.window(clock.now - 1, clock.now)) == 1


def errors_of(path: Path, clock: Clock, *, is_share: bool = False) -> Feed:
    source = Source(file=str(path), value="failed", total="requests", unit="share" if is_share else None)
    return Feed(source, FileReader(), clock=clock)


async def test_a_line_that_stands_for_many_requests_is_so_many(log: Path, clock: Clock) -> None:
    feed = errors_of(log, clock)
    lines = [
        {"time": 1000.0 + 10 * i, "failed": bad, "requests": n} for i, (bad, n) in enumerate([(0, 50), (2, 100), (0, 0), (1, 3)])
    ]
    log.write_text("".join(json.dumps(one) + "\n" for one in lines))
    await feed.poll()
    assert feed.error is None
    assert (len(feed.series), sum(feed.series.window(0, 2000))) == (153, 3)
    assert sum(feed.series.window(1000.0, 1010.0)) == 2
    assert len(feed.series.window(1020.0, 1030.0)) == 3
    append(log, json.dumps({"time": 1040.0, "failed": 5, "requests": 4}) + "\n" + '{"time": 1050.0, "requests": 9}\n')
    await feed.poll()
    assert (len(feed.series), feed.broken) == (153, 1)


async def test_a_share_of_requests_is_counted_by_their_number_and_few_failures_of_very_many_stay(log: Path, clock: Clock) -> None:
    feed = errors_of(log, clock, is_share=True)
    log.write_text("time,failed,requests\n1000,0.5,10\n1010,0.000001,1000000\n")
    await feed.poll()
    assert feed.error is None
    assert sum(feed.series.window(0, 1000.0)) == 5
    assert (len(feed.series.window(1000.0, 1010.0)), sum(feed.series.window(1000.0, 1010.0))) == (20_000, 1)


async def test_a_log_without_the_number_of_requests_says_which_figures_it_has(log: Path, clock: Clock) -> None:
    feed = errors_of(log, clock)
    log.write_text('{"time": 1, "failed": 0, "request_count": 4}\n')
    await feed.poll()
    assert feed.error is not None
    assert "`requests` is not there; there are" in feed.error
