"""What the transfer panels say, in words: no figure where none is known, nothing from outside as more than text."""

from __future__ import annotations

import pytest

from backends.snapshot import DatasetView, Level, SlowView
from tests.fixtures.transfers import CHECKPOINTS, CORPUS, FEATURES, FRESH, IMAGES, LOGS
from themes.palette import palette_of
from widgets.transfer import (
    dataset_level,
    dataset_line,
    eta_words,
    fraction_done,
    rate_words,
    slow_objects,
    slow_words,
    transfer_rows,
)
from widgets.transfer_table import dataset_detail, dataset_row

PALETTE = palette_of({})


def detail(dataset: DatasetView, width: int = 76, height: int = 30) -> str:
    return "\n".join(strip.text for strip in dataset_detail(dataset, PALETTE, width, height))


@pytest.mark.parametrize(
    ("dataset", "says"),
    [
        (CORPUS, "ETA 58 min ±6"),
        (FEATURES, "ETA never at this rate"),
        (IMAGES, "stalled 40 s"),
        (LOGS, "ETA -"),
        (FRESH, "ETA measuring"),
    ],
)
def test_the_time_to_go_is_a_figure_only_where_one_is_known(dataset: DatasetView, says: str) -> None:
    assert eta_words(dataset) == says


def test_never_and_a_standstill_are_seen_at_once() -> None:
    assert [dataset_level(d) for d in (FEATURES, IMAGES, FRESH)] == [Level.HELD, Level.HELD, Level.WAITING]
    assert "stalled" in dataset_row(IMAGES, PALETTE, 76).text()
    assert rate_words(IMAGES) == "-"


def test_a_dataset_that_was_whole_is_followed_and_its_bar_stays_full() -> None:
    assert fraction_done(CHECKPOINTS) == 1.0
    assert "follows" in dataset_line(CHECKPOINTS, PALETTE, 38, 12).text
    assert "100" not in dataset_line(CHECKPOINTS, PALETTE, 38, 12).text
    assert "lag        8.00 GiB 41s, steady" in detail(CHECKPOINTS)


def test_objects_without_bytes_have_a_rate_too() -> None:
    assert rate_words(CORPUS.model_copy(update={"rate": 0.0, "object_rate": 1204.0})) == "1,204 objects/s"


def test_the_detail_has_pace_streams_growth_hub_and_notes() -> None:
    text = detail(CORPUS, 120)
    assert "1.84 Gbps  207,000 left  12 of 16 streams  ! slowed 3 times" in text
    assert "shrinking" in text
    assert "source grows 32.8 Mbps" in text
    assert "700 GiB sent, 500 GiB saved (42 %)" in text
    assert "s3://corpus/ does not keep tags" in text
    assert "412,000 objects so far" in detail(LOGS)


def test_only_objects_that_an_eye_can_follow_are_called_slow() -> None:
    assert [s.key for s in slow_objects(CORPUS)] == ["v3/shards/shard-000417.tar.zst", "v3/shards/shard-000920.tar.zst"]
    assert slow_words(CORPUS.slowest[0]) == "3.00 of 9.00 GiB, 33 %, 7 min"
    assert slow_words(SlowView(key="x", done=10, size=10, seconds=5)) == "10 of 10 B, 100 %, 5 s"
    assert slow_words(SlowView(key="x", done=0, size=0, seconds=5)) == "5 s"


@pytest.mark.parametrize("width", [30, 38, 76, 196])
def test_failures_are_text_and_no_line_is_too_wide(width: int) -> None:
    strips = [*dataset_detail(CORPUS, PALETTE, width, 40), *transfer_rows([CORPUS, IMAGES], PALETTE, width, 40)]
    assert all(strip.cell_length <= width for strip in strips)
    text = "".join(strip.text for strip in strips)
    assert not {"\x1b", "\u202e", "\n", "\x07"} & set(text)
    if width == 196:
        assert "v3/a\\x1b[31mb[red]c[/]" in text
