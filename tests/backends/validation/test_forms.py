"""Forms beside lines: packed sources, JSON documents, exports of Weights & Biases, plain logs by an expression."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from backends.errors import UsageError
from backends.plan.models import Axis
from backends.validation.curve import Curve
from backends.validation.errors import MetricAbsent, MetricAmbiguous, SourceUnreadable
from backends.validation.intake import Intake
from backends.validation.packing import Unpacker
from backends.validation.regexlog import compile_pattern
from backends.validation.source import load_runs

LINES = b"".join(b'{"step": %d, "loss": %.3f}\n' % (i, 2 - i / 1000) for i in range(1000))
STATE = {
    "best_metric": None,
    "epoch": 2.0,
    "global_step": 20,
    "log_history": [
        {"epoch": 1.0, "grad_norm": 0.5, "learning_rate": 1e-4, "loss": 2.5, "step": 10},
        {"epoch": 1.0, "eval_loss": 2.4, "eval_runtime": 3.0, "step": 10},
        {"epoch": 2.0, "grad_norm": 0.4, "learning_rate": 1e-5, "loss": 1.5, "step": 20},
        {"epoch": 2.0, "train_loss": 2.0, "train_runtime": 30.0, "step": 20},
    ],
}


def load(tmp_path: Path, data: bytes | str, metric: str, by: Axis, pattern: str | None = None) -> Curve:
    path = tmp_path / "source"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    expression = compile_pattern(pattern) if pattern is not None else None
    return load_runs([str(path)], [str(path)], metric, by, expression)[0][0]


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_packed_sources_read_as_unpacked_ones_do(tmp_path: Path, pack: Any) -> None:
    assert load(tmp_path, pack(LINES), "loss", "step").points() == load(tmp_path, LINES, "loss", "step").points()


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_several_members_in_a_row_are_one_source(tmp_path: Path, pack: Any) -> None:
    half = LINES.index(b'{"step": 500')
    assert len(load(tmp_path, pack(LINES[:half]) + pack(LINES[half:]), "loss", "step")) == 1000


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_packed_data_that_break_off_are_read_as_far_as_they_go_and_it_is_said(tmp_path: Path, pack: Any) -> None:
    noise = b"".join(b'{"step": %d, "loss": %d}\n' % (i, i * i * 7919 % 104729) for i in range(20_000))
    packed = pack(noise)
    curve = load(tmp_path, packed[: len(packed) * 9 // 10], "loss", "step")
    assert 1000 < len(curve) < 20_000
    assert any("break off" in note for note in curve.notes)


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.ZstdCompressor(write_checksum=True).compress])
def test_damaged_packed_data_are_told_as_such(tmp_path: Path, pack: Any) -> None:
    packed = bytearray(pack(LINES))
    packed[len(packed) // 2 : len(packed) // 2 + 60] = b"\xff" * 60
    with pytest.raises(SourceUnreadable, match=r"damaged|could not|no form"):
        load(tmp_path, bytes(packed), "loss", "step")


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_a_small_file_that_unpacks_to_much_comes_in_bounded_pieces(pack: Any) -> None:
    unpacker = Unpacker("here")
    packed = pack(bytes(64 << 20))
    sizes = [len(piece) for piece in unpacker.take(packed)]
    assert sum(sizes) == 64 << 20
    assert max(sizes) <= 9 << 20


@given(
    st.binary(max_size=3000), st.lists(st.integers(1, 700), min_size=1, max_size=20), st.sampled_from(["gzip", "zstd", "plain"])
)
def test_unpacking_does_not_depend_on_how_the_bytes_come(data: bytes, sizes: list[int], kind: str) -> None:
    data = b"{" + data  # a plain source that begins as a packed one does is another matter
    packed = {"gzip": gzip.compress, "zstd": zstandard.compress, "plain": bytes}[kind](data)
    unpacker, out, start, i = Unpacker("here"), b"", 0, 0
    while start < len(packed):
        size = sizes[i % len(sizes)]
        out += b"".join(unpacker.take(packed[start : start + size]))
        start, i = start + size, i + 1
    assert out + b"".join(unpacker.end()) == data
    assert unpacker.is_whole


@given(st.binary(max_size=400))
def test_hostile_packed_bytes_are_read_or_refused(tail: bytes) -> None:
    for magic in (b"\x1f\x8b\x08\0", b"\x28\xb5\x2f\xfd"):
        intake = Intake("loss", where="here")
        try:
            intake.take(magic + tail)
            intake.end()
        except (SourceUnreadable, MetricAbsent):
            continue


@pytest.mark.parametrize("indent", [None, 2])
def test_the_trainers_state_is_read_by_epoch_and_step(tmp_path: Path, indent: int | None) -> None:
    text = json.dumps(STATE, indent=indent)
    assert load(tmp_path, text, "loss", "epoch").points() == [(1, 2.5), (2, 1.5)]
    assert load(tmp_path, text, "eval_loss", "step").points() == [(10, 2.4)]
    with pytest.raises(MetricAbsent, match="there are loss, eval_loss"):
        load(tmp_path, text, "los", "step")


@pytest.mark.parametrize(
    "text",
    [
        '[{"_step": 0, "loss": 2.5}, {"_step": 1, "loss": NaN}, {"_step": 2, "acc": 1}]',
        '[\n {"_step": 0,\n "loss": 2.5},\n {"_step": 1, "loss": "NaN"}]\n',
        '{"loss": {"0": 2.5, "1": null}, "_step": {"0": 0, "1": 1}}',
        '{"loss": [2.5, NaN], "step": [0, 1]}\n',
    ],
)
def test_records_and_columns_of_one_document_are_a_run(tmp_path: Path, text: str) -> None:
    points = load(tmp_path, text, "loss", "step").points()
    assert [x for x, _ in points] == [0, 1]
    assert points[0][1] == 2.5
    assert points[1][1] != points[1][1]


@pytest.mark.parametrize("text", ["[1, 2]", '{\n"log": 1\n}', '[{"loss": 1}', "[" * 100_000])
def test_a_document_without_a_run_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SourceUnreadable):
        load(tmp_path, text, "loss", "step")


def test_one_run_of_an_export_is_found_by_the_metrics_own_name(tmp_path: Path) -> None:
    text = '"Step","sweet-sun-1 - loss","sweet-sun-1 - loss__MIN","sweet-sun-1 - loss__MAX"\n"0","2.5","2.5","2.5"\n"10","1.5","1","2"\n'
    assert load(tmp_path, text, "loss", "step").points() == [(0, 2.5), (10, 1.5)]


def test_two_runs_of_an_export_are_named_never_mixed(tmp_path: Path) -> None:
    text = '"Step","a - loss","b - loss"\n"0","2.5",""\n"0","","9"\n'
    with pytest.raises(MetricAmbiguous, match="a - loss, b - loss"):
        load(tmp_path, text, "loss", "step")
    assert load(tmp_path, text, "b - loss", "step").points() == [(0, 9)]


PATTERN = r"(?P<time>\S+ \S+) .*epoch (?P<epoch>[\d.]+).*loss[=:] ?(?P<loss>\S+)"


def test_a_plain_log_is_read_by_named_groups(tmp_path: Path) -> None:
    text = "starting\n2026-11-28 10:00:00,500 INFO epoch 1 lr 1 loss: 2.5,\n2026-11-28 10:00:01,500 epoch 2 loss=nan\r\nend\n"
    points = load(tmp_path, text, "loss", "epoch", PATTERN).points()
    assert points[0] == (1, 2.5)
    assert points[1][1] != points[1][1]
    assert [round(x, 3) for x, _ in load(tmp_path, text, "loss", "time", PATTERN).points()] == [1795860000.5, 1795860001.5]


def test_a_pattern_that_finds_nothing_shows_a_line_and_an_absent_group_lists_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none of 1 lines matches") as caught:
        load(tmp_path, "some \x1b[31mline\n", "loss", "epoch", PATTERN)
    assert "some \\x1b[31mline" in caught.value.hint
    with pytest.raises(MetricAbsent, match="there are loss"):
        load(tmp_path, "x\n", "lost", "epoch", PATTERN)


@pytest.mark.parametrize("text", ["(", "no groups", "(?P<a>" * 200])
def test_an_expression_that_is_none_is_a_usage_error(text: str) -> None:
    with pytest.raises(UsageError):
        compile_pattern(text)


FIGURES = st.one_of(
    st.integers(-(2**60), 2**60), st.floats(), st.none(), st.booleans(), st.sampled_from(["NaN", "inf", "1e3", "x"])
)
OBJECTS = st.dictionaries(st.sampled_from(["step", "global_step", "loss", "acc", "epoch"]), FIGURES, max_size=5)
ODD = st.sampled_from(
    ["", '{"step": 1', '{"step": 1, "loss": 2},{"step": 2, "loss": 3}', '{"step":3,"loss":[1]}', 'x"', "[]", '"}', '{"']
)


@given(st.lists(st.one_of(OBJECTS.map(json.dumps), ODD), max_size=30), st.integers(1, 200))
@example(['{"step": 1, "loss": 2},{"step": 2, "loss": 3}', ""], 200)
def test_many_lines_at_once_read_as_line_by_line(tmp_path_factory: pytest.TempPathFactory, texts: list[str], piece: int) -> None:
    head = "".join(json.dumps({"step": i, "loss": 1.0}) + "\n" for i in range(3))
    data = (head + "".join(t + "\n" for t in texts)).encode()
    plain, fast = Intake("loss", where=""), Intake("loss", where="")
    slow = [(r.step, repr(r.value)) for r in plain.take(data) + plain.end()]
    rows = [(r.step, repr(r.value)) for r in fast.take(head.encode())]
    blocks = fast.block_reader("step")
    assert blocks is not None
    rest = data[len(head) :]
    for start in range(0, len(rest), piece):
        for part in fast.take_blocks(rest[start : start + piece], blocks):
            if isinstance(part, list):
                rows += [(r.step, repr(r.value)) for r in part]
            else:
                rows += [(x, repr(y)) for x, y in zip(part.xs, part.ys, strict=True)]
    rows += [(r.step, repr(r.value)) for r in fast.end()]
    assert rows == slow
    assert (fast.found, fast.broken) == (plain.found, plain.broken)


def test_the_pattern_is_searched_in_a_bounded_part_of_a_line(tmp_path: Path) -> None:
    line = "epoch 1 loss=2 " + "x" * 900_000 + "\n"
    assert load(tmp_path, line, "loss", "epoch", r"epoch (?P<epoch>\d+) loss=(?P<loss>\d+)").points() == [(1, 2)]
    assert re.compile(PATTERN)
