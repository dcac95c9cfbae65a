"""What `cutover compare` says of curves that are odd: each is judged and told, or refused with a reason; none is an error of ours."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from console.commands.compare import command

Line = tuple[int, Any]
CURVE: list[Line] = [(e, 2 + 1 / e) for e in range(1, 21)]


def jsonl(path: Path, curve: list[Line], end: bytes = b"\n") -> Path:
    path.write_bytes(b"".join(json.dumps({"epoch": e, "loss": v}).encode() + end for e, v in curve))
    return path


def compare(legacy: Path, target: Path, *more: str) -> tuple[int, dict[str, Any]]:
    result = CliRunner().invoke(
        command, ["--legacy", str(legacy), "--target", str(target), "--metric", "loss", "--by", "epoch", *more, "--json"]
    )
    assert result.stdout, result.output
    return result.exit_code, json.loads(result.stdout)


@pytest.mark.parametrize("content", [b"", b"\n", b" \r\n\t\n"])
def test_an_empty_source_is_unreadable_and_no_verdict(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "new").write_bytes(content)
    code, body = compare(jsonl(tmp_path / "old", CURVE), tmp_path / "new")
    assert code == 4
    assert "it is empty" in body["error"]["message"]
    assert body["error"]["where"] == str(tmp_path / "new")


def test_a_header_without_a_row_holds_no_figure(tmp_path: Path) -> None:
    (tmp_path / "new").write_text("epoch,loss\n")
    code, body = compare(jsonl(tmp_path / "old", CURVE), tmp_path / "new")
    assert code == 4
    assert "error" in body


def test_one_point_is_judged_by_itself(tmp_path: Path) -> None:
    old, new = jsonl(tmp_path / "old", CURVE[4:5]), jsonl(tmp_path / "new", CURVE)
    code, body = compare(old, new)
    assert (code, body["verdict"], [p["at"] for p in body["points"]]) == (0, "PASS", [5])
    assert compare(old, jsonl(tmp_path / "worse", [(5, 3.0)]))[1]["verdict"] == "BREACH"
    code, body = compare(old, new, "--at", "5,10")
    assert (code, body["verdict"]) == (1, "INCONCLUSIVE")


def test_places_in_any_order_are_the_same_curve_and_it_is_said(tmp_path: Path) -> None:
    code, body = compare(jsonl(tmp_path / "old", CURVE), jsonl(tmp_path / "new", CURVE[::-1]))
    assert (code, body["verdict"], len(body["points"])) == (0, "PASS", 20)
    assert any("not in order: sorted" in note for note in body["notes"])


def test_of_a_place_written_twice_the_last_counts_and_it_is_said(tmp_path: Path) -> None:
    code, body = compare(jsonl(tmp_path / "old", CURVE), jsonl(tmp_path / "new", [*CURVE[:10], (3, 9.0), *CURVE[2:]]))
    assert code == 0
    assert any("written more than once, the last counts" in note for note in body["notes"])
    assert compare(jsonl(tmp_path / "old", CURVE), jsonl(tmp_path / "new", [*CURVE, (3, 2.5)]))[1]["verdict"] == "BREACH"


def test_a_shorter_run_is_compared_where_both_are_and_waits_for_what_was_asked(tmp_path: Path) -> None:
    old, new = jsonl(tmp_path / "old", CURVE), jsonl(tmp_path / "new", CURVE[:8])
    assert [p["at"] for p in compare(old, new)[1]["points"]] == list(range(1, 9))
    code, body = compare(old, new, "--at", "5,20")
    assert (code, body["verdict"]) == (1, "INCONCLUSIVE")
    assert "target at 8 of 20" in body["reason"]


def test_other_units_and_counting_from_0_are_asked_never_guessed(tmp_path: Path) -> None:
    old = jsonl(tmp_path / "old", CURVE)
    code, body = compare(old, jsonl(tmp_path / "new", [(e, v * 1000) for e, v in CURVE]))
    assert body["verdict"] != "PASS"
    code, body = compare(old, jsonl(tmp_path / "zero", [(e - 1, v) for e, v in CURVE]))
    assert (code, body["verdict"]) == (1, "INCONCLUSIVE")
    assert "--shift 0,1" in body["reason"]
    assert compare(old, tmp_path / "zero", "--shift", "0,1")[0] == 0


@pytest.mark.parametrize("end", [b"\r\n", b"\n\n", b" \r\n"])
def test_line_ends_of_any_make_are_line_ends(tmp_path: Path, end: bytes) -> None:
    new = jsonl(tmp_path / "new", CURVE[:10], end)
    new.write_bytes(new.read_bytes() + jsonl(tmp_path / "rest", CURVE[10:]).read_bytes())
    assert compare(jsonl(tmp_path / "old", CURVE), new)[0] == 0


def test_a_line_of_a_mebibyte_is_left_out_and_told(tmp_path: Path) -> None:
    new = jsonl(tmp_path / "new", CURVE)
    new.write_bytes(b'{"epoch": 1, "loss": 2, "text": "' + b"x" * (1 << 20) + b'"}\n' + new.read_bytes())
    code, body = compare(jsonl(tmp_path / "old", CURVE), new)
    assert code == 0
    assert any("1 line could not be read and left out (line 1)" in note for note in body["notes"])


@pytest.mark.parametrize("spelt", ["NaN", "nan", "null", '"NaN"', '"inf"', "Infinity", "-Infinity"])
def test_a_figure_that_is_not_finite_breaches_however_it_is_spelt(tmp_path: Path, spelt: str) -> None:
    new = jsonl(tmp_path / "new", CURVE)
    with new.open("a") as more:
        more.write(f'{{"epoch": 21, "loss": {spelt}}}\n')
    code, body = compare(jsonl(tmp_path / "old", [*CURVE, (21, 2.0)]), new)
    assert (code, body["verdict"]) == (1, "BREACH")


def test_a_target_better_by_more_than_the_limit_is_no_pass(tmp_path: Path) -> None:
    better = jsonl(tmp_path / "new", [(e, v * 0.9) for e, v in CURVE])
    code, body = compare(jsonl(tmp_path / "old", CURVE), better)
    assert (code, body["verdict"]) == (1, "INCONCLUSIVE")
    assert "often a data bug" in body["reason"]
    assert compare(tmp_path / "old", better, "--one-sided")[0] == 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epoch;loss\n1;3,0\n2;2,5\n", "is there, but holds no figure that can be read, such as `3,0`"),
        ("epoch,loss\n1,51%\n", "such as `51%`"),
        ('{"epoch": 1, "loss": "2,5"}\n', "such as `2,5`"),
        ("epoch,loss,loss\n1,3,9\n", "is the name of columns 2, 3"),
        ("epoch,loss\n", "below the header stands no row"),
        ("epoch,loss\n1,\n2,\n", "no cell of its column holds anything"),
    ],
)
def test_a_metric_that_is_there_and_cannot_be_read_is_not_said_to_be_absent(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "new").write_text(text)
    code, body = compare(jsonl(tmp_path / "old", CURVE), tmp_path / "new")
    assert code == 4
    assert words in body["error"]["message"]


def test_lines_whose_metric_is_no_figure_are_told(tmp_path: Path) -> None:
    code, body = compare(jsonl(tmp_path / "old", CURVE), jsonl(tmp_path / "new", [*CURVE[:10], (11, "diverged"), *CURVE[11:]]))
    assert (code, len(body["points"])) == (0, 19)
    assert any("1 line could not be read and left out (line 11)" in note for note in body["notes"])


def test_text_in_utf_16_says_so(tmp_path: Path) -> None:
    text = jsonl(tmp_path / "old", CURVE).read_text()
    (tmp_path / "new").write_bytes(text.encode("utf-16"))
    code, body = compare(tmp_path / "old", tmp_path / "new")
    assert code == 4
    assert body["error"]["message"] == "text in UTF-16"
