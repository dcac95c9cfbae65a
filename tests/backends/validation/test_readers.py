from __future__ import annotations

import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.validation.errors import MetricAbsent, MetricAmbiguous, SourceUnreadable
from backends.validation.intake import Intake
from backends.validation.lines import Lines
from backends.validation.rows import Row, to_time


def read(text: str | bytes, metric: str) -> list[Row]:
    intake = Intake(metric, where="here")
    rows = intake.take(text.encode() if isinstance(text, str) else text) + intake.end()
    if not intake.found or intake.is_ambiguous:
        raise intake.why_absent()
    return rows


def mllog(key: str, value: object, rank: str = "", **metadata: object) -> str:
    return f"{rank}:::MLLOG " + json.dumps({"key": key, "value": value, "time_ms": 1700000000500, "metadata": metadata})


@pytest.mark.parametrize("spelt", ["NaN", "nan", "null", '"nan"', '"NaN"'])
def test_nan_is_kept_however_it_is_spelt(spelt: str) -> None:
    rows = read(f'{{"epoch": 1, "loss": {spelt}}}\n', "loss")
    assert math.isnan(rows[0].value)


@pytest.mark.parametrize("spelt", ['"inf"', '"Infinity"', "Infinity", "inf", "1e999"])
def test_infinity_is_kept_however_it_is_spelt(spelt: str) -> None:
    assert read(f'{{"epoch": 1, "loss": {spelt}}}\n', "loss")[0].value == math.inf
    assert read(f'{{"epoch": 1, "loss": -{spelt.strip(chr(34))}}}\n', "loss")[0].value == -math.inf


def test_true_and_false_are_one_and_zero() -> None:
    rows = read('{"time": 1, "error": true}\n{"time": 2, "error": false}\n', "error")
    assert [r.value for r in rows] == [1.0, 0.0]


def test_a_dotted_path_finds_a_nested_field_and_an_exact_key_goes_first() -> None:
    assert read('{"step": 1, "train": {"loss": 2.5}}\n', "train.loss")[0] == Row(None, 1.0, None, None, 2.5)
    assert read('{"step": 1, "train.loss": 3, "train": {"loss": 2.5}}\n', "train.loss")[0].value == 3


def test_an_absent_metric_lists_what_is_there_nearest_first_and_harmless() -> None:
    with pytest.raises(MetricAbsent) as caught:
        read('{"epoch": 1, "valid_loss": 1, "accuracy": 2, "bad\\u001b[31m": 3}\n', "valid_los")
    assert "there are valid_loss, accuracy, bad\\x1b[31m" in caught.value.message
    assert caught.value.hint == "did you mean valid_loss?"


def test_an_object_must_be_named_by_field() -> None:
    with pytest.raises(MetricAbsent, match=r"is an object; its fields are stats\.throughput"):
        read(mllog("stats", {"throughput": 1.5}, step=1) + "\n", "stats")


def test_broken_lines_are_left_out_and_counted() -> None:
    data = b'{"epoch": 1, "loss": 1}\n{"epoch": 2, "lo\n\n{"epoch": 3, "loss": 3}'
    intake = Intake("loss", where="")
    assert [r.value for r in intake.take(data) + intake.end()] == [1.0, 3.0]
    assert intake.broken == 1


@pytest.mark.parametrize(("mark", "name"), [(b"BZh91AY", "bzip2"), (b"\xfd7zXZ\0\0", "xz"), (b"PK\x03\x04\x14\0", "zip")])
def test_what_is_packed_in_other_ways_is_refused_with_the_cure(mark: bytes, name: str) -> None:
    with pytest.raises(SourceUnreadable, match=name) as caught:
        read(mark + b"x" * 100, "loss")
    assert "unpack" in caught.value.hint


@pytest.mark.parametrize("text", [b"\0\1\2\3", b"just words\nand more\n", b"1,2,3\n4,5,6\n"])
def test_an_unknown_form_is_refused(text: bytes) -> None:
    with pytest.raises(SourceUnreadable, match="no form that is known"):
        read(text, "loss")


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_csv_reads_columns_by_name_and_empty_cells_are_not_logged(delimiter: str) -> None:
    lines = ["Epoch,Step,train/loss", "1,100,2.5", "2,200,", "3,300,nan", '4,400,"1.5"']
    rows = read("\r\n".join(line.replace(",", delimiter) for line in lines), "train/loss")
    assert [r.epoch for r in rows] == [1, 3, 4]
    assert [r.step for r in rows] == [100, 300, 400]
    assert rows[0].value == 2.5
    assert math.isnan(rows[1].value)


def test_csv_lists_its_columns_when_one_is_absent() -> None:
    with pytest.raises(MetricAbsent, match="there are loss, lr"):
        read("epoch,loss,lr\n1,2,3\n", "los")


def test_mllog_axes_are_taken_as_logged() -> None:
    line = mllog("eval_accuracy", 0.4, "0: ", epoch_num=149952, samples_count=7, step=3.0, file="x")
    assert read("starting\n" + line + "\n", "eval_accuracy") == [Row(149952.0, 3.0, 7.0, 1700000000.5, 0.4)]


def test_mllog_names_fields_and_metadata() -> None:
    text = mllog("tracked_stats", {"reduced_train_loss": 8.1, "train_step_timing in s": 0.3}, samples_count=512.0)
    assert read(text, "tracked_stats.reduced_train_loss")[0].value == 8.1
    assert read(text, "tracked_stats.train_step_timing in s")[0].value == 0.3
    tagged = mllog("eval_accuracy", 0.4, epoch_num=1, masked_lm_accuracy=0.5)
    assert read(tagged, "eval_accuracy[masked_lm_accuracy]")[0].value == 0.5
    assert read(tagged, "eval_accuracy")[0].value == 0.4


def test_two_metrics_under_one_key_are_never_mixed() -> None:
    text = "\n".join(
        mllog("eval_accuracy", value, epoch_num=epoch, metric=metric)
        for epoch in (1, 2)
        for metric, value in (("top1", 0.7), ("top5", 0.9))
    )
    assert [r.value for r in read(text, "eval_accuracy[top5]")] == [0.9, 0.9]
    with pytest.raises(MetricAmbiguous, match=r"eval_accuracy\[top1\], eval_accuracy\[top5\]"):
        read(text, "eval_accuracy")


@pytest.mark.parametrize("value", [1700000000, 1700000000000, "1700000000", "2023-11-14T22:13:20Z", 1.7e15, 1.7e18])
def test_instants_are_told_by_their_size(value: object) -> None:
    assert to_time(value) == pytest.approx(1700000000)


lines_of_text = st.lists(st.text(alphabet="ab{}:1", max_size=6), max_size=8)


@given(lines_of_text, st.sampled_from(["\n", "\r\n", "\r"]), st.data())
@settings(max_examples=100, deadline=None)
def test_lines_are_the_same_however_the_bytes_arrive(texts: list[str], end: str, data: st.DataObject) -> None:
    whole = "".join(t + end for t in texts).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    lines = Lines()
    found = []
    for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        found += lines.cut(whole[a:b])
    found += lines.rest()
    assert [f for f in found if f] == [t.encode() for t in texts if t]


def test_a_line_over_a_mebibyte_is_left_out_and_the_next_one_is_read() -> None:
    lines = Lines()
    found = []
    for piece in (b"a\n" + b"x" * 700_000, b"x" * 700_000, b"x" * 700_000 + b"\nb\n"):
        found += lines.cut(piece)
    assert found == [b"a", b"", b"b"]
    assert (lines.too_long, lines.first_too_long, lines.ended) == (1, 2, 3)


@given(st.integers(0, 12), st.integers(0, 12), st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(), st.data())
@settings(max_examples=100, deadline=None)
def test_the_first_line_that_cannot_be_read_is_told_by_its_number(
    good: int, more: int, end: str, is_csv: bool, data: st.DataObject
) -> None:
    if is_csv:
        lines = ["step,loss", *(f"{n},2" for n in range(1, good + 1)), "1,2,3", *("9,x" for _ in range(more))]
    else:
        lines = ['{"step": 0, "loss": 1}', *["", '{"step": 1, "loss": 2}'] * good, '{"step": 2, "lo', *("{" for _ in range(more))]
    whole = (end.join(lines) + data.draw(st.sampled_from(["", end]))).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    intake = Intake("loss", where="")
    for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True):
        intake.take(whole[a:b])
    intake.end()
    assert intake.broken == 1 + more
    assert intake.first_broken == lines.index("1,2,3" if is_csv else '{"step": 2, "lo') + 1


@given(st.binary(max_size=300))
@settings(max_examples=150, deadline=None)
def test_hostile_bytes_are_read_or_refused_never_a_crash(data: bytes) -> None:
    for head in (b"", b'{"a": 1}\n', b"a,b\n", b":::MLLOG {}\n"):
        try:
            read(head + data, "loss")
        except (SourceUnreadable, MetricAbsent):
            continue
