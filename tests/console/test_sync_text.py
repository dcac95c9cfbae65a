"""What sync and verify say in a terminal: calm, aligned, within 80 columns, and nothing that is not known."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.text import Text

from backends.plan.models import Dataset
from backends.transfer.models import Failure, Progress, RoundResult
from backends.transfer.trend import Trend
from console.commands.transfer_bar import Bar, Watch, check_line, live_rows
from console.sync_text import result_lines

MIB = 1 << 20
UP = "\x1b[1A"
DATASET = Dataset.model_validate({"name": "corpus", "from": "old", "to": "new"})


def round_of(found: int, *, seconds: float = 10.0, failed: int = 0) -> RoundResult:
    failures = tuple(Failure(f"k{i}", "permission denied") for i in range(failed))
    return RoundResult(
        "corpus", "forward", 2_000_000, found - failed, 2_000_000 - found, 0, failed, (found - failed) * MIB, seconds,
        {"stored_checksums": found - failed} if found > failed else {}, failures, (), failed, failed * MIB, 2460.0 if failed else 0.0,
        2_000_000, 2_000_000 * MIB, found_objects=found, found_bytes=found * MIB, found_seconds=30.0,
    )  # fmt: skip


def told(trend: Trend, result: RoundResult, at: float) -> list[str]:
    trend.ended(at, result)
    return result_lines(result, trend)


def test_a_follow_tells_lag_and_its_trend_each_round_and_the_rates() -> None:
    trend = Trend(follows=True)
    assert told(trend, round_of(1000, seconds=100.0), 100.0)[-1] == "  lag       none"
    second = told(trend, round_of(200), 210.0)
    assert second[-2] == "  lag       none; was 200 MiB in 200 objects, shrinking"
    assert second[-1] == "  rates     8.39 Mbps come in, 168 Mbps are copied"


def test_a_follow_that_is_outrun_says_never() -> None:
    trend = Trend(follows=True)
    told(trend, round_of(100), 10.0)
    lines = told(trend, round_of(2000, seconds=100.0), 120.0)
    assert lines[-2].endswith("growing")
    assert lines[-1] == "  rates     839 Mbps come in, 168 Mbps are copied: lag zero never at this rate"
    assert trend.is_outrun()


def test_a_round_of_following_that_found_nothing_is_one_line() -> None:
    trend = Trend(follows=True)
    told(trend, round_of(5), 10.0)
    assert told(trend, round_of(0), 70.0) == ["corpus: 2,000,000 listed, nothing new; lag none, shrinking"]


def test_failures_are_named_at_most_twenty_and_their_escapes_are_harmless() -> None:
    result = replace(round_of(30, failed=30), failures=tuple(Failure(f"k\x1b[31m{i}\n", "[b]no\x07[/]") for i in range(30)))
    lines = result_lines(result, Trend())
    assert sum(line.startswith("  failed k\\x1b[31m") for line in lines) == 20
    assert lines[-1] == "  … and 10 more; --json has all"
    assert not {"\x1b", "\n", "\x07"} & set("".join(lines))
    assert "  lag       30 objects, 30.0 MiB, oldest 41 min" in lines


def test_what_was_found_out_about_a_store_is_told_within_the_width() -> None:
    trend = Trend(follows=True)
    note = (
        "new: takes no tags with an object, which are put after it\x1b[31m; and more words than a line of eighty cells can have"
    )
    lines = result_lines(round_of(0), trend, [note, "old: short"])
    assert lines[-3:] == [
        "  note      new: takes no tags with an object, which are put after it\\x1b[31m;",
        "            and more words than a line of eighty cells can have",
        "  note      old: short",
    ]
    assert max(map(len, lines)) <= 80
    assert len(result_lines(round_of(0), trend)) == 1


def watched(**figures: object) -> Watch:
    watch = Watch([DATASET], follows=True)
    progress = watch.progress["corpus"]
    for name, value in figures.items():
        setattr(progress, name, value)
    watch.sample()
    return watch


def shown(watch: Watch, width: int = 79, height: int = 14) -> str:
    text: Text = live_rows(watch, width, height)
    assert all(len(line) <= width for line in text.plain.splitlines())
    assert len(text.plain.splitlines()) <= height
    return text.plain


def test_the_bar_while_listing_has_a_count_and_no_time() -> None:
    text = shown(watched(status="listing", listed=1234))
    assert "listing" in text
    assert "listed 1,234" in text
    assert "ETA" not in text


@pytest.mark.parametrize("width", [40, 60, 79, 100])
def test_the_bar_while_copying_never_passes_the_whole(width: int) -> None:
    watch = watched(
        status="copying", is_listed=True, rounds=1, objects_total=4000, objects_done=1500, bytes_total=3 << 30,
        bytes_done=1 << 30, to_copy_objects=4000, to_copy_bytes=3 << 30, left_objects=2500, copied_bytes=5 << 30, failed=1,
        active={"a\x1b[0m[red]": (9 << 30, 9 << 30)},
    )  # fmt: skip
    watch.progress["corpus"].failures.append(Failure("bad\x1b[31m", "[red]denied"))
    text = shown(watch, width)
    assert "100" not in text
    assert "99.9 %" in text
    assert "measuring" in text
    assert "\x1b" not in text


def test_a_check_says_that_the_whole_is_not_known_while_it_grows() -> None:
    progress = Progress(status="verifying", objects_total=5000, objects_done=1204)
    assert check_line("corpus", progress) == "corpus: 1,204 objects compared, 5,000 listed so far"
    progress.is_listed, progress.failed = True, 2
    assert check_line("corpus", progress) == "corpus: 1,204 of 5,000 objects compared, 2 problems"


class Screen(io.StringIO):
    """A terminal that keeps what was written to it."""

    def isatty(self) -> bool:
        return True


def test_what_is_printed_beside_the_bar_is_not_drawn_over(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    bar = Bar()
    bar.show()
    assert bar.live is not None
    bar.live.update(Text("one\ntwo\nthree"), refresh=True)
    bar.aside(lambda text: print(text, file=screen), "a result\nof two lines")
    printed = screen.tell()
    bar.live.update(Text("one\ntwo\nthree"), refresh=True)
    assert UP in screen.getvalue()[:printed], "the bar itself was taken away"
    assert UP not in screen.getvalue()[printed:], "and what was printed was not"
    bar.hide()
