"""TensorBoard event files as tensorboardX and TensorBoard's own writer wrote them (recorded/), and such as nobody writes."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from pathlib import Path

import pytest
from awscrt.checksums import crc32c
from hypothesis import given
from hypothesis import strategies as st

from backends.validation.curve import Curve
from backends.validation.errors import MetricAbsent, SourceUnreadable
from backends.validation.intake import Intake
from backends.validation.source import load_runs

RECORDED = Path(__file__).parent / "recorded"
TENSORBOARDX, TENSORBOARD = RECORDED / "tensorboardx.tfevents", RECORDED / "tensorboard.tfevents"


def load(path: Path, metric: str = "train/loss") -> Curve:
    return load_runs([str(path)], [str(path)], metric, "step")[0][0]


def record(data: bytes) -> bytes:
    def masked(part: bytes) -> bytes:
        crc = crc32c(part)
        return struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)

    length = struct.pack("<Q", len(data))
    return length + masked(length) + data + masked(data)


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def scalar(tag: str, step: int, value: float, time: float = 1.7e9) -> bytes:
    name = tag.encode()
    inner = b"\x0a" + varint(len(name)) + name + b"\x15" + struct.pack("<f", value)
    summary = b"\x0a" + varint(len(inner)) + inner
    return record(b"\x09" + struct.pack("<d", time) + b"\x10" + varint(step) + b"\x2a" + varint(len(summary)) + summary)


VERSION = record(b"\x09" + struct.pack("<d", 1.7e9) + b"\x1a\x0dbrain.Event:2")


def rows(data: bytes, sizes: Iterable[int] = (1 << 20,)) -> list[tuple[float | None, float]]:
    intake, out, start, widths = Intake("loss", where="here"), [], 0, list(sizes)
    i = 0
    while start < len(data):
        out += intake.take(data[start : start + widths[i % len(widths)]])
        start, i = start + widths[i % len(widths)], i + 1
    return [(r.step, r.value) for r in out + intake.end()]


@pytest.mark.parametrize("path", [TENSORBOARDX, TENSORBOARD])
def test_scalars_of_a_real_writer_are_read(path: Path) -> None:
    points = [p for p in load(path).points() if math.isfinite(p[1])]
    assert points == [(s, pytest.approx(2.0 / (1 + s / 10), rel=1e-6)) for s in range(0, 50, 10)]


def test_nan_stays_nan_and_histograms_are_no_scalars() -> None:
    assert load(TENSORBOARDX).bad_places() == [50]
    with pytest.raises(MetricAbsent, match="there are train/loss, train/lr") as caught:
        load(TENSORBOARDX, "train/los")
    assert "weights" not in caught.value.message


def test_a_folder_of_event_files_is_one_run_and_a_restart_rewrites_steps(tmp_path: Path) -> None:
    (tmp_path / "events.out.tfevents.100.host").write_bytes(VERSION + scalar("loss", 10, 1) + scalar("loss", 20, 9))
    (tmp_path / "events.out.tfevents.200.host").write_bytes(VERSION + scalar("loss", 20, 2) + scalar("loss", 30, 3))
    curve = load(tmp_path, "loss")
    assert curve.points() == [(10, 1), (20, 2), (30, 3)]
    assert any("1 place written more than once" in n for n in curve.notes)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceUnreadable, match="without TensorBoard"):
        load(tmp_path / "empty", "loss")


def test_a_file_that_was_cut_off_is_read_as_far_as_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "events"
    path.write_bytes((VERSION + scalar("loss", 1, 1) + scalar("loss", 2, 2))[:-5])
    curve = load(path, "loss")
    assert curve.points() == [(1, 1)]
    assert curve.notes == ["1 line or record could not be read and left out: no figure, cut short, or over 1 MiB"]


def test_a_damaged_record_is_passed_over_and_a_damaged_length_ends_it(tmp_path: Path) -> None:
    first, second = scalar("loss", 1, 1), scalar("loss", 2, 2)
    spoilt = first[:20] + b"\xff" + first[21:]
    assert rows(VERSION + spoilt + second) == [(2, 2)]
    with pytest.raises(SourceUnreadable, match="cannot be found"):
        rows(VERSION + b"\xff" * 12 + first[12:] + second)


def test_a_record_that_claims_to_be_huge_is_passed_over_without_being_kept() -> None:
    huge = record(b"\0" * (3 << 20))
    assert rows(VERSION + huge + scalar("loss", 2, 2), [70_000]) == [(2, 2)]
    length = struct.pack("<Q", 1 << 62)
    crc = crc32c(length)
    claim = length + struct.pack("<I", (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF)
    intake = Intake("loss", where="")
    assert intake.take(VERSION + claim + bytes(100_000)) == []
    assert intake.end() == []
    assert intake.broken == 1


SCALARS = st.lists(st.tuples(st.integers(-(2**62), 2**62), st.floats(width=32)), max_size=20)


@given(SCALARS, st.lists(st.integers(1, 90), min_size=1, max_size=9))
def test_what_was_written_is_read_in_whatever_pieces_it_comes(written: list[tuple[int, float]], sizes: list[int]) -> None:
    data = VERSION + b"".join(scalar("loss", s, v) for s, v in written)
    assert [(s, repr(v)) for s, v in rows(data, sizes)] == [(float(s), repr(v)) for s, v in written]


@given(st.lists(st.binary(max_size=60), max_size=6), st.binary(max_size=60))
def test_hostile_records_are_counted_or_refused_never_a_crash(records: list[bytes], tail: bytes) -> None:
    intake = Intake("loss", where="")
    try:
        intake.take(VERSION + b"".join(map(record, records)) + tail)
        intake.end()
    except SourceUnreadable:
        return
    assert intake.broken <= len(records) + 1
