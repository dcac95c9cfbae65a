"""What is known of a host, at instants that the test gives."""

from __future__ import annotations

import pytest

from backends.probes.gpus import Heading, Trouble, parse_row
from backends.probes.watch import HISTORY, HostWatch
from backends.ssh.errors import AuthFailed, HostKeyChanged, HostKeyRefused, HostUnreachable, LinkLost, SshError
from backends.ssh.models import SshHost
from tests.peers.nvidia_smi import row

HOST = SshHost("gpu-1", "10.0.0.1", "ops", 2222)


def watch_of(*rows: str, at: float = 100.0) -> HostWatch:
    watch = HostWatch("legacy", HOST, 1.0)
    see(watch, at, *rows)
    return watch


def see(watch: HostWatch, at: float, *rows: str) -> None:
    for text in rows:
        sample = parse_row(text)
        assert sample is not None
        watch.saw_sample(sample, at)


def test_before_the_first_answer_it_is_connecting_and_nothing_is_known() -> None:
    view = HostWatch("legacy", HOST, 1.0).view(100.0)
    assert (view.health, view.age, view.gpus, view.driver) == ("connecting", None, (), None)
    assert view.address == "ops@10.0.0.1:2222"


@pytest.mark.parametrize(
    ("age", "health"), [(0.0, "live"), (3.9, "live"), (4.1, "late"), (14.0, "late"), (14.1, "silent"), (9999.0, "silent")]
)
def test_health_is_by_age(age: float, health: str) -> None:
    view = watch_of(row(0)).view(100.0 + age)
    assert (view.health, view.age) == (health, pytest.approx(age))


def test_a_slow_period_is_not_late() -> None:
    watch = HostWatch("legacy", HOST, 10.0)
    see(watch, 100.0, row(0))
    assert watch.view(130.0).health == "live"


@pytest.mark.parametrize(
    ("error", "health"),
    [
        (HostKeyChanged("its key has CHANGED"), "key changed"),
        (HostKeyRefused("its key is unknown"), "refused"),
        (AuthFailed("not let in"), "auth failed"),
        (HostUnreachable("connection refused"), "refused"),
        (HostUnreachable("does not answer"), "silent"),
    ],
)
def test_why_there_is_no_link_is_told(error: SshError, health: str) -> None:
    watch = HostWatch("legacy", HOST, 1.0)
    watch.saw_error(error)
    view = watch.view(100.0)
    assert view.health == health
    assert view.error is not None
    assert error.message in view.error


def test_a_lost_link_is_late_then_silent_and_its_error_goes_when_it_is_back() -> None:
    watch = watch_of(row(0))
    watch.saw_error(LinkLost("lost the connection"))
    assert watch.view(101.0).health == "live"  # the last figures are that young
    assert watch.view(101.0).error == "lost the connection"
    assert watch.view(110.0).health == "late"
    see(watch, 111.0, row(0))
    assert (watch.view(111.0).health, watch.view(111.0).error) == ("live", None)


def test_samples_that_did_not_come_are_gaps() -> None:
    watch = watch_of(row(0, "10"))
    see(watch, 101.1, row(0, "20"))
    see(watch, 105.0, row(0, "[N/A]"))
    see(watch, 106.0, row(0, "50"))
    assert watch.view(106.5).gpus[0].history == (0.1, 0.2, None, None, None, None, 0.5)
    assert watch.view(109.0).gpus[0].history[-3:] == (0.5, None, None)


def test_history_keeps_a_minute() -> None:
    watch = watch_of()
    for second in range(100):
        see(watch, second, row(0, str(second)))
    history = watch.view(99.0).gpus[0].history
    assert len(history) == HISTORY
    assert history[-1] == 0.99
    assert len(watch.view(10_000.0).gpus[0].history) == HISTORY


def test_a_gpu_is_known_by_its_uuid_when_numbers_change() -> None:
    watch = watch_of(row(0), row(1))
    see(watch, 101.0, row(0).replace("GPU-00000000", "GPU-00000001"))
    gpus = {gpu.uuid: gpu for gpu in watch.view(101.0).gpus}
    assert gpus["GPU-00000001"].index == 0
    assert len(gpus) == 2


def test_a_gpu_that_vanishes_while_its_host_lives_raises_an_alarm_and_shows_no_old_figures() -> None:
    watch = watch_of(row(0), row(1))
    for second in range(101, 110):
        see(watch, second, row(0))
    there, gone = watch.view(109.0).gpus
    assert there.alarm is None
    assert gone.alarm is not None
    assert "no figures for 9 s" in gone.alarm
    assert (gone.utilization, gone.memory_used, gone.temperature_c) == (None, None, None)


def test_a_silent_host_keeps_its_last_figures_with_their_age() -> None:
    view = watch_of(row(0, "77")).view(160.0)
    assert (view.health, view.age, view.gpus[0].utilization, view.gpus[0].alarm) == ("silent", 60.0, 0.77, None)


def test_words_in_place_of_figures_are_an_answer() -> None:
    watch = HostWatch("target", HOST, 1.0)
    watch.saw_trouble(Trouble("no_gpus", "no GPU: No devices were found"), 100.0)
    view = watch.view(112.0)
    assert (view.health, view.error, view.gpus) == ("live", "no GPU: No devices were found", ())


def test_versions_come_from_rows_and_heading() -> None:
    watch = watch_of()
    watch.saw_heading(Heading("550.1", "12.4"))
    assert (watch.view(100.0).driver, watch.view(100.0).cuda) == ("550.1", "12.4")
    see(watch, 101.0, row(0))
    watch.saw_heading(Heading(None, None))
    assert (watch.view(101.0).driver, watch.view(101.0).cuda) == ("590.48.01", "12.4")


def test_a_clock_set_back_gives_no_age_below_zero() -> None:
    assert watch_of(row(0)).view(50.0).age == 0.0


def test_a_host_that_names_gpus_without_end_is_not_believed() -> None:
    watch = watch_of(*(row(n).replace("0, GPU", "0, GPU") for n in range(400)))
    assert len(watch.view(100.0).gpus) == 256
