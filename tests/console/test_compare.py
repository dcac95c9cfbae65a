"""`cutover compare` as a user runs it."""

from __future__ import annotations

import asyncio
import json
import math
import random
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from backends.probes.load.kept import Kept
from backends.probes.load.run import SliceDone
from backends.probes.load.side import Slice
from backends.validation.direction import direction_from_name
from backends.validation.rule import Judged
from backends.verdict import Verdict
from console.commands.compare import command
from console.commands.compare_picture import round_figures
from console.commands.compare_plot import draw_curves
from console.commands.compare_text import chosen
from tests.peers.mlflow import Mlflow, mlflow


def write(path: Path, losses: dict[int, Any]) -> str:
    path.write_text("".join(json.dumps({"epoch": e, "loss": v}) + "\n" for e, v in losses.items()))
    return str(path)


@pytest.fixture
def legacy(tmp_path: Path) -> str:
    return write(tmp_path / "legacy.jsonl", {10: 2.104, 50: 1.5, 100: 1.2})


@pytest.fixture
def target(tmp_path: Path) -> str:
    return write(tmp_path / "target.jsonl", {10: 2.106, 50: 1.524, 100: 1.201})


def run(*args: str) -> Result:
    return CliRunner().invoke(command, list(args))


def compare(legacy: str, target: str, *more: str) -> Result:
    return run("--legacy", legacy, "--target", target, "--metric", "loss", *more)


def test_a_pass_is_exit_zero_and_a_breach_exit_one(legacy: str, target: str) -> None:
    assert compare(legacy, target, "--at", "10,100").exit_code == 0
    result = compare(legacy, target, "--at", "10,50,100")
    assert result.exit_code == 1
    assert "BREACH: target is worse: +1.6 % at epoch 50 (1.5 → 1.524), 0.5 % allowed" in result.output


def test_the_json_is_the_contracts(legacy: str, target: str) -> None:
    body = json.loads(compare(legacy, target, "--json").stdout)
    assert body["verdict"] == "BREACH"
    assert body["reason"]
    assert [p["at"] for p in body["points"]] == [10, 50, 100]
    assert [p["verdict"] for p in body["points"]] == ["PASS", "BREACH", "PASS"]
    assert body["points"][1]["delta"] == pytest.approx(0.016)
    assert {"at", "legacy", "target", "delta", "verdict"} <= set(body["points"][0])


@pytest.mark.parametrize("spike", [1.0, 1.1, math.nan])
def test_the_json_of_a_very_long_comparison_has_every_place(tmp_path: Path, spike: float) -> None:
    old = write(tmp_path / "old.jsonl", dict.fromkeys(range(25_000), 1.0))
    new = write(tmp_path / "new.jsonl", dict.fromkeys(range(25_000), 1.002) | {9_999: spike})
    body = json.loads(compare(old, new, "--json").stdout)
    assert [p["at"] for p in body["points"]] == list(range(25_000))
    assert body["points"][9_998]["verdict"] == "PASS"
    assert body["points"][9_998]["delta"] == pytest.approx(0.002)
    assert body["points"][9_999]["verdict"] == body["verdict"] == ("PASS" if spike == 1 else "BREACH")
    assert list(body)[-1] == "explanation"


def test_the_text_has_a_table_and_both_curves(legacy: str, target: str) -> None:
    text = compare(legacy, target).output
    assert "10 2.104 2.106 +0.0951 % PASS" in " ".join(text.split())
    assert "legacy" in text.splitlines()[2]
    assert any("│" in line for line in text.splitlines())


def test_tolerance_and_sides_are_options(legacy: str, target: str) -> None:
    assert compare(legacy, target, "--tolerance", "2%").exit_code == 0
    assert compare(target, legacy, "--at", "50").exit_code == 1
    assert compare(target, legacy, "--at", "50", "--one-sided").exit_code == 0
    assert compare(legacy, target, "--at", "50", "--noise", "1.2%").exit_code == 1
    assert compare(legacy, target, "--tolerance", "0.5").exit_code == 2


def test_a_better_target_is_too_good(legacy: str, target: str) -> None:
    body = json.loads(compare(target, legacy, "--at", "50", "--json").stdout)
    assert body["verdict"] == "INCONCLUSIVE"
    assert body["points"][0]["too_good"] is True


def test_no_common_points_is_inconclusive(legacy: str, tmp_path: Path) -> None:
    other = write(tmp_path / "other.jsonl", {11: 2.1, 51: 1.5})
    result = compare(legacy, other, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["verdict"] == "INCONCLUSIVE"
    assert json.loads(result.stdout)["points"] == []


def test_several_runs_follow_one_option(legacy: str, target: str) -> None:
    result = run("--legacy", legacy, legacy, "--target", target, target, "--metric", "loss", "--json")
    assert json.loads(result.stdout)["runs"] == {"legacy": 2, "target": 2}
    again = run("--legacy", legacy, "--legacy", legacy, "--target", target, "--metric", "loss", "--json")
    assert json.loads(again.stdout)["runs"] == {"legacy": 2, "target": 1}


def test_the_last_of_duplicates_counts_and_is_said(legacy: str, tmp_path: Path) -> None:
    twice = tmp_path / "twice.jsonl"
    twice.write_text('{"epoch": 10, "loss": 9}\n{"epoch": 10, "loss": 2.104}\n')
    result = compare(legacy, str(twice))
    assert result.exit_code == 0
    assert "target: 1 place written more than once, the last counts" in result.output


def test_unreadable_sources_are_exit_four(legacy: str, tmp_path: Path) -> None:
    packed = tmp_path / "x.gz"
    packed.write_bytes(b"\x1f\x8b\x08\0data")
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    for bad in (str(packed), str(empty), str(tmp_path / "absent"), str(tmp_path)):
        result = compare(legacy, bad, "--json")
        assert result.exit_code == 4
        assert json.loads(result.stdout)["error"]["where"] == bad


def test_an_absent_metric_lists_those_that_are_there(legacy: str, target: str) -> None:
    result = run("--legacy", legacy, "--target", target, "--metric", "los_loss", "--json")
    assert result.exit_code == 4
    error = json.loads(result.stdout)["error"]
    assert "there are loss" in error["message"]


def test_what_is_not_yet_supported_is_a_usage_error(legacy: str) -> None:
    result = compare(legacy, "wandb+https://127.0.0.1:9/run", "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["code"] == "not_yet_supported"


def test_runs_that_servers_keep_are_compared_with_files_and_a_silent_server_is_exit_four(legacy: str) -> None:
    async def both() -> tuple[Result, Result]:
        runs = {"abc": {"loss": [(10, 0, 2.106), (50, 1, 1.503), (100, 2, 1.201)]}}
        async with mlflow(Mlflow(runs)) as server:
            source = f"mlflow+{server.url}?run=abc"
            found = await asyncio.to_thread(run, "--legacy", source, "--target", source, "--metric", "loss", "--json")
        gone = await asyncio.to_thread(run, "--legacy", source, "--target", legacy, "--metric", "loss", "--json")
        return found, gone

    found, gone = asyncio.run(both())
    assert found.exit_code == 0
    assert [p["at"] for p in json.loads(found.stdout)["points"]] == [10, 50, 100]
    assert gone.exit_code == 4


def test_errors_that_servers_keep_are_judged_by_counts_where_total_tells_them_and_as_shares_elsewhere() -> None:
    async def ask(*args: str) -> list[Result]:
        errors = [(s, s * 1000, 4.0) for s in range(20)]
        runs = {"abc": {"errors": errors, "requests": [(s, at, 1000.0) for s, at, _ in errors]}}
        async with mlflow(Mlflow(runs)) as server:
            source = f"mlflow+{server.url}?run=abc"
            sides = [("&total=requests", "&total=requests"), ("&total=requests", ""), ("", "")]
            return [
                await asyncio.to_thread(
                    run, "--legacy", source + a, "--target", source + b, "--metric", "errors", *args, "--json"
                )
                for a, b in sides
            ]

    counted, mixed, shares = asyncio.run(ask("--as", "error_rate", "--tolerance", "0.1%"))
    assert "80 of 20000 requests failed" in json.loads(counted.stdout)["reason"]
    assert "one server's source has `total`" in json.loads(mixed.stdout)["error"]["message"]
    assert "median share of errors" in json.loads(shares.stdout)["reason"]
    by_place = asyncio.run(ask())[0]
    assert by_place.exit_code == 2
    assert json.loads(by_place.stdout)["error"]["hint"].startswith("--as error_rate")


def test_a_mistyped_name_is_told_before_the_question_which_way_is_better(legacy: str) -> None:
    result = run("--legacy", legacy, "--target", legacy, "--metric", "lss", "--json")
    assert result.exit_code == 4
    assert json.loads(result.stdout)["error"]["hint"] == "did you mean loss?"


def test_a_sentence_of_the_picture_stays_within_it(legacy: str, tmp_path: Path) -> None:
    worse, picture = tmp_path / "worse.jsonl", tmp_path / "a.svg"
    worse.write_text('{"epoch": 10, "loss": 9.0}\n')
    run("--legacy", legacy, "--target", str(worse), "--metric", "loss", "--by", "epoch", "--svg", str(picture))
    texts = [t for t in re.findall(r'<text x="74"[^>]*>([^<]*)</text>', picture.read_text()) if "runs" in t or "worse" in t]
    assert texts
    assert max(map(len, texts)) <= 96


def test_eval_accuracy_must_be_told_which_way_is_better(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"epoch": 1, "eval_accuracy": 0.9}\n')
    args = ("--legacy", str(path), "--target", str(path), "--metric", "eval_accuracy")
    refused = run(*args, "--json")
    assert refused.exit_code == 2
    assert "--lower-is-better" in json.loads(refused.stdout)["error"]["hint"]
    assert run(*args, "--lower-is-better").exit_code == 0


@pytest.mark.parametrize(
    ("name", "higher"),
    [
        ("loss", False),
        ("train.valLoss", False),
        ("tracked_stats.train_step_timing in s", False),
        ("latency_ms", False),
        ("perplexity", False),
        ("top1_accuracy", True),
        ("tracked_stats.throughput", True),
        ("tokens_per_second", True),
        ("mAP", True),
        ("eval_accuracy", None),
        ("eval_accuracy[masked_lm_accuracy]", True),
        ("loss_scale", None),
        ("time_to_accuracy", None),
        ("lr", None),
    ],
)
def test_the_direction_is_known_only_where_the_name_is_sure(name: str, higher: bool | None) -> None:
    assert direction_from_name(name) is higher


def test_bad_options_are_usage_errors(legacy: str, target: str) -> None:
    assert compare(legacy, target, "--at", "ten").exit_code == 2
    assert run("--legacy", legacy, "--metric", "loss").exit_code == 2
    assert compare(legacy, target, "--by", "nothing").exit_code == 2


def test_names_from_files_do_nothing_but_show_as_text(tmp_path: Path, legacy: str) -> None:
    evil = tmp_path / "evil.jsonl"
    evil.write_text(json.dumps({"epoch": 1, "[red]\x1b[2J\n": 1.0}) + "\n")
    result = compare(legacy, str(evil))
    assert "\x1b" not in result.output
    assert "[red]\\x1b[2J\\n" in result.output


def test_the_plot_has_an_ascii_form() -> None:
    deltas = [(x, 0.02 if x > 80 else 0.001) for x in range(100)]
    lines = draw_curves(
        [(x, 1.0 + x) for x in range(100)],
        [(x, float("nan") if x == 50 else 1.0 + x) for x in range(100)],
        deltas,
        tolerance=0.005,
        unicode=False,
    )
    assert all(line.isascii() for line in lines)
    assert ".. legacy" in lines[10]
    assert [line[:6] for line in lines[11:]] == ["      ", "+0.5 %", "   0 %", "-0.5 %", "      "]
    assert lines[11].endswith("x")
    assert "x" not in lines[13]


def test_a_speed_a_latency_and_errors_are_compared_as_such(tmp_path: Path) -> None:
    rows = [
        {"ts": 1e9 + i / 10, "step": i, "throughput": 900 + i % 7, "latency": 40 + i % 9, "error": int(i % 100 == 0)}
        for i in range(900)
    ]
    slow = [row | {"throughput": row["throughput"] * 0.9, "ts": 1e9 + i / 5, "error": 0} for i, row in enumerate(rows)]
    old, new = (tmp_path / name for name in ("old.jsonl", "new.jsonl"))
    for path, lines in ((old, rows), (new, slow)):
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    def level(kind: str, metric: str, *more: str, one: Path = old, other: Path = new) -> tuple[int, Any]:
        result = run("--legacy", str(one), "--target", str(other), "--metric", metric, "--as", kind, "--json", *more)
        return result.exit_code, json.loads(result.stdout)

    code, body = level("throughput", "throughput")
    assert (code, body["verdict"], body["by"], body["points"]) == (1, "BREACH", "step", [])
    assert body["figures"][0]["name"] == "median"
    assert body["figures"][0]["delta"] == pytest.approx(-0.1, abs=0.002)
    assert level("throughput", "throughput", "--batch")[0] == 0
    code, body = level("latency", "latency")
    assert (code, body["verdict"]) == (1, "INCONCLUSIVE")
    assert body["loads"] == {"legacy": pytest.approx(10), "target": pytest.approx(5)}
    assert level("latency", "latency", "--loads-apart", "60%")[0] == 0
    assert level("error_rate", "error", one=new, other=old)[1]["verdict"] == "BREACH"
    picture, page = tmp_path / "a.svg", tmp_path / "a.html"
    level("latency", "latency", "--svg", str(picture), "--html", str(page))
    assert "p90" in page.read_text()
    ElementTree.fromstring(picture.read_text())
    text = run("--legacy", str(old), "--target", str(new), "--metric", "throughput", "--as", "throughput").output
    assert "  1." not in text
    assert "slowest 5 %" in text.splitlines()[4]
    assert "--as throughput holds medians" in run("--legacy", str(old), "--target", str(new), "--metric", "throughput").output
    by_epoch = tmp_path / "epochs.jsonl"
    by_epoch.write_text("".join(json.dumps({"epoch": i // 300, "step": i, "throughput": 900 + i % 7}) + "\n" for i in range(900)))
    assert level("throughput", "throughput", one=by_epoch, other=by_epoch)[1]["by"] == "step"  # and not the last of each epoch
    for wrong in (
        ("--batch",),
        ("--as", "latency", "--batch"),
        ("--as", "latency", "--at", "1"),
        ("--as", "memory", "--unit", "share"),
    ):
        assert run("--legacy", str(old), "--target", str(new), "--metric", "latency", *wrong).exit_code == 2


def test_what_load_has_kept_is_compared_side_by_side_and_with_nothing_else(tmp_path: Path, legacy: str) -> None:
    chance = random.Random(4)
    kept = Kept(tmp_path / "load-chat.jsonl", {"rate": 100}, 10.0)
    kept.open(resume=False)
    for at in range(6):
        sides = {"legacy": Slice(sent=1000), "target": Slice(sent=1000)}
        for side, scale in (("legacy", 1.0), ("target", 1.3)):
            for _ in range(1000):
                sides[side].latency.record(scale * chance.lognormvariate(-3, 0.3))
        kept.add(SliceDone(at * 10.0, sides))  # type: ignore[arg-type]
    kept.close()
    path = str(kept.path)
    result = run("--legacy", path, "--target", path, "--metric", "latency", "--as", "latency", "--json")
    body = json.loads(result.stdout)
    assert (result.exit_code, body["verdict"], body["loads"]) == (1, "BREACH", {"legacy": 100.0, "target": 100.0})
    assert [f["name"] for f in body["figures"]] == ["p50", "p90", "p99"]
    low, high = body["figures"][2]["change"]
    assert low < body["figures"][2]["delta"] < high
    assert run("--legacy", path, "--target", legacy, "--metric", "latency", "--as", "latency").exit_code == 2
    assert run("--legacy", path, "--target", path, "--metric", "loss", "--as", "latency").exit_code == 4


def test_two_real_curves_compare(recordings: Path) -> None:
    folder = recordings / "mlperf/llama2_70b_lora"
    old, new = (str(folder / s / "result_0.txt") for s in ("XE9680x8H100-SXM-80GB", "XE9680x8H200-SXM-141GB"))
    result = run("--legacy", old, "--target", new, "--metric", "eval_accuracy", "--lower-is-better", "--by", "samples")
    assert result.exit_code == 0
    assert "PASS: 5 of 5 points within 0.5 %" in result.output


def test_json_says_what_the_verdict_rests_on(legacy: str, target: str) -> None:
    body = json.loads(compare(legacy, target, "--json").stdout)
    told = body["explanation"]
    assert [i["source"] for i in told["inputs"]] == [legacy, target]
    assert all(len(i["sha256"]) == 64 for i in told["inputs"])
    assert told["compared"] == 3
    assert told["sentence"] == body["reason"]


def test_epochs_from_0_are_asked_about_and_an_answer_is_taken(tmp_path: Path) -> None:
    old = write(tmp_path / "old.jsonl", {0: 3.0, 1: 2.0, 2: 1.0})
    new = write(tmp_path / "new.jsonl", {1: 3.0, 2: 2.0, 3: 1.0})
    assert "INCONCLUSIVE: legacy's epochs begin at 0" in compare(old, new).output
    assert compare(old, new, "--shift", "1,0").exit_code == 0
    assert "BREACH" in compare(old, new, "--shift", "0,0").output
    assert compare(old, new, "--shift", "one").exit_code == 2


def test_a_picture_and_a_page_are_written_and_hold_nothing_hostile(tmp_path: Path) -> None:
    old = write(tmp_path / "<script>alert(1)<script>.jsonl", {1: 2.0, 2: 1.5, 3: "nan"})
    new = write(tmp_path / "new.jsonl", {1: 2.0, 2: 1.6, 3: 1.2})
    svg, html = tmp_path / "a.svg", tmp_path / "a.html"
    assert compare(old, new, "--svg", str(svg), "--html", str(html)).exit_code == 1
    drawn = ElementTree.fromstring(svg.read_text())
    lines = [e for e in drawn.iter() if e.tag.endswith("polyline")]
    assert [len(e.attrib["points"].split()) for e in lines] == [2, 3]
    page = html.read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "BREACH" in page
    assert compare(old, new, "--svg", str(tmp_path / "no" / "x.svg")).exit_code == 4


def test_runs_needed_are_told_from_legacy_alone(tmp_path: Path) -> None:
    runs = [write(tmp_path / f"{i}.jsonl", {1: 2.0 + i / 100, 2: 1.0 + i / 500}) for i in range(3)]
    body = json.loads(run("--legacy", *runs, "--metric", "loss", "--runs-needed", "--json").stdout)
    assert [p["at"] for p in body["places"]] == [1, 2]
    assert body["runs"] > 3
    assert run("--legacy", runs[0], "--metric", "loss", "--runs-needed").exit_code == 2
    assert run("--legacy", runs[0], "--metric", "loss").exit_code == 2


def test_a_log_that_says_that_memory_ran_out_is_told(legacy: str, tmp_path: Path) -> None:
    text = "epoch 10 loss 2.2\nepoch 50 loss 1.6\ntorch.OutOfMemoryError: CUDA out of memory. Tried\nepoch 100 loss 1.3\n"
    (tmp_path / "train.log").write_text(text)
    (tmp_path / "old.log").write_text("epoch 10 loss 2.1\nepoch 50 loss 1.5\nepoch 100 loss 1.2\n")
    result = compare(
        str(tmp_path / "old.log"), str(tmp_path / "train.log"), "--pattern", r"epoch (?P<epoch>\d+) loss (?P<loss>\S+)"
    )
    assert "1. the target ran out of memory: its log says `torch.OutOfMemoryError" in result.output


@given(st.floats(-1e12, 1e12), st.floats(1e-9, 1e12))
def test_an_axis_has_a_fewround_figures_all_within(low: float, width: float) -> None:
    span = (low, low + width)
    figures = round_figures(span)
    assert 2 <= len(figures) <= 9
    assert all(
        span[0] <= f <= span[1] or math.isclose(f, span[1]) or math.isclose(f, span[0], abs_tol=width * 1e-9) for f in figures
    )
    assert figures == sorted(figures)


def test_a_page_tells_its_verdict_and_each_place_once(legacy: str, target: str, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    compare(legacy, target, "--html", str(page))
    text = re.sub(r"<desc>.*?</desc>|<title>.*?</title>", "", page.read_text())
    assert text.count("target is worse") == 1
    assert text.count(">1.524<") == 1


@given(st.lists(st.sampled_from([0.0, 0.001, 0.02, 0.03, -0.04, math.inf]), min_size=1, max_size=120))
def test_of_many_places_the_worst_stand_in_the_table_with_the_first_and_the_last(deltas: list[float]) -> None:
    judged = [Judged(float(i), 1.0, 1.0 + d, d, Verdict.PASS if abs(d) < 0.005 else Verdict.BREACH) for i, d in enumerate(deltas)]
    shown = chosen(judged)
    assert len(shown) == min(40, len(judged))
    assert [j.at for j in shown] == sorted({j.at for j in shown})
    odd = [j for j in judged if j.verdict is not Verdict.PASS]
    assert max(odd, key=lambda j: abs(j.delta or 0.0), default=judged[0]) in shown
    assert {judged[0].at, judged[-1].at} <= {j.at for j in shown}
    if len(odd) <= 38:
        assert set(map(id, odd)) <= set(map(id, shown))


def test_figures_at_the_ends_of_what_a_float_holds_are_drawn(tmp_path: Path) -> None:
    huge = write(tmp_path / "huge.jsonl", {1: -1.7e308, 2: 1.7e308, 3: 2.0})
    tiny = write(tmp_path / "tiny.jsonl", {1: 5e-324, 2: 1e-323, 3: 0.0})
    unit = write(tmp_path / "unit.jsonl", {1: 1.0, 2: 1.0, 3: 2.0})
    picture = tmp_path / "picture.svg"
    for old, new in ((huge, huge), (huge, tiny), (tiny, huge), (unit, huge), (tiny, tiny)):
        assert compare(old, new, "--svg", str(picture)).exit_code in (0, 1)
        drawn = re.findall(r'(?:points|cx|cy|x|y|x1|y1|x2|y2)="([^"]*)"', picture.read_text())
        assert drawn
        assert not [one for one in drawn if "nan" in one or "inf" in one]
        ElementTree.parse(picture)
